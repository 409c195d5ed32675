//! The address of the client, which nobody else can give as theirs.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use buttress_core::SettingError;
use http::{Extensions, HeaderMap, HeaderName};
use ipnet::IpNet;

use super::RequestKey;
use crate::{head::Head, key::Key};

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How many proxies are passed on the way back to the client.
const HOPS: usize = 64;

/// The address of the peer, as an extension of the request, for servers that have no such extension
/// of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerAddr(pub SocketAddr);

impl PeerAddr {
    /// The peer of a connection.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self(address)
    }
}

/// A quota for each client, by its address.
///
/// The address is the peer's: that of axum's `ConnectInfo<SocketAddr>` (feature `axum`; serve with
/// `into_make_service_with_connect_info`), of a [`PeerAddr`] or of a [`SocketAddr`] in the request's
/// extensions, or what [`peer_from`](Self::peer_from) finds there.
///
/// What a header says counts only as far as [trusted proxies](Self::behind) vouch for it. All the
/// IPv6 addresses of one /64 are one client, and an IPv4 address in IPv6 clothes is that address.
#[derive(Clone)]
pub struct ClientIp {
    peer: Option<fn(&Extensions) -> Option<IpAddr>>,
    trusted: Arc<[IpNet]>,
    prefix: u8,
}

impl ClientIp {
    /// The peer, whatever any header says.
    #[must_use]
    pub fn peer() -> Self {
        Self { peer: None, trusted: Arc::default(), prefix: 64 }
    }

    /// The client behind proxies in these networks, such as `10.0.0.0/8`, or at these addresses.
    ///
    /// If the peer is one of them, `X-Forwarded-For` is read from its right end, over all its lines,
    /// and the first address that is not a trusted proxy is the client. What stands left of it can
    /// be made up. Where an entry is no address, the proxy that wrote it is the client.
    ///
    /// # Errors
    ///
    /// If one is neither a network nor an address.
    pub fn behind<N: AsRef<str>>(
        networks: impl IntoIterator<Item = N>,
    ) -> Result<Self, SettingError> {
        let trusted: Result<Arc<[IpNet]>, _> =
            networks.into_iter().map(|network| parse_network(network.as_ref())).collect();
        Ok(Self { trusted: trusted?, ..Self::peer() })
    }

    /// How many bits of an IPv6 address tell clients apart. Default: 64, which is what one customer
    /// has at the least.
    ///
    /// # Errors
    ///
    /// If it is more than 128.
    pub fn ipv6_prefix(mut self, bits: u8) -> Result<Self, SettingError> {
        if bits > 128 {
            return Err(SettingError::new("ipv6_prefix", format!("{bits}, more than 128")));
        }
        self.prefix = bits;
        Ok(self)
    }

    /// Finds the peer in the extensions of the request in another way.
    #[must_use]
    pub fn peer_from(mut self, peer: fn(&Extensions) -> Option<IpAddr>) -> Self {
        self.peer = Some(peer);
        self
    }

    /// The address of the client; `None` if the peer is not known.
    #[inline]
    #[must_use]
    pub fn address(&self, head: &Head<'_>) -> Option<IpAddr> {
        let address = match self.peer {
            Some(peer) => peer(head.extensions)?,
            None => peer(head.extensions)?.ip(),
        };
        let address = address.to_canonical();
        if self.trusts(address) { Some(self.vouched(address, head)) } else { Some(address) }
    }

    /// The client that trusted proxies vouch for.
    #[inline(never)]
    fn vouched(&self, mut address: IpAddr, head: &Head<'_>) -> IpAddr {
        for hop in from_the_right(head.headers).take(HOPS) {
            let Some(before) = hop.and_then(parse_hop) else { break };
            address = before.to_canonical();
            if !self.trusts(address) {
                break;
            }
        }
        address
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

impl RequestKey for ClientIp {
    fn key(&self, head: &Head<'_>) -> Option<Key> {
        self.address(head).map(|address| Key::ip(address, self.prefix))
    }

    #[inline(always)]
    fn at_hand(&self, head: &Head<'_>) -> Option<Key> {
        if self.peer.is_some() || !self.trusted.is_empty() {
            return None;
        }
        peer(head.extensions).map(|peer| Key::peer(peer, self.prefix))
    }
}

impl fmt::Debug for ClientIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIp")
            .field("trusted", &self.trusted)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[inline]
fn peer(extensions: &Extensions) -> Option<&SocketAddr> {
    if let Some(PeerAddr(address)) = extensions.get() {
        return Some(address);
    }
    axum_peer(extensions).or_else(|| extensions.get())
}

#[cfg(feature = "axum")]
fn axum_peer(extensions: &Extensions) -> Option<&SocketAddr> {
    let info = extensions.get::<axum::extract::ConnectInfo<SocketAddr>>();
    info.map(|info| &info.0)
}

#[cfg(not(feature = "axum"))]
const fn axum_peer(_: &Extensions) -> Option<&SocketAddr> {
    None
}

/// The entries of all lines, the last one first; `None` where one is not text.
fn from_the_right(headers: &HeaderMap) -> impl Iterator<Item = Option<&str>> {
    let lines = headers.get_all(&FORWARDED_FOR).iter().rev();
    lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).map(|entry| {
        let entry = str::from_utf8(entry).ok()?;
        Some(entry.trim_matches([' ', '\t', '"']))
    })
}

/// An address, in brackets or not, with a port or not.
fn parse_hop(entry: &str) -> Option<IpAddr> {
    if let Ok(address) = entry.parse() {
        return Some(address);
    }
    if let Ok(address) = entry.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn parse_network(text: &str) -> Result<IpNet, SettingError> {
    let wrong = || {
        let reason = format!("{text:?}, neither an address nor a network such as 10.0.0.0/8");
        SettingError::new("trusted_proxy", reason)
    };
    if let Ok(address) = text.trim().parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    text.trim().parse::<IpNet>().map(|network| network.trunc()).map_err(|_| wrong())
}
