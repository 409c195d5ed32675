//! The addresses that requests are passed on to.

use std::{fmt, str::FromStr};

use buttress::{SettingError, balance::Endpoint};
use http::{
    Uri,
    uri::{Authority, PathAndQuery, Scheme},
};

/// Where requests go: scheme, host, port, and a path that is put before theirs; and its part
/// beside others.
///
/// Made from a URL such as `https://api.example.com/base`, maybe followed by options:
/// `,weight=5` for a share five times as large (1 to 65,535), `,max-in-flight=60` for so many
/// requests at once at most, `,backup` for one that is used only while no other can be. Whatever
/// would be ambiguous in a prefix is refused: credentials, a query, a fragment.
///
/// ```
/// use buttress_gateway::serve::Upstream;
///
/// let upstream: Upstream = "http://127.0.0.1:9000/base/,weight=5".parse()?;
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
    part: Part,
}

/// What distinguishes an upstream from its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    weight: u16,
    backup: bool,
    max_in_flight: Option<u32>,
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

    /// The host and, where the URL names one, the port.
    pub(crate) const fn authority(&self) -> &Authority {
        &self.authority
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

    /// The URI of the server as a whole, which `OPTIONS *` asks for: no path goes before it.
    pub(crate) fn whole(&self) -> Result<Uri, http::Error> {
        let (scheme, authority) = (self.scheme.clone(), self.authority.clone());
        Uri::builder().scheme(scheme).authority(authority).path_and_query("*").build()
    }

    /// The endpoint of a balanced set that it is; `most` is its in-flight limit if it has none of
    /// its own.
    pub(crate) fn endpoint(&self, most: Option<u32>) -> Result<Endpoint, SettingError> {
        let mut endpoint = Endpoint::new(self.to_string())?.weight(self.part.weight.into())?;
        if self.part.backup {
            endpoint = endpoint.backup();
        }
        match self.part.max_in_flight.or(most) {
            Some(most) => endpoint.max_in_flight(most),
            None => Ok(endpoint),
        }
    }
}

/// The URL, without options.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.base)
    }
}

impl FromStr for Upstream {
    type Err = InvalidUpstream;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (url, options) = text.split_once(',').map_or((text, None), |(u, o)| (u, Some(o)));
        let part = options.map_or(Ok(Part::default()), str::parse)?;
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
        Ok(Self { scheme, authority, base, part })
    }
}

impl Default for Part {
    fn default() -> Self {
        Self { weight: 1, backup: false, max_in_flight: None }
    }
}

impl FromStr for Part {
    type Err = InvalidUpstream;

    fn from_str(options: &str) -> Result<Self, InvalidUpstream> {
        let mut part = Self::default();
        for option in options.split(',') {
            match option.split_once('=').unwrap_or((option, "")) {
                ("backup", "") => part.backup = true,
                ("weight", weight) => {
                    part.weight = weight
                        .parse()
                        .ok()
                        .filter(|&weight| weight > 0)
                        .ok_or(InvalidUpstream("its weight is not a number from 1 to 65535"))?;
                }
                ("max-in-flight", most) => {
                    let most = most.parse().ok().filter(|&most| most > 0);
                    part.max_in_flight = Some(
                        most.ok_or(InvalidUpstream("its max-in-flight is not a number from 1"))?,
                    );
                }
                _ => return Err(InvalidUpstream::OPTION),
            }
        }
        Ok(part)
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
    const OPTION: Self = Self(
        "what follows a comma is none of weight=N, max-in-flight=N and backup; a comma in a path \
         is written %2C",
    );
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
    fn the_asterisk_stands_for_the_whole_server() {
        let upstream: Upstream = "http://h/base".parse().unwrap();
        assert_eq!(upstream.whole().unwrap().path(), "*");
    }

    #[test]
    fn options_follow_the_url() {
        let part = |url: &str| url.parse::<Upstream>().unwrap().part;
        assert_eq!(part("http://h/base"), Part::default());
        let all = Part { weight: 5, backup: true, max_in_flight: Some(60) };
        assert_eq!(part("http://h/base,weight=5,max-in-flight=60,backup"), all);
        for options in ["weight=0", "weight=65536", "weight=x", "weight", "max-in-flight=0"] {
            let name = options.split('=').next().unwrap();
            assert!(reason(&format!("http://h,{options}")).contains(name), "{options}");
        }
        for options in ["", "down", "backup=yes", "backup,", "weight=1 backup"] {
            assert!(!reason(&format!("http://h,{options}")).is_empty(), "{options}");
        }
        assert!(reason("http://h/a,b").contains("%2C"));
    }

    #[test]
    fn what_it_becomes_knows_the_options() {
        let endpoint = |most| {
            let upstream: Upstream = "https://h/v1/,weight=5,backup".parse().unwrap();
            upstream.endpoint(most).unwrap()
        };
        let plain = Endpoint::new("https://h/v1").unwrap().weight(5).unwrap().backup();
        assert_eq!(endpoint(None), plain);
        assert_eq!(endpoint(Some(7)), plain.max_in_flight(7).unwrap());
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
