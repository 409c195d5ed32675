use std::io::IoSlice;

use bytes::Buf;
use http::{HeaderMap, header};

/// How many pieces of a scattered buffer are looked at; what lies beyond counts as significant.
const PIECES: usize = 16;

const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Tells what a server says from what it sends to keep the connection alive while it has nothing to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filler {
    /// Whatever comes is significant.
    Nothing,
    /// Nothing that comes is: the response is a failure, and held to its end.
    Everything,
    /// White space in front of a JSON text (RFC 8259, section 2).
    JsonSpace,
    /// Comments and blank lines of an event stream (WHATWG HTML, section 9.2).
    EventComments(Line),
}

/// Where in an event stream the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// At the front, after this many bytes of a byte order mark.
    Front(usize),
    Start,
    Comment,
}

impl Filler {
    /// What is filler in a response with these headers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if is_encoded(headers) {
            return Self::Nothing;
        }
        let Some(essence) = essence(headers) else {
            return Self::Nothing;
        };
        if essence.eq_ignore_ascii_case("text/event-stream") {
            Self::EventComments(Line::Front(0))
        } else if is_json(essence) {
            Self::JsonSpace
        } else {
            Self::Nothing
        }
    }

    /// Whether the next bytes of the body say something. Once they did, there is no use asking again.
    pub(super) fn is_significant(&mut self, data: &impl Buf) -> bool {
        if *self == Self::Everything {
            return false;
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        let count = data.chunks_vectored(&mut slices);
        let mut seen = 0;
        for slice in slices.iter().take(count) {
            if self.scan(slice) {
                return true;
            }
            seen += slice.len();
        }
        seen < data.remaining()
    }

    fn scan(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Nothing => !bytes.is_empty(),
            Self::Everything => false,
            Self::JsonSpace => {
                !bytes.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
            }
            Self::EventComments(line) => !bytes.iter().all(|&byte| line.skip(byte)),
        }
    }
}

impl Line {
    /// Steps over a byte of filler; false if the byte is something else.
    fn skip(&mut self, byte: u8) -> bool {
        *self = match (*self, byte) {
            // LF after CR ends no second line that matters: a blank one is filler as well.
            (_, b'\r' | b'\n') if !self.is_inside_mark() => Self::Start,
            (Self::Comment, _) | (Self::Start | Self::Front(0), b':') => Self::Comment,
            (Self::Front(at), _) if BYTE_ORDER_MARK.get(at) == Some(&byte) => {
                if at + 1 == BYTE_ORDER_MARK.len() { Self::Start } else { Self::Front(at + 1) }
            }
            (Self::Start | Self::Front(_), _) => return false,
        };
        true
    }

    fn is_inside_mark(self) -> bool {
        matches!(self, Self::Front(at) if at > 0)
    }
}

/// The bytes of a compressed body are not the text that the content type speaks of.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

fn essence(headers: &HeaderMap) -> Option<&str> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    content_type.split(';').next().map(str::trim)
}

fn is_json(essence: &str) -> bool {
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    let suffix = subtype.rsplit('+').next().unwrap_or(subtype);
    kind.eq_ignore_ascii_case("application")
        && ["json", "jsonl", "x-ndjson", "ndjson"]
            .iter()
            .any(|json| suffix.eq_ignore_ascii_case(json))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(content_type: &'static str) -> Filler {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Filler::of(&headers)
    }

    fn events() -> Filler {
        of("text/event-stream")
    }

    /// How many bytes pass for filler when they come one by one.
    fn filler_before(mut filler: Filler, bytes: &[u8]) -> usize {
        bytes.iter().take_while(|byte| !filler.scan(&[**byte])).count()
    }

    #[test]
    fn the_content_type_says_what_is_filler() {
        assert_eq!(of("Text/Event-Stream; charset=utf-8"), Filler::EventComments(Line::Front(0)));
        for json in ["application/json", "application/problem+JSON;x=y", "application/x-ndjson"] {
            assert_eq!(of(json), Filler::JsonSpace, "{json}");
        }
        for other in ["text/plain", "application/grpc+json-ish", "application/grpc", "json", ""] {
            assert_eq!(of(other), Filler::Nothing, "{other}");
        }
        assert_eq!(Filler::of(&HeaderMap::new()), Filler::Nothing);
    }

    #[test]
    fn a_compressed_body_has_no_filler() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("identity"));
        assert_ne!(Filler::of(&headers), Filler::Nothing);
        headers.append(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(Filler::of(&headers), Filler::Nothing);
    }

    #[test]
    fn comments_and_blank_lines_are_filler_with_any_line_end() {
        for stream in [": a\n\n", ":\r\n\r\n: b\r\n", ": a\r: b\r\r", "\n\r\r\n", "\u{feff}: a\n"] {
            let mut filler = events();
            assert!(!filler.is_significant(&Bytes::from(stream)), "{stream:?}");
            assert_eq!(filler_before(events(), stream.as_bytes()), stream.len(), "{stream:?}");
        }
    }

    #[test]
    fn a_field_is_significant_at_its_first_byte() {
        for (stream, filler) in [
            ("data: x\n", 0),
            (": a\ndata: x\n", 4),
            (": a\r\n\r\nevent: x\r\n", 7),
            (": data: x\n data", 10),
            ("\u{feff}data: x", 3),
            (": a\n\u{feff}", 4),
        ] {
            assert_eq!(filler_before(events(), stream.as_bytes()), filler, "{stream:?}");
        }
        assert_eq!(filler_before(events(), &[0xEF, b'\n']), 1, "half a mark is no mark");
    }

    #[test]
    fn white_space_before_json_is_filler() {
        assert_eq!(filler_before(of("application/json"), b" \r\n\t{ }"), 4);
    }

    #[test]
    fn a_scattered_buffer_is_looked_through() {
        let scattered = Bytes::from_static(b": a").chain(Bytes::from_static(b"\ndata"));
        assert!(events().is_significant(&scattered));
        let filler = Bytes::from_static(b": a").chain(Bytes::from_static(b"\n: b"));
        assert!(!events().is_significant(&filler));
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(
            bytes in prop::collection::vec(prop::sample::select(b":\r\n d\xEF\xBB\xBF".to_vec()), 0..40),
            cut in 0_usize..40,
        ) {
            let (front, back) = bytes.split_at(cut.min(bytes.len()));
            let mut filler = events();
            let in_two = filler.scan(front) || filler.scan(back);
            prop_assert_eq!(in_two, events().scan(&bytes));
            prop_assert_eq!(in_two, filler_before(events(), &bytes) < bytes.len());
        }
    }
}
