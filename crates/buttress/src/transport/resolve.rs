//! From a name to addresses.

use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use buttress_core::BoxError;
use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use super::names;

/// Any resolver, its type forgotten: one lookup for each new connection can afford the box.
#[derive(Clone)]
pub(crate) struct Resolver {
    lookup: Arc<Lookup>,
    watch: Option<Arc<dyn Watch>>,
}

/// What a resolver that remembers is told, and what it can be asked besides names.
pub(super) trait Watch: Send + Sync {
    /// No connection could be made to the address.
    fn failed(&self, address: IpAddr);

    /// A connection was made to the address.
    fn worked(&self, address: IpAddr);

    /// Whether the address may be dialled.
    fn check(&self, address: IpAddr) -> Result<(), BoxError>;

    /// Whether the address is no longer one of the host's.
    fn has_left(&self, host: &str, address: IpAddr) -> bool;
}

type Lookup = dyn Fn(Name) -> BoxFuture<'static, Result<Vec<SocketAddr>, BoxError>> + Send + Sync;

/// More addresses than this could not be tried within a sensible connect timeout.
const MOST: usize = 32;

impl Resolver {
    pub(super) fn new<R>(resolver: R) -> Self
    where
        R: Service<Name> + Clone + Send + Sync + 'static,
        R::Response: IntoIterator<Item = SocketAddr>,
        R::Error: Into<BoxError>,
        R::Future: Send,
    {
        let lookup: Arc<Lookup> = Arc::new(move |name| {
            let mut resolver = resolver.clone();
            Box::pin(async move {
                poll_fn(|cx| resolver.poll_ready(cx)).await.map_err(Into::into)?;
                let found = resolver.call(name).await.map_err(Into::into)?;
                Ok(found.into_iter().take(MOST).collect())
            })
        });
        Self { lookup, watch: None }
    }

    /// The same, and `watch` is told of the connections.
    #[cfg(feature = "dns")]
    pub(super) fn watched(self, watch: impl Watch + 'static) -> Self {
        Self { watch: Some(Arc::new(watch)), ..self }
    }

    pub(super) fn watch(&self) -> Option<&Arc<dyn Watch>> {
        self.watch.as_ref()
    }

    pub(super) async fn lookup(&self, name: Name) -> Result<Vec<SocketAddr>, BoxError> {
        (self.lookup)(name).await
    }
}

impl Default for Resolver {
    fn default() -> Self {
        names::default()
    }
}

/// Orders addresses so that the families take turns, beginning with the family that the resolver
/// put first (RFC 8305 section 4). Within a family its order is kept.
pub(super) fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else {
        return addresses;
    };
    let count = addresses.len();
    let (preferred, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut ordered = Vec::with_capacity(count);
    while ordered.len() < count {
        ordered.extend(preferred.next());
        ordered.extend(others.next());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(written: &[&str]) -> Vec<SocketAddr> {
        written.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_from_the_one_that_came_first() {
        let found = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let expected = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(interleave(found), expected);

        let found = addresses(&["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]);
        assert_eq!(interleave(found.clone()), found);
    }

    #[test]
    fn one_family_keeps_its_order() {
        let found = addresses(&["3.3.3.3:1", "1.1.1.1:1", "2.2.2.2:1"]);
        assert_eq!(interleave(found.clone()), found);
        assert_eq!(interleave(Vec::new()), Vec::new());
    }
}
