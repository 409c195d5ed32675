//! The way to the API: a slow name lookup, and a connect that takes its time.

use std::{
    future::Future,
    io,
    net::Ipv4Addr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use buttress_dns::{Addrs, Dns, DnsError, DnsLayer, Server, SettingError, Upstreams};
use futures_util::future::join_all;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::sleep;
use tower::Layer as _;
use tower_service::Service;

use super::lookup::Lookup;

/// What every new connection pays, whoever makes it: a lookup, then the connect delay.
///
/// The delay stands here, between lookup and connect, because this is where both clients can be
/// given it: the Buttress client's resolver is [`Remembered`], which differs in the lookup alone.
#[derive(Clone, Debug)]
pub struct Path {
    lookup: Lookup,
    connect_delay: Duration,
}

impl Path {
    /// Looks names up with `lookup`, and takes `connect_delay` more.
    #[must_use]
    pub fn new(lookup: Lookup, connect_delay: Duration) -> Self {
        Self { lookup, connect_delay }
    }

    /// The addresses of `host`, at least one, when a connection to it may be opened.
    ///
    /// # Errors
    ///
    /// As [`Lookup::addresses`].
    pub async fn reach(&self, host: &str) -> io::Result<Vec<Ipv4Addr>> {
        let addresses = self.lookup.addresses(host).await?;
        sleep(self.connect_delay).await;
        Ok(addresses)
    }

    /// The same way for a client that remembers names.
    ///
    /// # Errors
    ///
    /// If the name server's address makes no sense.
    pub fn remembered(&self) -> Result<Remembered, SettingError> {
        let servers = Upstreams::new([Server::plain(self.lookup.server())])?;
        let dns = DnsLayer::new().hosts(None).resolv_conf(None).layer(servers);
        Ok(Remembered { dns, connect_delay: self.connect_delay })
    }
}

/// What every new connection of the Buttress client pays: a lookup by its own cache, over the same
/// name server, then the connect delay.
#[derive(Clone, Debug)]
pub struct Remembered {
    dns: Dns<Upstreams>,
    connect_delay: Duration,
}

impl Remembered {
    /// Looks these names up before anybody calls, as `serve` does at its start. A name that is not
    /// found is no error here: whoever calls first asks again.
    pub(super) async fn look_ahead(&self, hosts: impl Iterator<Item = &str>) {
        let _ = join_all(hosts.map(|host| self.dns.resolve(host))).await;
    }
}

impl Service<Name> for Remembered {
    type Response = Addrs;
    type Error = DnsError;
    type Future = Pin<Box<dyn Future<Output = Result<Addrs, DnsError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, host: Name) -> Self::Future {
        let (lookup, delay) = (self.dns.resolve(host.as_str()), self.connect_delay);
        Box::pin(async move {
            let found = lookup.await?;
            sleep(delay).await;
            Ok(found)
        })
    }
}
