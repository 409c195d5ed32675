//! The way to the API: a slow name lookup, and a connect that takes its time.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::sleep;
use tower_service::Service;

use super::lookup::Lookup;

/// What every new connection pays, whoever makes it: a lookup, then the connect delay.
///
/// The delay stands here, between lookup and connect, because this is where both clients can be
/// given it: it is also the resolver of the Buttress client.
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
}

impl Service<Name> for Path {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, host: Name) -> Self::Future {
        let path = self.clone();
        Box::pin(async move {
            let addresses = path.reach(host.as_str()).await?;
            // The connector puts the port of the URL in.
            let sockets: Vec<SocketAddr> =
                addresses.into_iter().map(|address| SocketAddr::from((address, 0))).collect();
            Ok(sockets.into_iter())
        })
    }
}
