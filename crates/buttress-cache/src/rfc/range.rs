//! Parts of a stored response (RFC 9110 section 14).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::{
    conditional::range_stands,
    list::Members,
    parts::{Held, Span, length, only},
};
use crate::Chunks;

/// More parts than this are not asked for in good faith; the whole is served instead.
const MOST_PARTS: usize = 32;

/// What a request for a part of a stored response gets.
#[derive(Clone, Debug)]
pub(crate) enum Served {
    /// The whole: there is no `Range` that counts.
    Whole,
    /// 206, with these fields in place of the stored ones.
    Part(Parts),
    /// 416, with this `Content-Range`.
    Unsatisfiable(HeaderValue),
}

/// The body of a 206 and the fields that describe it.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) body: Chunks,
    /// For one part.
    pub(crate) content_range: Option<HeaderValue>,
    /// For several.
    pub(crate) content_type: Option<HeaderValue>,
}

/// Serves what a request asks for out of what is at hand; `None` if not all of that is.
pub(crate) fn serve(
    request: &HeaderMap,
    stored: &HeaderMap,
    held: &Held<'_>,
    partial: bool,
) -> Option<Served> {
    let whole = (!partial).then_some(Served::Whole);
    let total = held.total();
    let Some(range) = only(request, header::RANGE) else { return whole };
    let Some(spans) = parse(range.as_bytes(), total) else { return whole };
    if !range_stands(request, stored) {
        return whole;
    }
    if spans.is_empty() {
        let value = HeaderValue::from_str(&format!("bytes */{total}")).ok()?;
        return Some(Served::Unsatisfiable(value));
    }
    let asked: u64 = spans.iter().map(|span| length(*span)).sum();
    let too_much = spans.len() > 1 && asked > total;
    if spans.len() > MOST_PARTS || too_much {
        return whole;
    }
    let parts = match spans.as_slice() {
        [span] => one(held, *span),
        spans => several(held, spans, stored),
    };
    parts.map(Served::Part)
}

/// The one part that a request asks for, of a whole of this length.
pub(super) fn one_span(request: &HeaderMap, stored: &HeaderMap, total: u64) -> Option<Span> {
    let spans = parse(only(request, header::RANGE)?.as_bytes(), total)?;
    let &[span] = spans.as_slice() else { return None };
    range_stands(request, stored).then_some(span)
}

fn one(held: &Held<'_>, span: Span) -> Option<Parts> {
    let body = Chunks::new(held.slices(span)?);
    let content_range = Some(line(held, span)?);
    Some(Parts { body, content_range, content_type: None })
}

/// RFC 9110 section 14.6.
fn several(held: &Held<'_>, spans: &[Span], stored: &HeaderMap) -> Option<Parts> {
    let boundary = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let kind = stored.get(header::CONTENT_TYPE);
    let mut pieces = Vec::new();
    for &span in spans {
        let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
        if let Some(kind) = kind {
            head.extend_from_slice(b"Content-Type: ");
            head.extend_from_slice(kind.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"Content-Range: ");
        head.extend_from_slice(line(held, span)?.as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        pieces.push(Bytes::from(head));
        pieces.extend(held.slices(span)?);
    }
    pieces.push(Bytes::from(format!("\r\n--{boundary}--\r\n")));
    let kind = format!("multipart/byteranges; boundary={boundary}");
    let content_type = Some(HeaderValue::from_str(&kind).ok()?);
    Some(Parts { body: Chunks::new(pieces), content_range: None, content_type })
}

fn line(held: &Held<'_>, (first, last): Span) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("bytes {first}-{last}/{}", held.total())).ok()
}

/// The parts that a `Range` asks for and that there are; `None` if it is to be ignored.
fn parse(value: &[u8], total: u64) -> Option<Vec<Span>> {
    let at = value.iter().position(|&byte| byte == b'=')?;
    let (unit, ranges) = (value.get(..at)?, value.get(at + 1..)?);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut spans = Vec::new();
    let mut any = false;
    for member in Members::of(ranges) {
        any = true;
        spans.extend(span(member, total)?);
        if spans.len() > MOST_PARTS {
            return None;
        }
    }
    any.then_some(spans)
}

/// One part: `Some(None)` if there is no such part, `None` if it is not one.
fn span(member: &[u8], total: u64) -> Option<Option<Span>> {
    let dash = member.iter().position(|&byte| byte == b'-')?;
    let (first, last) = (member.get(..dash)?, member.get(dash + 1..)?);
    if first.is_empty() {
        let length = number(last)?.min(total);
        return Some((length > 0).then(|| (total - length, total - 1)));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some((first < total).then(|| (first, last.min(total - 1))))
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |number, &digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    }))
}

/// The span and the total of a `Content-Range`.
pub(super) fn content_range(value: &[u8]) -> Option<(Span, u64)> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let (unit, text) = text.split_once(' ')?;
    // RFC 9110 section 14.1: units have no case.
    let text = unit.eq_ignore_ascii_case("bytes").then_some(text)?;
    let (span, total) = text.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let (first, last) = (number(first.as_bytes())?, number(last.as_bytes())?);
    let total = number(total.as_bytes())?;
    (first <= last && last < total).then_some(((first, last), total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(range: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(range))])
    }

    fn body() -> Chunks {
        Chunks::new(["012", "3456", "789"].map(Bytes::from).to_vec())
    }

    fn text(chunks: &Chunks) -> String {
        String::from_utf8(chunks.as_slice().concat()).unwrap()
    }

    fn served(range: &'static str) -> Served {
        serve(&ask(range), &HeaderMap::new(), &Held::whole(&body()), false).unwrap()
    }

    #[test]
    fn one_part_is_cut_out_without_a_copy() {
        for (range, part, fields) in [
            ("bytes=0-0", "0", "bytes 0-0/10"),
            ("bytes=2-5", "2345", "bytes 2-5/10"),
            ("BYTES=7-", "789", "bytes 7-9/10"),
            ("bytes=-4", "6789", "bytes 6-9/10"),
            ("bytes=-40", "0123456789", "bytes 0-9/10"),
            ("bytes= 8-99999999999999999999999", "89", "bytes 8-9/10"),
        ] {
            let Served::Part(parts) = served(range) else { panic!("{range}") };
            assert_eq!(text(&parts.body), part, "{range}");
            assert_eq!(parts.content_range.unwrap(), fields);
        }
    }

    #[test]
    fn what_is_no_range_is_ignored() {
        for range in [
            "bytes",
            "bytes =0-1",
            "bytes=",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=-",
            "items=0-1",
            "bytes=1",
        ] {
            assert!(matches!(served(range), Served::Whole), "{range}");
        }
        let many: &'static str = format!("bytes={}", "0-0,".repeat(100)).leak();
        assert!(matches!(served(many), Served::Whole));
        assert!(matches!(served("bytes=0-,0-"), Served::Whole), "more than there is");
    }

    #[test]
    fn what_is_beyond_the_end_cannot_be_satisfied() {
        for range in ["bytes=10-", "bytes=-0", "bytes=11-12,15-"] {
            let Served::Unsatisfiable(value) = served(range) else { panic!("{range}") };
            assert_eq!(value, "bytes */10");
        }
    }

    #[test]
    fn several_parts_come_in_one_message() {
        let Served::Part(parts) = served("bytes=0-1, 20-30, -1") else { panic!() };
        let kind = parts.content_type.unwrap();
        let (_, boundary) = kind.to_str().unwrap().split_once("boundary=").unwrap();
        let expected = format!(
            "\r\n--{boundary}\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
             \r\n--{boundary}\r\nContent-Range: bytes 9-9/10\r\n\r\n9\r\n--{boundary}--\r\n"
        );
        assert_eq!(text(&parts.body), expected);
    }

    #[test]
    fn a_condition_that_fails_gets_the_whole() {
        let stored = HeaderMap::from_iter([
            (header::ETAG, HeaderValue::from_static("\"a\"")),
            (header::LAST_MODIFIED, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")),
            (header::DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:50:37 GMT")),
        ]);
        for (condition, stands) in [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", true),
            ("Sun, 06 Nov 1994 08:49:38 GMT", false),
        ] {
            let mut request = ask("bytes=0-1");
            request.insert(header::IF_RANGE, HeaderValue::from_static(condition));
            let served = serve(&request, &stored, &Held::whole(&body()), false).unwrap();
            assert_eq!(matches!(served, Served::Part(_)), stands, "{condition}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_range_of_any_body_is_served_or_refused(range in "[bytes=0-9, -]{0,30}", total in 0_u64..12) {
            let body = Chunks::from(Bytes::from(vec![b'x'; usize::try_from(total).unwrap()]));
            let request = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_str(&range).unwrap())]);
            let held = Held::whole(&body);
            proptest::prop_assert!(serve(&request, &HeaderMap::new(), &held, false).is_some());
        }
    }
}
