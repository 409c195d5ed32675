//! The address that requests are passed on to.

use std::{fmt, str::FromStr};

use http::{
    Uri,
    uri::{Authority, PathAndQuery, Scheme},
};

/// Where requests go: scheme, host, port, and a path that is put before theirs.
///
/// Made from a URL such as `https://api.example.com/base`. Whatever would be ambiguous in a
/// prefix is refused: credentials, a query, a fragment.
///
/// ```
/// use buttress_gateway::serve::Upstream;
///
/// let upstream: Upstream = "http://127.0.0.1:9000/base/".parse()?;
/// assert_eq!(upstream.to_string(), "http://127.0.0.1:9000/base");
/// assert!("127.0.0.1:9000".parse::<Upstream>().is_err());
/// # Ok::<(), buttress_gateway::serve::InvalidUpstream>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    scheme: Scheme,
    authority: Authority,
    /// Empty, or a path that starts with a slash and does not end with one.
    base: String,
}

impl Upstream {
    /// Whether connections are encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port; 80 or 443 where the URL names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        let default = if self.is_https() { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(default)
    }

    /// The path that is put before each request's; empty if there is none.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The URI to ask for when the client asked for `target`.
    ///
    /// The asterisk of `OPTIONS *` means the whole server, so no path goes before it.
    pub(crate) fn uri(&self, target: Option<&PathAndQuery>) -> Result<Uri, http::Error> {
        let target = match target {
            Some(target) if self.base.is_empty() || target.path() == "*" => target.clone(),
            Some(target) => {
                let query = target.query().map(|query| ["?", query]).unwrap_or_default();
                let text = [self.base.as_str(), target.path(), query[0], query[1]].concat();
                PathAndQuery::from_maybe_shared(text)?
            }
            None => PathAndQuery::from_maybe_shared(format!("{}/", self.base))?,
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(target);
        Ok(Uri::from_parts(parts)?)
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.base)
    }
}

impl FromStr for Upstream {
    type Err = InvalidUpstream;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = url.split_once("://").ok_or(InvalidUpstream::NO_SCHEME)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::HTTP,
            "https" => Scheme::HTTPS,
            "" => return Err(InvalidUpstream::NO_SCHEME),
            _ => return Err(InvalidUpstream("its scheme is neither http nor https")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(InvalidUpstream("it holds credentials; send them in a request header"));
        }
        if path.contains('?') {
            return Err(InvalidUpstream("it has a query, which cannot come before a path"));
        }
        if path.contains('#') {
            return Err(InvalidUpstream("it has a fragment, which is never sent"));
        }
        let authority = parse_authority(authority)?;
        let base = path.trim_end_matches('/').to_owned();
        if !base.is_empty() {
            PathAndQuery::try_from(&base).map_err(|_| InvalidUpstream("its path is invalid"))?;
        }
        Ok(Self { scheme, authority, base })
    }
}

fn parse_authority(text: &str) -> Result<Authority, InvalidUpstream> {
    if text.is_empty() || text.starts_with(':') {
        return Err(InvalidUpstream("it has no host"));
    }
    let authority: Authority =
        text.parse().map_err(|_| InvalidUpstream("its host or port is invalid"))?;
    let names_a_port = authority.as_str().len() > authority.host().len();
    if names_a_port && authority.port_u16().is_none_or(|port| port == 0) {
        return Err(InvalidUpstream("its port is not a number from 1 to 65535"));
    }
    Ok(authority)
}

/// Why a URL cannot be an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUpstream(&'static str);

impl InvalidUpstream {
    const NO_SCHEME: Self = Self("it has no scheme; write http://HOST:PORT or https://HOST");
}

impl fmt::Display for InvalidUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidUpstream {}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(url: &str) -> String {
        url.parse::<Upstream>().unwrap_err().to_string()
    }

    #[test]
    fn each_bad_url_is_told_what_is_wrong_with_it() {
        assert!(reason("localhost:8080").contains("no scheme"));
        assert!(reason("api.example.com").contains("no scheme"));
        assert!(reason("").contains("no scheme"));
        assert!(reason("://host").contains("no scheme"));
        assert!(reason("ftp://host").contains("neither http nor https"));
        assert!(reason("http://").contains("no host"));
        assert!(reason("http:///path").contains("no host"));
        assert!(reason("http://:80").contains("no host"));
        assert!(reason("https://user:secret@host").contains("credentials"));
        assert!(reason("http://host/?q=1").contains("query"));
        assert!(reason("http://host?q=1").contains("query"));
        assert!(reason("http://host/#top").contains("fragment"));
        for port in ["0", "99999", "x", "-1", ""] {
            assert!(reason(&format!("http://host:{port}")).contains("port"), "{port}");
        }
        assert!(reason("http://ho st").contains("host"));
        assert!(reason("http://host/a b").contains("path"));
    }

    #[test]
    fn a_message_never_repeats_the_credentials() {
        assert!(!reason("https://user:secret@host").contains("secret"));
    }

    #[test]
    fn the_port_follows_the_scheme_unless_named() {
        let port = |url: &str| url.parse::<Upstream>().unwrap().port();
        assert_eq!(port("http://h"), 80);
        assert_eq!(port("HTTPS://h"), 443);
        assert_eq!(port("https://[::1]:8443"), 8443);
        assert_eq!("https://[::1]:8443".parse::<Upstream>().unwrap().host(), "::1");
    }

    #[test]
    fn the_base_path_goes_before_the_requests_path() {
        let uri = |url: &str, target: &'static str| {
            let target = PathAndQuery::from_static(target);
            url.parse::<Upstream>().unwrap().uri(Some(&target)).unwrap().to_string()
        };
        assert_eq!(uri("http://h", "/v1/models?a=b%20c"), "http://h/v1/models?a=b%20c");
        assert_eq!(uri("http://h/", "/v1/models"), "http://h/v1/models");
        assert_eq!(uri("http://h:1/base/", "/v1?x"), "http://h:1/base/v1?x");
        assert_eq!(uri("http://h/base", "//double//"), "http://h/base//double//");
        assert_eq!(uri("http://h/base", "/?"), "http://h/base/?");
    }

    #[test]
    fn the_asterisk_stands_for_the_whole_server() {
        let target = PathAndQuery::from_static("*");
        let upstream: Upstream = "http://h/base".parse().unwrap();
        assert_eq!(upstream.uri(Some(&target)).unwrap().path(), "*");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_url_or_an_error(text in ".{0,40}") {
            let _ = text.parse::<Upstream>();
        }

        #[test]
        fn what_is_printed_is_read_back(
            host in "[a-z]{1,8}",
            port in 1_u16..,
            base in "(/[a-z]{1,3}){0,3}",
        ) {
            let upstream: Upstream = format!("http://{host}:{port}{base}/").parse().unwrap();
            proptest::prop_assert_eq!(upstream.to_string().parse::<Upstream>().unwrap(), upstream);
        }
    }
}
