//! `buttress serve`: a reverse proxy made of the layers.
//!
//! What a request meets, from the client inwards: its connection ([`Server`]); the rules that HTTP
//! has for an intermediary (RFC 9110 section 7.6); then the layers, in the order that the `stack`
//! module writes down, and at the end the pooled connections to each [`Upstream`].
//!
//! Bodies pass as they come, in both directions: nothing is gathered, unpacked or rewritten. An
//! answer of an upstream passes whatever its status; the gateway's own answers are 400, 421, 501,
//! 502, 503, 504 and 508 with a small JSON body. An answer that breaks off ends in an error on the
//! client's side too: the last chunk is withheld, the stream or the connection is reset.
//!
//! The upstream is told about the client in `X-Forwarded-For`, `-Host` and `-Proto`, see
//! [`Forwarded`].

mod affinity;
mod ahead;
mod answer;
mod arguments;
mod balance;
mod body;
mod cache;
mod error;
mod exchange;
mod headers;
mod host;
mod limits;
mod listen;
mod names;
mod overload;
mod proxy;
mod reach;
mod shutdown;
mod socket;
mod stack;
mod tunnel;
mod upload;
mod upstream;
pub(crate) mod values;

use std::io::Write as _;

pub use self::{
    affinity::{AffinityArguments, Bound, HashKey},
    arguments::{Arguments, Balance, Policy, Protocol},
    cache::{CacheArguments, CacheProfile, CacheScope, CacheTtl},
    error::Error,
    headers::Forwarded,
    limits::{LimitKey, Limits, Rate},
    listen::Server,
    names::{NameRoute, Names},
    overload::{Concurrent, OverloadArguments, Spare},
    shutdown::{Drained, Shutdown},
    upstream::{InvalidUpstream, Upstream},
    values::{Address, InFlightLimit, Limit, Size},
};

/// Runs the command: listens until a signal comes, and drains.
///
/// Prints `listening on ADDRESS` on standard output once connections are taken.
///
/// # Errors
///
/// If a setting cannot be met, or the system refuses what every server needs.
pub async fn run(arguments: &Arguments) -> Result<Drained, Error> {
    // A request holds two sockets, and some systems allow 256 until asked. If they allow no more,
    // the next ones wait.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let shutdown = Shutdown::new();
    shutdown.on_signals().map_err(Error::io("listen to signals"))?;
    let server = Server::bind(arguments, shutdown).await?;
    let address = server.local_addr();
    // Whoever started this may have closed its end; that is no reason not to serve.
    let _ = writeln!(std::io::stdout(), "listening on {address}");
    for upstream in &arguments.upstreams {
        tracing::info!(%address, %upstream, "listening");
    }
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "whoever can reach this address can use the gateway");
    }
    Ok(server.run().await)
}
