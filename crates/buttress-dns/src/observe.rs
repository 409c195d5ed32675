//! What the layer and its resolvers tell those who watch them.

use std::{net::SocketAddr, time::Duration};

use crate::{DnsError, Family};

/// Is told what becomes of lookups. Every method does nothing unless it is written; `()` is the
/// observer that watches nothing and costs nothing.
///
/// The methods run inside the lookup, so they should be short.
pub trait Observer: Clone + Send + Sync + 'static {
    /// A caller has its answer.
    fn looked_up(&self, _event: &LookedUp<'_>) {}

    /// The layer has learned one family of a name from its resolver, for a caller or ahead of one.
    fn learned(&self, _event: &Fetched<'_>) {}

    /// A name server has answered, or not. Told by the resolvers that ask name servers.
    fn queried(&self, _event: &Queried<'_>) {}
}

impl Observer for () {}

/// Where a caller's answer came from.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The cache, before its end.
    Hit,
    /// The cache, after its end: the resolver did not do better in time.
    Stale,
    /// The resolver; the caller waited.
    Miss,
    /// A name that is set by hand.
    Override,
    /// The hosts file.
    Hosts,
    /// The name is an address, or `localhost`.
    Literal,
}

impl Source {
    /// A short name for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Override => "override",
            Self::Hosts => "hosts",
            Self::Literal => "literal",
        }
    }
}

/// A caller has its answer.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct LookedUp<'a> {
    /// The name, as it was asked for.
    pub name: &'a str,
    /// Where the answer came from.
    pub source: Source,
    /// How long the caller waited; zero for what was there.
    pub duration: Duration,
    /// The addresses, in the order in which they should be tried.
    pub addresses: &'a [SocketAddr],
    /// Why there is none.
    pub error: Option<&'a DnsError>,
}

/// The layer has learned one family of a name.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct Fetched<'a> {
    /// The name, as the resolver was asked for it.
    pub name: &'a str,
    /// The family.
    pub family: Family,
    /// How long it took.
    pub duration: Duration,
    /// How many addresses there are.
    pub addresses: usize,
    /// Why there are none.
    pub error: Option<&'a DnsError>,
    /// Whether no caller waited for it when it was asked for.
    pub ahead: bool,
}

/// A name server has answered, or not.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct Queried<'a> {
    /// Which one, as `1.1.1.1:53` or `https://cloudflare-dns.com/dns-query`; `system` for the
    /// system's own resolver.
    pub server: &'a str,
    /// The name.
    pub name: &'a str,
    /// The type of the records: `A`, `AAAA`, `SRV`, or `address` for both families at once.
    pub records: &'static str,
    /// How long it took.
    pub duration: Duration,
    /// The response code, if there was a response.
    pub rcode: Option<u16>,
    /// Why it was of no use.
    pub error: Option<&'a DnsError>,
}

impl<'a> Queried<'a> {
    /// A name server has answered with records.
    #[must_use]
    pub const fn new(server: &'a str, name: &'a str, records: &'static str) -> Self {
        let duration = Duration::ZERO;
        Self { server, name, records, duration, rcode: None, error: None }
    }
}
