//! Which requests may be sent twice.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// The header by which a client lets the server recognise a repeated request
/// (draft-ietf-httpapi-idempotency-key-header).
pub(super) static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// RFC 9110 section 9.2.2: the effect of several such requests is that of one.
pub(super) fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent()
}

/// Whether the request asks for something that is no plain exchange of messages (RFC 9110
/// sections 7.8 and 9.3.6) and can therefore not be repeated by someone in between.
pub(super) fn is_upgrade(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::CONNECT || headers.contains_key(http::header::UPGRADE)
}

/// A key that no other request has: 122 random bits in the form of a version 4 UUID.
pub(super) fn new_key() -> HeaderValue {
    let random = fastrand::u128(..);
    let bits = random & !(0xf << 76) | (0x4 << 76);
    let bits = bits & !(0x3 << 62) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let key = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    HeaderValue::from_str(&key).unwrap_or_else(|_| HeaderValue::from_static("buttress"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_key_looks_like_a_uuid_and_is_another_each_time() {
        let key = new_key();
        let text = key.to_str().unwrap();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        assert_ne!(key, new_key());
    }

    #[test]
    fn post_and_patch_are_not_idempotent() {
        assert!(!is_idempotent(&Method::POST) && !is_idempotent(&Method::PATCH));
        assert!(is_idempotent(&Method::PUT) && is_idempotent(&Method::DELETE));
    }
}
