//! Asks for names, and writes down what came.

use std::net::SocketAddr;

use buttress_dns::{Answer, DnsError, DnsErrorKind, Learned, Server, Upstreams};
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service as _;

/// What was learned of one family: the addresses, or the kind of failure.
pub type Said = Result<Vec<String>, DnsErrorKind>;

pub fn plain(servers: impl IntoIterator<Item = SocketAddr>) -> Upstreams {
    Upstreams::new(servers.into_iter().map(Server::plain)).unwrap()
}

pub async fn answer(upstreams: &Upstreams, name: &str) -> Answer {
    upstreams.clone().call(name.parse::<Name>().unwrap()).await.unwrap()
}

/// Asks for IPv4 addresses alone.
pub async fn v4(upstreams: &Upstreams, name: &str) -> Said {
    said(learn_v4(upstreams, name).await)
}

/// Asks for both families at once.
pub async fn both(upstreams: &Upstreams, name: &str) -> (Said, Said) {
    let (v4, v6) = answer(upstreams, name).await.into_sides();
    let (v4, v6) = tokio::join!(v4, v6);
    (said(v4), said(v6))
}

pub async fn learn_v4(upstreams: &Upstreams, name: &str) -> Learned {
    answer(upstreams, name).await.into_sides().0.await
}

pub fn said(learned: Learned) -> Said {
    let addresses = learned.map_err(|error: DnsError| error.kind())?;
    Ok(addresses.addresses().iter().map(|address| address.ip().to_string()).collect())
}

pub fn found(addresses: &[&str]) -> Said {
    Ok(addresses.iter().map(|&address| address.to_owned()).collect())
}
