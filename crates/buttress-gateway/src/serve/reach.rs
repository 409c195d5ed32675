//! The look at the upstream before the first request: a name that resolves, a port that answers.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{Error, Upstream};

/// Connects to the upstream once, within `limit`, and hangs up.
///
/// An upstream that is `own`, the address listened on, is refused: each request would come back.
pub(crate) async fn check(
    upstream: &Upstream,
    own: SocketAddr,
    limit: Duration,
) -> Result<(), Error> {
    let refused = |reason: String| {
        let hint = "start it first, or give --no-check";
        Error::setting("--upstream", format!("{upstream} cannot be reached: {reason}; {hint}"))
    };
    let found = timeout(limit, find(upstream)).await;
    let addresses = match found {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(refused(format!("its name was not found ({error})"))),
        Err(_) => return Err(refused("its name was not found in time".to_owned())),
    };
    refuse_own(upstream, &addresses, own)?;
    match timeout(limit, TcpStream::connect(&addresses[..])).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(refused(error.to_string())),
        Err(_) => Err(refused("it did not answer in time".to_owned())),
    }
}

async fn find(upstream: &Upstream) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = lookup_host((upstream.host(), upstream.port())).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::other("it has no address"));
    }
    Ok(addresses)
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
