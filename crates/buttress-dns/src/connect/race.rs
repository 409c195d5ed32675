//! Several addresses, the first that answers (RFC 8305 section 5).

use std::{net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::timeout;

/// Connects to the address that answers first. The next one is tried as soon as those before it
/// have failed, or when the one before it has had its head start.
///
/// The error is that of the attempt that failed first; there is none without addresses.
pub(super) async fn race<T, E, F>(
    addresses: impl ExactSizeIterator<Item = SocketAddr>,
    head_start: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, Option<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut untried = addresses;
    let mut attempts = FuturesUnordered::new();
    let mut first_error = None;
    loop {
        attempts.extend(untried.next().map(&connect));
        let ended = if untried.len() == 0 {
            attempts.next().await
        } else {
            match timeout(head_start, attempts.next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        };
        match ended {
            Some(Ok(connection)) => return Ok(connection),
            Some(Err(error)) => first_error = first_error.or(Some(error)),
            None => return Err(first_error),
        }
    }
}
