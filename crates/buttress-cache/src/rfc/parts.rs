//! Parts of a response that are stored, and what they are good for (RFC 9111 section 3.3).
//!
//! A stored part is an entry whose body is what there is of the whole, one span after the other, and
//! whose `Content-Range` has a line for each span. So a store that keeps fields and bytes keeps parts.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use smallvec::SmallVec;

use super::{date, range::content_range};
use crate::{Chunks, Entry, Flags};

/// The first and the last byte of a part.
pub(crate) type Span = (u64, u64);

pub(super) type Spans = SmallVec<[Span; 4]>;

/// The bytes of a response that are at hand.
#[derive(Clone, Debug)]
pub(crate) struct Held<'a> {
    body: &'a Chunks,
    /// In order, and never next to each other.
    spans: Spans,
    total: u64,
}

impl<'a> Held<'a> {
    /// What a stored response has; `None` if its fields do not say what its bytes are.
    pub(crate) fn of(entry: &'a Entry) -> Option<Self> {
        if !entry.policy.flags.has(Flags::PARTIAL) {
            return Some(Self::whole(&entry.body));
        }
        if entry.policy.flags.has(Flags::HEAD) {
            return None;
        }
        let mut held = Self { body: &entry.body, spans: Spans::new(), total: 0 };
        for line in entry.headers.get_all(header::CONTENT_RANGE) {
            let (span, total) = content_range(line.as_bytes())?;
            let apart = held.spans.last().is_none_or(|last| last.1 < span.0.saturating_sub(1));
            if !apart || (held.total != 0 && held.total != total) {
                return None;
            }
            held.total = total;
            held.spans.push(span);
        }
        let length: u64 = held.spans.iter().map(|span| length(*span)).sum();
        (length > 0 && length == entry.body.length()).then_some(held)
    }

    /// All of a body.
    pub(crate) fn whole(body: &'a Chunks) -> Self {
        let total = body.length();
        let spans = total.checked_sub(1).map(|last| (0, last));
        Self { body, spans: spans.into_iter().collect(), total }
    }

    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The bytes of a span, not copied; `None` if they are not all here.
    pub(crate) fn slices(&self, span: Span) -> Option<Vec<Bytes>> {
        self.cut(span, |piece, range| piece.slice(range))
    }

    /// The same to be kept for long: what is cut from a piece is copied, since it would keep all of it.
    pub(super) fn pieces(&self, span: Span) -> Option<Vec<Bytes>> {
        self.cut(span, |piece, range| match piece.get(range) {
            Some(cut) if cut.len() < piece.len() => Bytes::copy_from_slice(cut),
            _ => piece.clone(),
        })
    }

    fn cut(&self, span: Span, cut: impl Fn(&Bytes, Range<usize>) -> Bytes) -> Option<Vec<Bytes>> {
        let (first, last) = span;
        let mut before = 0;
        for held in &self.spans {
            if held.0 <= first && last <= held.1 {
                let skip = usize::try_from(before + first - held.0).ok()?;
                return slices(self.body, skip, usize::try_from(length(span)).ok()?, cut);
            }
            before += length(*held);
        }
        None
    }

    /// From the first to the last byte of a span that is not here; `None` if all are.
    pub(super) fn gap(&self, (mut first, mut last): Span) -> Option<Span> {
        for held in &self.spans {
            if held.0 <= first && first <= held.1 {
                first = held.1.checked_add(1)?;
            }
        }
        for held in &self.spans {
            if first <= last && held.0 <= last && last <= held.1 {
                last = held.0.checked_sub(1)?;
            }
        }
        (first <= last).then_some((first, last))
    }
}

pub(super) const fn length((first, last): Span) -> u64 {
    (last - first).saturating_add(1)
}

fn slices(
    body: &Chunks,
    mut skip: usize,
    mut left: usize,
    cut: impl Fn(&Bytes, Range<usize>) -> Bytes,
) -> Option<Vec<Bytes>> {
    let mut slices = Vec::new();
    for piece in body.as_slice() {
        if left == 0 {
            break;
        }
        if skip >= piece.len() {
            skip -= piece.len();
            continue;
        }
        let end = piece.len().min(skip + left);
        slices.push(cut(piece, skip..end));
        left -= end - skip;
        skip = 0;
    }
    (left == 0).then_some(slices)
}

/// The part that a response with status 206 is, and the length of the whole: one part, of which both
/// are known.
pub(super) fn part_of(status: StatusCode, response: &HeaderMap) -> Option<(Span, u64)> {
    if status != StatusCode::PARTIAL_CONTENT {
        return None;
    }
    content_range(only(response, header::CONTENT_RANGE)?.as_bytes())
}

/// The one line of a field.
pub(super) fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// What stands for the very bytes of a response: an entity tag that is not weak, or, if there is none
/// at all, a date of modification a good deal before the response (RFC 9110 sections 8.8.2.2, 8.8.3).
pub(crate) fn strong_validator(headers: &HeaderMap) -> Option<&HeaderValue> {
    if headers.contains_key(header::ETAG) {
        let tag = only(headers, header::ETAG)?;
        let text = tag.as_bytes();
        return (text.len() > 1 && text.starts_with(b"\"") && text.ends_with(b"\"")).then_some(tag);
    }
    only(headers, header::LAST_MODIFIED).filter(|_| has_strong_date(headers))
}

/// Whether a response was made a good deal after it was last modified.
pub(super) fn has_strong_date(headers: &HeaderMap) -> bool {
    let field = |name| date::field(headers, &name);
    let dates = field(header::LAST_MODIFIED).zip(field(header::DATE));
    dates.is_some_and(|(modified, date)| date.since(modified).as_secs() >= 1)
}

/// The same of a stored response.
pub(crate) fn strong_validator_of(entry: &Entry) -> Option<&HeaderValue> {
    let weak = entry.policy.flags.has(Flags::WEAK_DATE);
    strong_validator(&entry.headers).filter(|_| !weak || entry.headers.contains_key(header::ETAG))
}

/// Whether a stored response and another are of the very same bytes. Whether a date stands for them is
/// known from the stored one.
pub(crate) fn same_bytes(stored: &Entry, other: &HeaderMap) -> bool {
    stored.headers.get_all(header::CONTENT_ENCODING) == other.get_all(header::CONTENT_ENCODING)
        && same_but_for_coding(stored, other)
}

/// The same of an answer to `If-Range`, which may leave out what whoever asks knows (RFC 9110 section
/// 15.3.7).
pub(super) fn is_rest_of(stored: &Entry, rest: &HeaderMap) -> bool {
    let silent = !rest.contains_key(header::CONTENT_ENCODING);
    same_bytes(stored, rest) || (silent && same_but_for_coding(stored, rest))
}

fn same_but_for_coding(stored: &Entry, other: &HeaderMap) -> bool {
    let tagged = [&stored.headers, other].map(|headers| headers.contains_key(header::ETAG));
    let name = if tagged[0] { header::ETAG } else { header::LAST_MODIFIED };
    let strong = strong_validator_of(stored);
    tagged[0] == tagged[1] && strong.is_some() && strong == only(other, name)
}

/// Whether a stored whole gives way to a part: if that was asked for after the whole came, and is known
/// to be of something else.
pub(crate) fn gives_way(whole: &Entry, part: &Entry) -> bool {
    let tags = [whole, part].map(strong_validator_of);
    let other = matches!(tags, [Some(whole), Some(part)] if whole != part);
    other && whole.policy.response_time <= part.request_time
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Policy, Time};

    fn entry(ranges: &[&'static str], body: &'static str) -> Entry {
        let mut headers = HeaderMap::new();
        for range in ranges {
            headers.append(header::CONTENT_RANGE, HeaderValue::from_static(range));
        }
        let mut policy = Policy::from_words([0; 6]);
        policy.flags = Flags::PARTIAL;
        policy.response_time = Time::from_secs(1);
        let mut entry =
            Entry::new("http://a/".into(), StatusCode::PARTIAL_CONTENT, headers, policy);
        entry.body = Chunks::from(Bytes::from_static(body.as_bytes()));
        entry
    }

    #[test]
    fn the_spans_of_a_stored_part_are_its_lines() {
        let stored = entry(&["bytes 2-4/10", "bytes 8-9/10"], "23489");
        let held = Held::of(&stored).unwrap();
        let text = |span| held.slices(span).map(|slices| slices.concat());
        assert_eq!(text((2, 4)).unwrap(), b"234");
        assert_eq!(text((3, 3)).unwrap(), b"3");
        assert_eq!(text((9, 9)).unwrap(), b"9");
        for absent in [(0, 2), (4, 5), (2, 8), (8, 10)] {
            assert_eq!(text(absent), None, "{absent:?}");
        }
    }

    #[test]
    fn what_fields_and_bytes_do_not_agree_on_is_not_held() {
        for (ranges, body) in [
            (&["bytes 0-4/10"][..], "0123"),
            (&["bytes 0-4/10", "bytes 5-6/10"], "0123456"),
            (&["bytes 5-6/10", "bytes 0-1/10"], "5601"),
            (&["bytes 0-1/10", "bytes 5-6/11"], "0156"),
            (&["bytes 0-4/*"], "01234"),
            (&[], ""),
        ] {
            assert!(Held::of(&entry(ranges, body)).is_none(), "{ranges:?}");
        }
    }

    #[test]
    fn a_gap_reaches_from_the_first_to_the_last_byte_that_is_not_here() {
        let stored = entry(&["bytes 2-4/10", "bytes 8-9/10"], "23489");
        let held = Held::of(&stored).unwrap();
        for (asked, gap) in [
            ((0, 9), Some((0, 7))),
            ((2, 9), Some((5, 7))),
            ((3, 6), Some((5, 6))),
            ((0, 3), Some((0, 1))),
            ((0, 1), Some((0, 1))),
            ((3, 4), None),
            ((8, 9), None),
        ] {
            assert_eq!(held.gap(asked), gap, "{asked:?}");
        }
    }

    #[test]
    fn only_what_stands_for_the_bytes_is_strong() {
        let of = |fields: &[(&'static str, &'static str)]| {
            fields
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
                .collect::<HeaderMap>()
        };
        let stored = |headers: &HeaderMap| {
            let policy = Policy::from_words([0; 6]);
            Entry::new("http://a/".into(), StatusCode::OK, headers.clone(), policy)
        };
        let same_bytes = |one: &HeaderMap, other: &HeaderMap| same_bytes(&stored(one), other);
        let is_rest_of = |one: &HeaderMap, other: &HeaderMap| is_rest_of(&stored(one), other);
        let old = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = ("date", "Sun, 06 Nov 1994 08:49:38 GMT");
        let strong = of(&[("etag", "\"a\"")]);
        assert!(same_bytes(&strong, &of(&[("etag", "\"a\""), old])));
        for other in [
            &[("etag", "\"b\"")][..],
            &[("etag", "W/\"a\"")],
            &[("etag", "a")],
            &[old, later],
            &[],
            &[("etag", "\"a\""), ("content-encoding", "gzip")],
        ] {
            let coded = of(&[("etag", "\"a\""), ("content-encoding", "br")]);
            assert!(!same_bytes(&coded, &of(other)), "{other:?}");
        }
        let coded = of(&[("etag", "\"a\""), ("content-encoding", "br")]);
        assert!(!same_bytes(&coded, &strong) && !same_bytes(&strong, &coded));
        assert!(is_rest_of(&coded, &strong) && !is_rest_of(&strong, &coded));
        let weak = of(&[("etag", "W/\"a\"")]);
        assert!(!same_bytes(&weak, &weak));
        let dated = of(&[old, later]);
        assert!(same_bytes(&dated, &dated));
        let mut confirmed = stored(&dated);
        confirmed.policy.flags = Flags::WEAK_DATE;
        assert!(!super::same_bytes(&confirmed, &dated));
        confirmed.headers.extend(strong.clone());
        assert!(super::same_bytes(&confirmed, &strong));
        let at_once = of(&[old, ("date", old.1)]);
        assert!(!same_bytes(&at_once, &at_once));
    }
}
