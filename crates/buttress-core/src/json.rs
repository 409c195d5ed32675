//! What is JSON by its headers.

use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

/// Whether a message's content is JSON that can be read as it is: by its one `Content-Type`, which is
/// `application/json` or has the suffix `+json` (RFC 6839 section 3.1), and in no coding but `identity`.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else { return false };
    let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let ends = essence.len().checked_sub("+json".len()).and_then(|at| essence.get(at..));
    let json = essence.eq_ignore_ascii_case("application/json")
        || ends.is_some_and(|ends| ends.eq_ignore_ascii_case("+json"));
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    json && codings.all(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn is(kinds: &[&str], coding: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        for kind in kinds {
            headers.append(CONTENT_TYPE, HeaderValue::from_bytes(kind.as_bytes()).unwrap());
        }
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        is_json(&headers)
    }

    #[test]
    fn json_is_known_by_its_name_and_by_its_suffix() {
        let json =
            ["application/json", "Application/JSON ; charset=utf-8", "application/vnd.api+Json"];
        assert!(json.iter().all(|kind| is(&[kind], None)));
        let other = [
            "text/plain",
            "application/jsonl",
            "json",
            "multipart/form-data; boundary=json",
            "",
            "\u{e4}",
        ];
        assert!(!other.iter().any(|kind| is(&[kind], None)));
        assert!(!is(&[], None));
        assert!(!is(&["application/json", "application/json"], None), "which one is it?");
    }

    #[test]
    fn what_is_compressed_is_no_text() {
        assert!(is(&["application/json"], Some(" Identity")));
        assert!(!is(&["application/json"], Some("gzip")));
        assert!(!is(&["application/json"], Some("identity, gzip")));
    }
}
