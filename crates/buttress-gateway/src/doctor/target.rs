//! What is examined.

use std::{net::IpAddr, str::FromStr};

use buttress_dns::Name;
use http::{Uri, uri::PathAndQuery};

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) secure: bool,
    pub(super) name: Name,
    pub(super) port: u16,
    pub(super) path: PathAndQuery,
}

/// Names with these endings mean something in one network only, or nothing at all (RFC 6761,
/// RFC 8375); public resolvers need not hear of them.
const PRIVATE: [&str; 12] = [
    "alt",
    "corp",
    "example",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localhost",
    "test",
];

impl Target {
    /// The address, if the host is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.name.address().map(|address| address.ip())
    }

    /// Whether only this network could know the name.
    pub(super) fn is_private(&self) -> bool {
        let within =
            |suffix: &&str| Name::new(suffix).is_ok_and(|suffix| self.name.is_within(&suffix));
        self.name.labels() == 1 || PRIVATE.iter().any(within)
    }

    /// Host and port as they stand in a URL; the port only if it is not the usual one.
    pub(super) fn authority(&self) -> String {
        let host = match self.address() {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.name.to_string(),
        };
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    pub(super) fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    /// Where a `Location` leads (RFC 9110, section 10.2.2), if it is a place that can be examined.
    pub(super) fn redirected(&self, location: &str) -> Option<Self> {
        let origin = || format!("{}://{}", self.scheme(), self.authority());
        if location.starts_with("//") {
            return format!("{}:{location}", self.scheme()).parse().ok();
        }
        if location.starts_with('/') {
            return format!("{}{location}", origin()).parse().ok();
        }
        if location.contains("://") {
            return location.parse().ok();
        }
        let path = self.path.path();
        let folder = path.rfind('/').and_then(|end| path.get(..=end)).unwrap_or("/");
        format!("{}{folder}{location}", origin()).parse().ok()
    }

    /// Whether what is meant for one may be sent to the other.
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        (self.secure, &self.name, self.port) == (other.secure, &other.name, other.port)
    }

    const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let written = written.split('#').next().unwrap_or_default();
        let uri: Uri =
            written.parse().map_err(|error| format!("{written:?} is no URL: {error}"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(other) => return Err(format!("{other:?} is neither http nor https")),
            None => return Err(format!("{written:?} does not begin with https:// or http://")),
        };
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        if authority.contains('@') {
            return Err("a name or password in the URL is not sent; give --header".to_owned());
        }
        let host = uri.host().unwrap_or_default();
        let name = Name::new(host).map_err(|error| error.to_string())?;
        // `Uri` takes what is no port for none.
        let rest = authority.get(host.len()..).unwrap_or_default();
        let port = match (uri.port_u16(), rest) {
            (Some(port), _) if port > 0 => port,
            (None, "") => {
                if secure {
                    443
                } else {
                    80
                }
            }
            _ => return Err(format!("{:?} is no port", rest.trim_start_matches(':'))),
        };
        let path = uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { secure, name, port, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(written: &str) -> Target {
        written.parse().unwrap_or_else(|error| panic!("{written}: {error}"))
    }

    #[test]
    fn a_url_is_read_and_written_in_one_way() {
        for (written, url) in [
            ("https://API.example.com", "https://api.example.com/"),
            ("https://api.example.com:443/v1?x=1", "https://api.example.com/v1?x=1"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http://[::1]:8080/a", "http://[::1]:8080/a"),
            ("https://my_service:8443/#top", "https://my_service:8443/"),
        ] {
            assert_eq!(read(written).url(), url);
        }
    }

    #[test]
    fn what_cannot_be_examined_is_refused() {
        for written in [
            "",
            "example.com",
            "ftp://example.com",
            "https://",
            "https://a..b",
            "https://user:secret@example.com",
            "https://example.com:0",
            "https://example.com:99999",
            "https://exa mple.com",
        ] {
            let reason = written.parse::<Target>().unwrap_err();
            assert!(!reason.is_empty() && !reason.contains('\n'), "{written}: {reason}");
            assert!(!reason.contains("secret"), "{reason}");
        }
    }

    #[test]
    fn names_of_this_network_are_told_from_public_ones() {
        for host in ["localhost", "db", "api.internal", "printer.local", "x.home.arpa"] {
            assert!(read(&format!("http://{host}/")).is_private(), "{host}");
        }
        for host in ["example.com", "internal.example.com", "localhost.example.org"] {
            assert!(!read(&format!("http://{host}/")).is_private(), "{host}");
        }
    }

    #[test]
    fn a_redirection_leads_somewhere_or_nowhere() {
        let here = read("https://api.example.com/v1/models?x=1");
        let to = |location| here.redirected(location).map(|target| target.url());
        assert_eq!(to("/v2").as_deref(), Some("https://api.example.com/v2"));
        assert_eq!(to("chat").as_deref(), Some("https://api.example.com/v1/chat"));
        assert_eq!(to("//b.example.com/").as_deref(), Some("https://b.example.com/"));
        assert_eq!(to("http://b.example.com/").as_deref(), Some("http://b.example.com/"));
        assert_eq!(to("mailto://someone"), None);
        assert!(here.same_origin(&read("https://api.example.com:443/other")));
        assert!(!here.same_origin(&read("http://api.example.com:443/other")));
    }
}
