//! One server that can be asked, and how.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use buttress_core::SettingError;
use rustls::pki_types::ServerName;

use super::presets;
use crate::system;

/// The setting that is named when a server makes no sense.
const SETTING: &str = "server";

/// Bootstrap addresses that one server may have.
const MOST_ADDRESSES: usize = 16;

/// A name server, or the system's own resolver.
///
/// Made by a function, or read as it is written:
///
/// | written | is |
/// |---|---|
/// | `system` | the system's own resolver |
/// | `1.1.1.1`, `[::1]:5353` | UDP, and TCP for what does not fit; port 53 |
/// | `tls://dns.example@192.0.2.1,192.0.2.2` | DNS over TLS (RFC 7858); port 853 |
/// | `https://dns.example/dns-query@192.0.2.1` | DNS over HTTPS (RFC 8484), over HTTP/2; port 443 |
///
/// Behind the `@` stand the addresses at which the server is reached: somebody has to know them
/// before the first name is looked up. They may be left out where the host is an address itself,
/// and for the hosts of the well-known resolvers. The certificate has to be valid for the host.
///
/// ```
/// use buttress_dns::Server;
///
/// let server: Server = "https://cloudflare-dns.com/dns-query".parse()?;
/// assert!(server.is_encrypted());
/// assert_eq!("1.1.1.1".parse::<Server>()?.label(), "1.1.1.1:53");
///
/// let error = "tls://dns.example".parse::<Server>().unwrap_err();
/// assert!(error.to_string().contains("address"));
/// # Ok::<(), buttress_dns::SettingError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    way: Way,
    label: Arc<str>,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    System,
    Plain(SocketAddr),
    Tls(Secure),
    Https(Secure),
}

/// A server that proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Secure {
    pub(super) addresses: Arc<[SocketAddr]>,
    pub(super) host: Arc<str>,
    pub(super) path: Arc<str>,
}

impl Server {
    /// The system's own resolver, `getaddrinfo`. It cannot look services up.
    #[must_use]
    pub fn system() -> Self {
        Self { way: Way::System, label: system::LABEL.into() }
    }

    /// UDP, and TCP for answers that do not fit. Everybody on the way can read and change them.
    #[must_use]
    pub fn plain(address: impl Into<SocketAddr>) -> Self {
        let address = address.into();
        Self { way: Way::Plain(address), label: address.to_string().into() }
    }

    /// DNS over TLS (RFC 7858). `host` may have a port, `addresses` are where it is.
    ///
    /// # Errors
    ///
    /// If the host is no name or address, or nobody says where it is.
    pub fn tls(
        host: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<Self, SettingError> {
        let (host, port) = host_and_port(host, 853)?;
        let secure = Secure::new(&host, port, presets::PATH, addresses)?;
        let label = format!("tls://{}", authority(&host, port, 853)).into();
        Ok(Self { way: Way::Tls(secure), label })
    }

    /// DNS over HTTPS (RFC 8484), over HTTP/2. `addresses` are where the URL's host is.
    ///
    /// # Errors
    ///
    /// If the URL makes no sense, or nobody says where its host is.
    pub fn https(
        url: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<Self, SettingError> {
        let Some(rest) = url.strip_prefix("https://") else {
            return Err(wrong(url, "no URL that begins with https://"));
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { presets::PATH } else { path };
        let odd = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'#' | b'?' | b'{' | b'}');
        if path.bytes().any(odd) {
            return Err(wrong(url, "a URL with something behind its path"));
        }
        let (host, port) = host_and_port(host, 443)?;
        let secure = Secure::new(&host, port, path, addresses)?;
        let label = format!("https://{}{path}", authority(&host, port, 443)).into();
        Ok(Self { way: Way::Https(secure), label })
    }

    /// How it is called where observers and tables name it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether nobody on the way can read or change what it says.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        matches!(self.way, Way::Tls(_) | Way::Https(_))
    }

    pub(super) fn known(way: Way, label: String) -> Self {
        Self { way, label: label.into() }
    }

    pub(super) const fn way(&self) -> &Way {
        &self.way
    }
}

impl Secure {
    fn new(
        host: &str,
        port: u16,
        path: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<Self, SettingError> {
        if ServerName::try_from(host).is_err() {
            return Err(wrong(host, "no host that a certificate could be for"));
        }
        let mut addresses: Vec<_> = addresses.into_iter().take(MOST_ADDRESSES).collect();
        if addresses.is_empty() {
            addresses = host.parse().map_or_else(|_| presets::of_host(host), |own| vec![own]);
        }
        if addresses.is_empty() {
            return Err(wrong(host, "a host of which no address is given"));
        }
        let at = addresses.into_iter().map(|address| SocketAddr::new(address, port));
        Ok(Self { addresses: at.collect(), host: host.into(), path: path.into() })
    }
}

impl FromStr for Server {
    type Err = SettingError;

    fn from_str(written: &str) -> Result<Self, SettingError> {
        if written == system::LABEL {
            return Ok(Self::system());
        }
        if let Ok(address) = written.parse::<SocketAddr>() {
            return Ok(Self::plain(address));
        }
        let bare = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(written).parse::<IpAddr>() {
            return Ok(Self::plain((address, 53)));
        }
        let (place, addresses) = match written.split_once('@') {
            Some((place, addresses)) => (place, read_addresses(addresses)?),
            None => (written, Vec::new()),
        };
        if let Some(host) = place.strip_prefix("tls://") {
            return Self::tls(host, addresses);
        }
        if place.starts_with("https://") {
            return Self::https(place, addresses);
        }
        Err(wrong(written, "not `system`, an address, tls:// or https://"))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

fn read_addresses(written: &str) -> Result<Vec<IpAddr>, SettingError> {
    let read = |one: &str| one.trim().parse().map_err(|_| wrong(one, "no address"));
    written.split(',').map(read).collect()
}

/// Takes `host`, `host:port`, `[v6]` and `[v6]:port` apart.
fn host_and_port(written: &str, usual: u16) -> Result<(String, u16), SettingError> {
    let (host, port) = match written.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (written, None),
    };
    let port = match port.map(str::parse) {
        None => usual,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => return Err(wrong(written, "a host with a port that is none")),
    };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    Ok((bare.unwrap_or(host).to_ascii_lowercase(), port))
}

fn authority(host: &str, port: u16, usual: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == usual { host } else { format!("{host}:{port}") }
}

fn wrong(given: &str, reason: &str) -> SettingError {
    SettingError::new(SETTING, format!("{given:?}, {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(written: &str) -> Server {
        written.parse().unwrap_or_else(|error| panic!("{written}: {error}"))
    }

    #[test]
    fn a_server_is_what_is_written() {
        assert_eq!(read("system"), Server::system());
        assert_eq!(read("1.1.1.1"), Server::plain(([1, 1, 1, 1], 53)));
        assert_eq!(read("127.0.0.1:5353"), Server::plain(([127, 0, 0, 1], 5353)));
        assert_eq!(read("::1").label(), "[::1]:53");
        assert_eq!(read("[::1]").label(), "[::1]:53");
        assert_eq!(read("[::1]:54").label(), "[::1]:54");
        let server = read("tls://DNS.example:8853@192.0.2.1,192.0.2.2");
        assert_eq!(server.label(), "tls://dns.example:8853");
        let Way::Tls(secure) = server.way() else { panic!("{server:?}") };
        assert_eq!(*secure.addresses, ["192.0.2.1:8853", "192.0.2.2:8853"].map(at));
        let server = read("https://dns.example@192.0.2.1");
        assert_eq!(server.label(), "https://dns.example/dns-query");
        let server = read("https://[2001:db8::1]/other");
        assert_eq!(server.label(), "https://[2001:db8::1]/other");
        let Way::Https(secure) = server.way() else { panic!("{server:?}") };
        assert_eq!(*secure.addresses, [at("[2001:db8::1]:443")]);
    }

    fn at(written: &str) -> SocketAddr {
        written.parse().unwrap()
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_shown() {
        for written in [
            "",
            "dns.example",
            "udp://1.1.1.1",
            "http://1.1.1.1/dns-query",
            "https://dns.example/dns-query",
            "tls://dns.example@somewhere",
            "tls://dns.example:0@1.1.1.1",
            "tls://dns.example:x@1.1.1.1",
            "tls://a b@1.1.1.1",
            "https://@1.1.1.1",
            "https://1.1.1.1/dns-query{?dns}",
            "https://1.1.1.1/dns-query?x=1",
        ] {
            let refused = written.parse::<Server>().expect_err(written);
            assert_eq!(refused.setting(), "server");
            assert!(!refused.to_string().contains('\n'));
        }
    }

    #[test]
    fn what_is_written_for_people_is_read_again() {
        for written in ["system", "1.1.1.1:53", "[::1]:53", "https://cloudflare-dns.com/dns-query"]
        {
            assert_eq!(read(written).to_string(), written);
        }
    }
}
