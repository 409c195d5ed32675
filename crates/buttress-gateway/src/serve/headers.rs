//! What an intermediary does to header fields (RFC 9110 section 7.6).

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, HOST, MAX_FORWARDS, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
    },
};

/// The name this gateway goes by in `Via`.
pub(crate) const PSEUDONYM: &str = "buttress";

/// A request that has passed here this often goes in circles.
const MAX_PASSES: usize = 8;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The fields that mean one connection only, whether `Connection` names them or not.
///
/// The three of proxy authentication are among them: a credential meant for a proxy has no
/// business at the origin, nor its challenge at the client.
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("http2-settings"),
];

/// Removes every field that is meant for the connection it came on, those that `Connection`
/// names included (section 7.6.1).
///
/// `Host` and `Content-Length` stay even if they are named: no sender may list them, and a message
/// without them means something else.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter(|name| !name.eq_ignore_ascii_case("close"))
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .filter(|name| name != HOST && name != CONTENT_LENGTH && !HOP_BY_HOP.contains(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The protocol that an HTTP/1.1 request asks to change to, if it may be passed on.
///
/// `h2c` may not: it would be a second way in, past everything that looks at requests here.
pub(crate) fn upgrade(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    let asked = version == Version::HTTP_11
        && tokens(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case("upgrade"));
    if !asked || tokens(headers, &UPGRADE).any(|name| name.eq_ignore_ascii_case("h2c")) {
        return None;
    }
    headers.get(UPGRADE).cloned()
}

/// Whether the sender understands trailers: `TE: trailers` (section 10.1.4).
pub(crate) fn accepts_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, &TE).any(|coding| coding.eq_ignore_ascii_case("trailers"))
}

/// Whether `Transfer-Encoding` names something that nobody here has undone.
pub(crate) fn has_foreign_coding(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        && tokens(headers, &TRANSFER_ENCODING).any(|coding| !coding.eq_ignore_ascii_case("chunked"))
}

/// Says a length once that was said several times over, as some servers do; that they agree is known
/// from having read the head (RFC 9112 section 6.3).
pub(crate) fn say_length_once(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let (first, more) = (lines.next(), lines.next().is_some());
    let Some(text) = first.and_then(|line| line.to_str().ok()) else { return };
    let Some(length) = text.split(',').next().map(str::trim) else { return };
    if (more || text.len() != length.len())
        && let Ok(length) = HeaderValue::from_str(length)
    {
        headers.insert(CONTENT_LENGTH, length);
    }
}

/// Adds this gateway to `Via`; `version` is that of the message as it was received (section 7.6.3).
pub(crate) fn add_via(headers: &mut HeaderMap, version: Version) {
    let value = match version {
        Version::HTTP_10 => "1.0 buttress",
        Version::HTTP_2 => "2 buttress",
        _ => "1.1 buttress",
    };
    headers.append(VIA, HeaderValue::from_static(value));
}

/// Whether the request has come by so often that it must be going in circles.
pub(crate) fn goes_in_circles(headers: &HeaderMap) -> bool {
    let passes = tokens(headers, &VIA)
        .filter(|entry| entry.split_ascii_whitespace().nth(1) == Some(PSEUDONYM))
        .count();
    passes >= MAX_PASSES
}

/// Counts one hop off `Max-Forwards`; `false` if the request may go no further (section 7.6.2).
///
/// A value that is no number is left as it is.
pub(crate) fn count_forward(headers: &mut HeaderMap) -> bool {
    let left = headers
        .get(MAX_FORWARDS)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse::<u64>().ok());
    match left {
        Some(0) => false,
        Some(left) => {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left - 1));
            true
        }
        None => true,
    }
}

/// Joins the `Cookie` fields that HTTP/2 lets a client split (RFC 9113 section 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let parts: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// What is told to the upstream about the client, in `X-Forwarded-For`, `-Host` and `-Proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum Forwarded {
    /// The client's address goes to the end of what came; host and protocol are filled in where
    /// they are missing. The last address is the one that this gateway saw itself.
    #[default]
    Append,
    /// What came is discarded: for a gateway that strangers reach directly.
    Replace,
    /// Nothing is added, and what came passes.
    Off,
}

impl Forwarded {
    /// Writes the three fields; `host` is the one that the client asked for.
    pub(crate) fn write(self, headers: &mut HeaderMap, peer: IpAddr, host: Option<HeaderValue>) {
        match self {
            Self::Off => return,
            Self::Replace => {
                for name in [X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO] {
                    headers.remove(name);
                }
            }
            Self::Append => {}
        }
        if let Ok(peer) = HeaderValue::try_from(peer.to_canonical().to_string()) {
            headers.append(X_FORWARDED_FOR, peer);
        }
        if let Some(host) = host {
            headers.entry(X_FORWARDED_HOST).or_insert(host);
        }
        headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    }
}

/// The members of a comma-separated list, over all the fields of that name.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field =
            |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let mut map = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            map.append(name, value);
        }
        map
    }

    #[test]
    fn fields_of_one_connection_are_removed_and_the_others_stay() {
        let mut map = headers(&[
            ("connection", "close, X-One"),
            ("connection", "keep-alive , x-two,,"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers, gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic eDp5"),
            ("trailer", "x-sum"),
            ("authorization", "Bearer x"),
        ]);
        remove_hop_by_hop(&mut map);
        let mut left: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "trailer", "x-three"]);
    }

    #[test]
    fn connection_cannot_take_away_the_host_or_the_length() {
        let mut map = headers(&[
            ("connection", "host, content-length"),
            ("host", "a"),
            ("content-length", "3"),
        ]);
        remove_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("host", "a"), ("content-length", "3")]));
    }

    #[test]
    fn nonsense_in_connection_is_passed_over() {
        let mut map = headers(&[("connection", ", ; (x) ,\"y\",  ,"), ("y", "1")]);
        map.append(CONNECTION, HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        remove_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("y", "1")]));
    }

    #[test]
    fn only_an_http_1_1_request_that_says_so_twice_is_an_upgrade() {
        let asked = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(upgrade(&asked, Version::HTTP_11).unwrap(), "websocket");
        assert_eq!(upgrade(&asked, Version::HTTP_10), None);
        let half = headers(&[("upgrade", "websocket")]);
        assert_eq!(upgrade(&half, Version::HTTP_11), None);
        let h2c = headers(&[("connection", "upgrade"), ("upgrade", "websocket, H2C")]);
        assert_eq!(upgrade(&h2c, Version::HTTP_11), None);
    }

    #[test]
    fn via_keeps_what_came_before() {
        let mut map = headers(&[("via", "1.0 fred")]);
        add_via(&mut map, Version::HTTP_2);
        let entries: Vec<_> = map.get_all(VIA).iter().collect();
        assert_eq!(entries, ["1.0 fred", "2 buttress"]);
    }

    #[test]
    fn a_request_that_keeps_coming_back_is_noticed() {
        let mut map = headers(&[("via", "1.1 a, 1.1 buttress (x)")]);
        for _ in 1..MAX_PASSES {
            assert!(!goes_in_circles(&map));
            add_via(&mut map, Version::HTTP_11);
        }
        assert!(goes_in_circles(&map));
    }

    #[test]
    fn each_hop_is_counted_until_none_is_left() {
        let mut map = headers(&[("max-forwards", "1")]);
        assert!(count_forward(&mut map));
        assert_eq!(map[MAX_FORWARDS], "0");
        assert!(!count_forward(&mut map));
        assert!(count_forward(&mut headers(&[("max-forwards", "many")])));
        assert!(count_forward(&mut HeaderMap::new()));
    }

    #[test]
    fn split_cookies_become_one_field() {
        let mut map = headers(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]);
        join_cookies(&mut map);
        assert_eq!(map, headers(&[("cookie", "a=1; b=2"), ("x", "y")]));
    }

    #[test]
    fn the_clients_address_is_appended_replaced_or_kept_back() {
        let came = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https")];
        let written = |forwarded: Forwarded| {
            let mut map = headers(&came);
            let host = Some(HeaderValue::from_static("me"));
            forwarded.write(&mut map, "::ffff:127.0.0.1".parse().unwrap(), host);
            map
        };
        let host = ("x-forwarded-host", "me");
        let peer = ("x-forwarded-for", "127.0.0.1");
        assert_eq!(written(Forwarded::Append), headers(&[came[0], peer, came[1], host]));
        let replaced = headers(&[peer, host, ("x-forwarded-proto", "http")]);
        assert_eq!(written(Forwarded::Replace), replaced);
        assert_eq!(written(Forwarded::Off), headers(&came));
    }

    #[test]
    fn only_chunked_is_a_coding_that_was_undone() {
        assert!(!has_foreign_coding(&HeaderMap::new()));
        assert!(!has_foreign_coding(&headers(&[("transfer-encoding", "Chunked")])));
        assert!(has_foreign_coding(&headers(&[("transfer-encoding", "gzip, chunked")])));
    }

    proptest::proptest! {
        #[test]
        fn whatever_connection_says_nothing_of_one_connection_is_left(
            values in proptest::collection::vec(proptest::collection::vec(32_u8..127, 0..24), 0..4)
        ) {
            let mut map = headers(&[("te", "x"), ("host", "h"), ("upgrade", "u")]);
            for value in &values {
                map.append(CONNECTION, HeaderValue::from_bytes(value).unwrap());
            }
            remove_hop_by_hop(&mut map);
            proptest::prop_assert!(HOP_BY_HOP.iter().all(|name| !map.contains_key(name)));
            proptest::prop_assert_eq!(&map[HOST], "h");
        }
    }
}
