//! What a caller waits for whose answer is not there.

use std::{future::pending, net::SocketAddr, pin::pin, sync::Arc};

use tokio::{
    runtime::Handle,
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use crate::{
    DnsError, DnsErrorKind, Observer, Source,
    cache::{Decision, Entry, Flight, Want},
    core::Core,
};

type Addresses = Arc<[SocketAddr]>;

/// Waits until the entry has an answer, or the caller's time is up. What is under way goes on
/// without the caller.
pub(crate) async fn wait<O: Observer>(
    core: &Arc<Core<O>>,
    entry: &Arc<Entry>,
) -> Result<(Addresses, Source), DnsError> {
    if Handle::try_current().is_err() {
        let error = DnsError::new(DnsErrorKind::Cancelled).of_name(entry.name().as_str());
        return Err(error.because("there is no tokio runtime"));
    }
    let begun = Instant::now();
    let end = begun + core.budget;
    let mut patient = true;
    loop {
        let mut changed = pin!(entry.changed.notified());
        // From here on no change is missed.
        changed.as_mut().enable();
        let (decision, errand) = entry.look(core.now(), core.lost(), core.arrange);
        let full = core.run(entry, errand);
        let stale = match decision {
            Decision::Serve(addresses, Source::Hit) => return Ok((addresses, Source::Miss)),
            Decision::Serve(addresses, source) => return Ok((addresses, source)),
            Decision::Fail(error) => return Err(error.of_name(entry.name().as_str())),
            Decision::Wait { stale } => stale,
        };
        let until = match stale {
            Some(stale) if !patient => return Ok((stale, Source::Stale)),
            Some(_) => end.min(begun + core.patience),
            None => end,
        };
        tokio::select! {
            woken = timeout_at(until, changed) => match (woken, stale) {
                (Ok(()), _) => {}
                (Err(_), Some(_)) => patient = false,
                (Err(_), None) => return Err(late(core, entry, full)),
            },
            place = place(core, full) => {
                // Its end is heard of like that of any other.
                if let Some(flight) = Flight::begin(core, entry, Want::BOTH, false, place) {
                    core.tasks.spawn(&Handle::current(), flight.run());
                }
            }
        }
    }
}

/// A place for a flight, if one has to be waited for.
async fn place<O: Observer>(core: &Core<O>, full: bool) -> OwnedSemaphorePermit {
    if full {
        // It is never closed.
        if let Ok(place) = Arc::clone(&core.flights).acquire_owned().await {
            return place;
        }
    }
    pending().await
}

fn late<O: Observer>(core: &Core<O>, entry: &Entry, full: bool) -> DnsError {
    let kind = if full { DnsErrorKind::Busy } else { DnsErrorKind::Timeout };
    let error = DnsError::new(kind).of_name(entry.name().as_str());
    if full { error } else { error.because(format!("the caller had {:?}", core.budget)) }
}
