//! Whatever parts come, in whatever order and with whatever fields: what is put together has the bytes
//! of the whole that its validator stands for, and what is missing is asked for as it is missing.

#![no_main]

use std::sync::Arc;

use buttress_cache::{
    Chunks, Entry, Profile, Time,
    rfc::{Exchange, combine, judge},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use libfuzzer_sys::fuzz_target;

/// How many bytes the whole has.
const TOTAL: u8 = 200;

/// The byte at `at` of the version `version`.
fn byte(version: u8, at: u8) -> u8 {
    at.wrapping_mul(3) ^ version
}

/// A part as it is stored when it comes; `None` if it is not.
fn part(version: u8, first: u8, last: u8, say: u8) -> Option<Entry> {
    let value = |text: String| HeaderValue::from_str(&text).expect("a field");
    let request = HeaderMap::from_iter([(header::RANGE, value("bytes=0-".to_owned()))]);
    let mut response = HeaderMap::new();
    response.insert(header::CACHE_CONTROL, value("max-age=60".to_owned()));
    let weak = if say & 1 == 0 { "" } else { "W/" };
    response.insert(header::ETAG, value(format!("{weak}\"{version}\"")));
    // Now and then the fields do not fit the bytes.
    let said = if say & 6 == 6 { last.saturating_add(1) } else { last };
    response.insert(header::CONTENT_RANGE, value(format!("bytes {first}-{said}/{TOTAL}")));
    let (status, now) = (StatusCode::PARTIAL_CONTENT, Time::from_secs(1_000_000_000));
    let exchange = Exchange::new(&Method::GET, &request, status, &response, now);
    let stored = judge(&Profile::rfc(), &exchange).ok()?;
    let mut entry = Entry::new("http://a.example/".into(), status, stored.headers, stored.policy);
    entry.vary = Arc::new(stored.vary);
    let bytes: Vec<u8> = (first..=last).map(|at| byte(version, at)).collect();
    let pieces = bytes.chunks(usize::from(say >> 4) + 1).map(Bytes::copy_from_slice);
    entry.body = Chunks::new(pieces.collect());
    Some(entry)
}

/// Checks that an entry has the bytes that its fields say, and of one version.
fn check(entry: &Entry, version: u8) {
    let mut bytes = entry.body.as_slice().concat().into_iter();
    if entry.status == StatusCode::OK {
        let whole = (0..TOTAL).map(|at| byte(version, at));
        assert!(bytes.eq(whole), "the whole");
        assert!(!entry.headers.contains_key(header::CONTENT_RANGE));
        return;
    }
    let mut next = 0;
    for line in entry.headers.get_all(header::CONTENT_RANGE) {
        let line = line.to_str().expect("text").strip_prefix("bytes ").expect("bytes");
        let (span, total) = line.split_once('/').expect("a total");
        let (first, last) = span.split_once('-').expect("a span");
        let (first, last): (u8, u8) = (first.parse().expect("first"), last.parse().expect("last"));
        assert!(first >= next && last < TOTAL && total == TOTAL.to_string());
        // Never next to each other.
        next = last.saturating_add(2);
        for at in first..=last {
            assert_eq!(bytes.next(), Some(byte(version, at)), "byte {at}");
        }
    }
    assert!(bytes.next().is_none(), "bytes of no span");
}

fuzz_target!(|data: &[u8]| {
    let profile = Profile::rfc();
    let mut stored: Option<(Entry, u8)> = None;
    for part_of in data.chunks_exact(4) {
        let &[version, one, other, say] = part_of else { return };
        let version = version & 1;
        let (one, other) = (one % TOTAL, other % TOTAL);
        let Some(new) = part(version, one.min(other), one.max(other), say) else { continue };
        let fits = say & 6 != 6;
        let both = stored.as_ref().and_then(|(old, _)| combine(&profile, old, &new, 1 << 20));
        if let Some(both) = both {
            let before = stored.as_ref().map(|(_, version)| *version);
            assert_eq!(before, Some(version), "two versions in one");
            assert!(fits && say & 1 == 0, "what does not fit, or is weak");
            check(&both, version);
            stored = Some((both, version));
        } else if fits {
            check(&new, version);
            stored = Some((new, version));
        }
    }
});
