//! What becomes of a connection that changes its protocol (WebSocket, for one): bytes, both ways.

use std::io;

use buttress_core::BoxError;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

/// Carries bytes between the two ends until both have closed or one has failed.
///
/// Both ends are closed when the future is dropped.
pub(crate) async fn carry(client: OnUpgrade, upstream: OnUpgrade) -> Result<(u64, u64), BoxError> {
    let (client, upstream) = tokio::try_join!(client, upstream)?;
    let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    let carried: io::Result<_> = copy_bidirectional(&mut client, &mut upstream).await;
    Ok(carried?)
}
