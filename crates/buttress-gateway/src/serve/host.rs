//! The host that a client asks for.

use std::net::Ipv6Addr;

use http::{HeaderValue, Request, Version, header::HOST};

use super::answer::Answer;

/// The host that the client asked for; the target's goes before the field (RFC 9112 section 3.2.2).
///
/// A field that is no host is refused even if the target has one of its own (section 3.2).
pub(crate) fn host<B>(request: &Request<B>) -> Result<Option<HeaderValue>, Answer> {
    let mut fields = request.headers().get_all(HOST).iter();
    let field = fields.next();
    let needed = request.version() == Version::HTTP_11;
    if fields.next().is_some() || (needed && field.is_none()) {
        return Err(Answer::invalid("an HTTP/1.1 request has exactly one Host field"));
    }
    // Where the target has no host the field is empty.
    if field.is_some_and(|field| !field.is_empty() && split(field.as_bytes()).is_none()) {
        return Err(Answer::invalid("the Host field names no host"));
    }
    match request.uri().authority() {
        // RFC 9110 section 4.2.4: user information in a target is an error.
        Some(authority) if authority.as_str().contains('@') => {
            Err(Answer::invalid("the request target holds credentials"))
        }
        Some(authority) => HeaderValue::from_str(authority.as_str())
            .ok()
            .filter(|host| split(host.as_bytes()).is_some())
            .map(Some)
            .ok_or_else(|| Answer::invalid("the request target is invalid")),
        None => Ok(field.cloned()),
    }
}

/// The same host of `http` in the one spelling of all: in lower case, and without the port that goes
/// without saying (RFC 9110 section 4.2.3).
pub(crate) fn canonical(host: HeaderValue) -> HeaderValue {
    let Some((name, port)) = split(host.as_bytes()) else { return host };
    let port = port.filter(|&port| port != 80).map_or_else(String::new, |port| format!(":{port}"));
    let text = [&name.to_ascii_lowercase(), port.as_bytes()].concat();
    HeaderValue::from_bytes(&text).unwrap_or(host)
}

/// The name and the port, if there is one (RFC 3986 section 3.2).
fn split(host: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let end = match host {
        [b'[', ..] => host.iter().position(|&byte| byte == b']')? + 1,
        _ => host.iter().position(|&byte| byte == b':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(end);
    let is_name = match name {
        [b'[', literal @ .., b']'] => is_literal(literal),
        _ => !name.is_empty() && is_registered(name),
    };
    let port = match port {
        [] | [b':'] => None,
        [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
            Some(std::str::from_utf8(digits).ok()?.parse().ok()?)
        }
        _ => return None,
    };
    is_name.then_some((name, port))
}

/// An IPv6 address, or one of a version to come.
fn is_literal(literal: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(literal) else { return false };
    let future = || {
        let (version, address) = text.strip_prefix(['v', 'V'])?.split_once('.')?;
        let hex = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        let rest = !address.is_empty() && address.bytes().all(|byte| byte == b':' || plain(byte));
        Some(hex && rest)
    };
    text.parse::<Ipv6Addr>().is_ok() || future().unwrap_or(false)
}

/// A name, or an IPv4 address, which looks like one.
fn is_registered(name: &[u8]) -> bool {
    let mut pieces = name.split(|&byte| byte == b'%');
    let first = pieces.next().is_some_and(|piece| piece.iter().all(|&byte| plain(byte)));
    // What follows a percent sign begins with two digits.
    first
        && pieces.all(|piece| match piece {
            [high, low, rest @ ..] => {
                high.is_ascii_hexdigit()
                    && low.is_ascii_hexdigit()
                    && rest.iter().all(|&byte| plain(byte))
            }
            _ => false,
        })
}

/// What stands for itself: the unreserved characters, and those that separate below.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str, host: &str) -> Option<String> {
        let request = Request::get(target).header(HOST, host).body(()).unwrap();
        let host = host_of(&request)?;
        Some(canonical(host).to_str().unwrap().to_owned())
    }

    fn host_of(request: &Request<()>) -> Option<HeaderValue> {
        host(request).ok().flatten()
    }

    #[test]
    fn a_host_has_one_spelling() {
        for (written, one) in [
            ("A.Example", "a.example"),
            ("a.example:80", "a.example"),
            ("a.example:0080", "a.example"),
            ("a.example:", "a.example"),
            ("a.example:81", "a.example:81"),
            ("[::1]:80", "[::1]"),
            ("[2001:DB8::1]:8080", "[2001:db8::1]:8080"),
            ("[v1.a:b]", "[v1.a:b]"),
            ("a_b.%41", "a_b.%41"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(asked("/", written).as_deref(), Some(one), "{written}");
        }
        assert_eq!(asked("http://B.example:80/", "a.example").as_deref(), Some("b.example"));
        assert_eq!(asked("/", "").as_deref(), Some(""));
    }

    #[test]
    fn what_is_no_host_is_refused_whatever_the_target_says() {
        for bad in [
            "a b", "a/b", "u@a", "a:x", "a:99999", "a:1:2", ":80", "[::1", "[::1]x", "[a]", "::1",
            "\"a\"", "a\\b", "<a>", "%zz", "a%4", "http://a", "a?b", "a#b", "a|b",
        ] {
            assert_eq!(asked("/", bad), None, "{bad}");
            assert_eq!(asked("http://a.example/", bad), None, "{bad}");
        }
        let obs_text = HeaderValue::from_bytes(b"a\xe9").unwrap();
        let request = Request::get("/").header(HOST, obs_text).body(()).unwrap();
        assert!(host(&request).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_host_is_taken_or_refused(text in "[a:.%\\[\\]0-9]{0,12}") {
            if let Some(one) = asked("/", &text).filter(|one| !one.is_empty()) {
                let again = asked("/", &one);
                proptest::prop_assert_eq!(again, Some(one));
            }
        }
    }
}
