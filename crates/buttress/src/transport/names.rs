//! Names that are known already: the handle of `buttress-dns` under the transport.

use std::net::IpAddr;

use buttress_core::BoxError;
use buttress_dns::{Dns, DnsError, DnsErrorKind, DnsLayer, Observer, System};
use tower_layer::Layer;

use super::resolve::{Resolver, Watch};

/// How many answers in a row an address must be missing from before its connections are retired.
/// Large services give a part of their addresses at a time.
const MISSING: usize = 3;

/// The resolver of a transport for which none was chosen: the system's, under a cache.
pub(super) fn default() -> Resolver {
    Resolver::of_names(DnsLayer::new().layer(System::new()))
}

impl Resolver {
    /// Looks up with `dns`, and tells it what became of its addresses.
    pub(crate) fn of_names<S, O>(dns: Dns<S, O>) -> Self
    where
        S: Clone + Send + Sync + 'static,
        O: Observer,
    {
        Self::new(dns.clone()).watched(dns)
    }
}

impl<S: Send + Sync, O: Observer> Watch for Dns<S, O> {
    fn failed(&self, address: IpAddr) {
        Self::failed(self, address);
    }

    fn worked(&self, address: IpAddr) {
        Self::worked(self, address);
    }

    fn check(&self, address: IpAddr) -> Result<(), BoxError> {
        if self.guard().is_none_or(|guard| guard.allows(address)) {
            return Ok(());
        }
        Err(DnsError::new(DnsErrorKind::Denied).of_name(address.to_string()).into())
    }

    fn has_left(&self, host: &str, address: IpAddr) -> bool {
        Self::has_left(self, host, address, MISSING)
    }
}
