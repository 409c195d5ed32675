//! Parts put together have the bytes of the whole, whatever the parts and their order; and what is
//! not of the whole never gets among them (RFC 9111 section 3.4).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use buttress_cache::{
    Chunks, Entry, Profile, Tag, Time,
    rfc::{Exchange, combine, judge},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use proptest::{collection::vec, prelude::*};

/// A part as it is stored when it comes.
fn part(whole: &[u8], first: usize, last: usize, tag: &str, total: usize) -> Entry {
    let value = |text: &str| HeaderValue::from_str(text).unwrap();
    let request = HeaderMap::from_iter([(header::RANGE, value("bytes=0-"))]);
    let response = HeaderMap::from_iter([
        (header::ETAG, value(tag)),
        (header::CACHE_CONTROL, value("max-age=60")),
        (header::CONTENT_RANGE, value(&format!("bytes {first}-{last}/{total}"))),
    ]);
    let (status, now) = (StatusCode::PARTIAL_CONTENT, Time::from_secs(1_000_000_000));
    let exchange = Exchange::new(&Method::GET, &request, status, &response, now);
    let stored = judge(&Profile::rfc(), &exchange).unwrap();
    let mut entry = Entry::new("http://a.example/".into(), status, stored.headers, stored.policy);
    entry.vary = Arc::new(stored.vary);
    // In several pieces, as it comes off a socket.
    let pieces = whole[first..=last].chunks(3).map(Bytes::copy_from_slice).collect();
    entry.body = Chunks::new(pieces);
    entry
}

/// The spans that an entry says it has, with their bytes.
fn spans(entry: &Entry) -> Vec<(usize, Vec<u8>)> {
    let mut bytes = entry.body.as_slice().concat();
    let lines = entry.headers.get_all(header::CONTENT_RANGE).iter();
    let spans = lines.map(|line| {
        let (span, _) = line.to_str().unwrap()["bytes ".len()..].split_once('/').unwrap();
        let (first, last) = span.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let rest = bytes.split_off(last - first + 1);
        (first, std::mem::replace(&mut bytes, rest))
    });
    let spans = spans.collect();
    assert!(entry.status == StatusCode::OK || bytes.is_empty(), "all bytes are in a span");
    spans
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_the_parts_the_bytes_are_those_of_the_whole(
        total in 1_usize..120,
        parts in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u8..8), 1..30),
    ) {
        let whole: Vec<u8> = (0_u8..).cycle().take(total).collect();
        let strange = vec![0xff; total + 1];
        let mut stored: Option<Entry> = None;
        let mut have = vec![false; total];
        for (one, other, kind) in parts {
            let (one, other) = (one.index(total), other.index(total));
            let (first, last) = (one.min(other), one.max(other));
            let new = match kind {
                0 => part(&strange, first, last, "\"other\"", total),
                1 => part(&strange, first, last, "\"a\"", total + 1),
                _ => part(&whole, first, last, "\"a\"", total),
            };
            let Some(old) = stored.take() else {
                if kind > 1 {
                    have[first..=last].fill(true);
                    stored = Some(new);
                }
                continue;
            };
            let both = combine(&Profile::rfc(), &old, &new, 1000);
            let complete = old.status == StatusCode::OK;
            prop_assert_eq!(both.is_some(), kind > 1 && !complete);
            if both.is_some() {
                have[first..=last].fill(true);
            }
            stored = Some(both.unwrap_or(old));
        }
        let Some(stored) = stored else { return Ok(()) };
        let all = have.iter().all(|have| *have);
        // A part that came alone and is all of it is still a part.
        if stored.status == StatusCode::OK {
            prop_assert!(all);
            prop_assert_eq!(stored.body.as_slice().concat(), whole);
            prop_assert!(!stored.headers.contains_key(header::CONTENT_RANGE));
            prop_assert_eq!(&stored.headers[header::CONTENT_LENGTH], &total.to_string());
        } else {
            for (first, bytes) in spans(&stored) {
                let span = first..first + bytes.len();
                prop_assert_eq!(&whole[span.clone()], bytes);
                prop_assert!(have[span].iter().all(|have| *have));
            }
        }
    }

    #[test]
    fn any_split_in_any_order_gives_the_whole(
        total in 2_usize..200,
        cuts in vec(any::<prop::sample::Index>(), 1..12),
        order in vec(any::<u64>(), 13),
    ) {
        let whole: Vec<u8> = (0_u8..).cycle().take(total).collect();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(total - 1) + 1).collect();
        cuts.extend([0, total]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut parts: Vec<_> = cuts.windows(2).zip(order).map(|(cut, order)| (order, cut)).collect();
        parts.sort_unstable();
        let mut parts = parts.iter().map(|(_, cut)| part(&whole, cut[0], cut[1] - 1, "\"a\"", total));
        let first = parts.next().unwrap();
        let put = |old: Entry, new: Entry| combine(&Profile::rfc(), &old, &new, 1000).unwrap();
        let stored = parts.fold(first, put);
        if cuts.len() > 2 {
            prop_assert_eq!(stored.status, StatusCode::OK);
        }
        prop_assert_eq!(stored.body.as_slice().concat(), whole);
    }
}

#[test]
fn there_are_never_more_than_sixteen_spans_and_the_newest_is_among_them() {
    let whole = vec![7; 1000];
    let mut stored = part(&whole, 0, 0, "\"a\"", 1000);
    for number in 1..200 {
        let new = part(&whole, 4 * number, 4 * number + number % 2, "\"a\"", 1000);
        stored = combine(&Profile::rfc(), &stored, &new, 1000).unwrap();
        let spans = spans(&stored);
        assert!(spans.len() <= 16);
        assert_eq!(spans.last().unwrap().0, 4 * number);
    }
}

#[test]
fn a_whole_of_more_than_is_allowed_is_not_put_together() {
    let whole = vec![7; 10];
    let (one, other) = (part(&whole, 0, 4, "\"a\"", 10), part(&whole, 4, 9, "\"a\"", 10));
    assert!(combine(&Profile::rfc(), &one, &other, 9).is_none());
    assert!(combine(&Profile::rfc(), &one, &other, 10).is_some());
}

/// Whether a piece lies in the buffer of another.
fn lies_in(piece: &Bytes, whole: &Bytes) -> bool {
    whole.as_ptr_range().contains(&piece.as_ptr())
}

#[test]
fn what_is_left_of_a_piece_does_not_keep_all_of_it() {
    let whole = vec![7; 200_000];
    let mut old = part(&whole, 0, 99_999, "\"a\"", 200_000);
    let piece = Bytes::copy_from_slice(&whole[..100_000]);
    old.body = Chunks::from(piece.clone());
    let mut new = part(&whole, 20_000, 119_999, "\"a\"", 200_000);
    new.body = Chunks::from(Bytes::copy_from_slice(&whole[20_000..120_000]));
    let both = combine(&Profile::rfc(), &old, &new, 1 << 20).unwrap();
    assert_eq!(both.body.length(), 120_000);
    assert!(both.body.as_slice().iter().all(|left| !lies_in(left, &piece)));
    // What stays whole is not copied.
    let next = part(&whole, 150_000, 150_010, "\"a\"", 200_000);
    let both = combine(&Profile::rfc(), &old, &next, 1 << 20).unwrap();
    assert!(both.body.as_slice().iter().any(|left| lies_in(left, &piece)));
}

#[test]
fn what_is_put_together_has_the_tags_of_both() {
    let tags = |names: &[&str]| names.iter().map(|name| Tag::from(*name)).collect::<Arc<[Tag]>>();
    let (mut one, mut other) =
        (part(&[7; 10], 0, 3, "\"a\"", 10), part(&[7; 10], 6, 8, "\"a\"", 10));
    one.tags = tags(&["a", "b"]);
    other.tags = tags(&["b", "c"]);
    let mut both = combine(&Profile::rfc(), &one, &other, 1000).unwrap().tags.to_vec();
    both.sort();
    assert_eq!(both, *tags(&["a", "b", "c"]));
    // As many as there are, each purge must find it; so there is an end to it.
    one.tags = (0..1000).map(|number| Tag::from(&*number.to_string())).collect();
    assert!(combine(&Profile::rfc(), &one, &other, 1000).is_none());
}

#[test]
fn what_is_put_together_says_of_its_freshness_what_the_newer_says() {
    let with = |mut entry: Entry, name, value: &'static str| {
        entry.headers.remove(header::CACHE_CONTROL);
        entry.headers.insert(name, HeaderValue::from_static(value));
        entry
    };
    const EXPIRES: &str = "Sun, 06 Nov 2095 08:49:37 GMT";
    for name in ["cache-control", "cdn-cache-control", "expires", "pragma"] {
        let name: header::HeaderName = name.parse().unwrap();
        let old = with(part(&[7; 10], 0, 3, "\"a\"", 10), name.clone(), "max-age=60");
        let new = with(part(&[7; 10], 6, 8, "\"a\"", 10), header::WARNING, "x");
        let both = combine(&Profile::rfc(), &old, &new, 1000).unwrap();
        assert!(!both.headers.contains_key(&name), "{name}");
        let new = with(new, name.clone(), EXPIRES);
        let both = combine(&Profile::rfc(), &old, &new, 1000).unwrap();
        assert_eq!(both.headers[&name], EXPIRES);
        assert_eq!(both.policy, new.policy);
    }
}
