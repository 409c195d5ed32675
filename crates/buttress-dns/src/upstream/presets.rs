//! Resolvers that everybody may ask, and where they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Server, Upstreams, server::Way};

/// Where RFC 8484 and all who follow it put the service.
pub(super) const PATH: &str = "/dns-query";

/// A resolver that is open to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Public {
    /// Cloudflare: 1.1.1.1 and 1.0.0.1.
    Cloudflare,
    /// Google: 8.8.8.8 and 8.8.4.4.
    Google,
    /// Quad9, which leaves out names that are known for harm: 9.9.9.9 and 149.112.112.112.
    Quad9,
    /// `AliDNS`: 223.5.5.5 and 223.6.6.6.
    AliDns,
    /// `DNSPod`, by Tencent: 119.29.29.29, and 1.12.12.12 and 120.53.53.53 for what is encrypted.
    DnsPod,
}

struct Place {
    host: &'static str,
    plain: &'static [IpAddr],
    encrypted: &'static [IpAddr],
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(bits: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(bits))
}

const CLOUDFLARE: [IpAddr; 4] = [
    v4(1, 1, 1, 1),
    v4(1, 0, 0, 1),
    v6(0x2606_4700_4700_0000_0000_0000_0000_1111),
    v6(0x2606_4700_4700_0000_0000_0000_0000_1001),
];

const GOOGLE: [IpAddr; 4] = [
    v4(8, 8, 8, 8),
    v4(8, 8, 4, 4),
    v6(0x2001_4860_4860_0000_0000_0000_0000_8888),
    v6(0x2001_4860_4860_0000_0000_0000_0000_8844),
];

const QUAD9: [IpAddr; 4] = [
    v4(9, 9, 9, 9),
    v4(149, 112, 112, 112),
    v6(0x2620_00fe_0000_0000_0000_0000_0000_00fe),
    v6(0x2620_00fe_0000_0000_0000_0000_0000_0009),
];

const ALIDNS: [IpAddr; 4] = [
    v4(223, 5, 5, 5),
    v4(223, 6, 6, 6),
    v6(0x2400_3200_0000_0000_0000_0000_0000_0001),
    v6(0x2400_3200_baba_0000_0000_0000_0000_0001),
];

const DNSPOD: [IpAddr; 1] = [v4(119, 29, 29, 29)];
const DNSPOD_ENCRYPTED: [IpAddr; 2] = [v4(1, 12, 12, 12), v4(120, 53, 53, 53)];

impl Public {
    /// All that are known here.
    pub const ALL: [Self; 5] =
        [Self::Cloudflare, Self::Google, Self::Quad9, Self::AliDns, Self::DnsPod];

    const fn place(self) -> Place {
        match self {
            Self::Cloudflare => {
                Place { host: "cloudflare-dns.com", plain: &CLOUDFLARE, encrypted: &CLOUDFLARE }
            }
            Self::Google => Place { host: "dns.google", plain: &GOOGLE, encrypted: &GOOGLE },
            Self::Quad9 => Place { host: "dns.quad9.net", plain: &QUAD9, encrypted: &QUAD9 },
            Self::AliDns => Place { host: "dns.alidns.com", plain: &ALIDNS, encrypted: &ALIDNS },
            Self::DnsPod => Place { host: "doh.pub", plain: &DNSPOD, encrypted: &DNSPOD_ENCRYPTED },
        }
    }

    /// Its addresses over IPv4, each a server that is asked in plain text.
    #[must_use]
    pub fn plain(self) -> Vec<Server> {
        let addresses = self.place().plain.iter().filter(|address| address.is_ipv4());
        addresses.map(|&address| Server::plain((address, 53))).collect()
    }

    /// DNS over HTTPS: one server, and one connection to whichever of its addresses is reached.
    #[must_use]
    pub fn https(self) -> Server {
        let place = self.place();
        let label = format!("https://{}{PATH}", place.host);
        Server::known(Way::Https(place.secure(443)), label)
    }

    /// DNS over TLS. Its host differs from that of DNS over HTTPS at some.
    #[must_use]
    pub fn tls(self) -> Server {
        let mut place = self.place();
        place.host = match self {
            Self::Cloudflare => "one.one.one.one",
            Self::DnsPod => "dot.pub",
            Self::Google | Self::Quad9 | Self::AliDns => place.host,
        };
        let label = format!("tls://{}", place.host);
        Server::known(Way::Tls(place.secure(853)), label)
    }
}

impl Place {
    fn secure(&self, port: u16) -> super::server::Secure {
        super::server::Secure {
            addresses: self.encrypted.iter().map(|&address| (address, port).into()).collect(),
            host: self.host.into(),
            path: PATH.into(),
        }
    }
}

/// The addresses of a host that is known here, or none.
pub(super) fn of_host(host: &str) -> Vec<IpAddr> {
    let known = Public::ALL.iter().find(|public| {
        let (https, tls) = (public.https(), public.tls());
        [https, tls].iter().any(|server| match server.way() {
            Way::Tls(secure) | Way::Https(secure) => *secure.host == *host,
            Way::System | Way::Plain(_) => false,
        })
    });
    known.map(|public| public.place().encrypted.to_vec()).unwrap_or_default()
}

/// Ready-made sets of servers.
impl Upstreams {
    /// The system's own resolver alone.
    #[must_use]
    pub fn system() -> Self {
        Self::of(vec![Server::system()])
    }

    /// 1.1.1.1 and 1.0.0.1, in plain text.
    #[must_use]
    pub fn cloudflare() -> Self {
        Self::of(Public::Cloudflare.plain())
    }

    /// Cloudflare over HTTPS alone, so that nobody on the way reads or changes an answer.
    #[must_use]
    pub fn cloudflare_doh() -> Self {
        Self::of(vec![Public::Cloudflare.https()])
    }

    /// 8.8.8.8 and 8.8.4.4, in plain text.
    #[must_use]
    pub fn google() -> Self {
        Self::of(Public::Google.plain())
    }

    /// Google over HTTPS alone.
    #[must_use]
    pub fn google_doh() -> Self {
        Self::of(vec![Public::Google.https()])
    }

    /// 9.9.9.9 and 149.112.112.112, in plain text.
    #[must_use]
    pub fn quad9() -> Self {
        Self::of(Public::Quad9.plain())
    }

    /// Quad9 over HTTPS alone.
    #[must_use]
    pub fn quad9_doh() -> Self {
        Self::of(vec![Public::Quad9.https()])
    }

    /// `AliDNS` over HTTPS alone.
    #[must_use]
    pub fn alidns_doh() -> Self {
        Self::of(vec![Public::AliDns.https()])
    }

    /// `DNSPod` over HTTPS alone.
    #[must_use]
    pub fn dnspod_doh() -> Self {
        Self::of(vec![Public::DnsPod.https()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_reads_as_it_is_written() {
        for public in Public::ALL {
            for server in [public.https(), public.tls()] {
                assert_eq!(server.label().parse::<Server>().as_ref(), Ok(&server));
                assert!(server.is_encrypted());
            }
            assert!(public.plain().iter().all(|server| !server.is_encrypted()));
        }
        let labels: Vec<_> =
            Public::Cloudflare.plain().iter().map(|server| server.label().to_owned()).collect();
        assert_eq!(labels, ["1.1.1.1:53", "1.0.0.1:53"]);
    }
}
