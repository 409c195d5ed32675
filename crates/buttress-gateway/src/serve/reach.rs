//! The look at the upstreams before the first request: names that resolve, ports that answer.

use std::{net::SocketAddr, time::Duration};

use buttress_dns::DnsError;
use futures_util::future::join_all;
use tokio::{net::TcpStream, time::timeout};

use super::{Error, Upstream, names::Handle};

/// Connects to each upstream once, within `limit`, and hangs up.
///
/// If none is there, that is an error; if some are, the others are warned of, for a gateway must
/// be able to start while one of them is down. An upstream that is `own`, the address listened on,
/// is refused: each request would come back.
pub(crate) async fn check(
    upstreams: &[Upstream],
    names: &Handle,
    own: SocketAddr,
    limit: Duration,
) -> Result<(), Error> {
    let checks = upstreams.iter().map(|upstream| look(upstream, names, own, limit));
    let mut missing = Vec::new();
    for looked in join_all(checks).await {
        match looked {
            Ok(()) => {}
            Err(Look::Own(error)) => return Err(error),
            Err(Look::Missing(error)) => missing.push(error),
        }
    }
    if missing.len() == upstreams.len() {
        return missing.into_iter().next().map_or(Ok(()), Err);
    }
    for error in missing {
        tracing::warn!(%error, "an upstream is not there");
    }
    Ok(())
}

/// What is wrong with an upstream.
enum Look {
    Own(Error),
    Missing(Error),
}

async fn look(
    upstream: &Upstream,
    names: &Handle,
    own: SocketAddr,
    limit: Duration,
) -> Result<(), Look> {
    let refused = |reason: String| {
        let hint = "start it first, or give --no-check";
        let reason = format!("{upstream} cannot be reached: {reason}; {hint}");
        Look::Missing(Error::setting("--upstream", reason))
    };
    let found = timeout(limit, find(upstream, names)).await;
    let addresses = match found {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(refused(format!("its name was not found ({error})"))),
        Err(_) => return Err(refused("its name was not found in time".to_owned())),
    };
    refuse_own(upstream, &addresses, own).map_err(Look::Own)?;
    match timeout(limit, TcpStream::connect(&addresses[..])).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(refused(error.to_string())),
        Err(_) => Err(refused("it did not answer in time".to_owned())),
    }
}

async fn find(upstream: &Upstream, names: &Handle) -> Result<Vec<SocketAddr>, DnsError> {
    let found = names.resolve(upstream.host()).await?;
    Ok(found.map(|address| at_port(address, upstream.port())).collect())
}

fn at_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

fn refuse_own(upstream: &Upstream, addresses: &[SocketAddr], own: SocketAddr) -> Result<(), Error> {
    let everywhere = |address: &SocketAddr| {
        own.ip().is_unspecified() && own.port() == address.port() && address.ip().is_loopback()
    };
    if addresses.iter().any(|address| *address == own || everywhere(address)) {
        let reason = format!("{upstream} is the address this gateway itself listens on");
        return Err(Error::setting("--upstream", reason));
    }
    Ok(())
}
