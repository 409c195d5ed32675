//! What the cache has of a host right now, for a stream that comes back to look again.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    DnsError, Observer,
    cache::{Decision, Entry},
    core::{Core, Found},
};

/// What the cache has of a host.
#[derive(Debug)]
pub(super) struct Glance {
    /// The addresses of each family that hold, and which answer they come from.
    pub(super) families: [Option<(u64, Vec<SocketAddr>)>; 2],
    /// Why there are none.
    pub(super) error: Option<DnsError>,
    pub(super) again: Again,
}

/// When to look again.
#[derive(Debug)]
pub(super) struct Again {
    /// At the latest.
    time: Duration,
    /// When this tells of another change than those that it had told of.
    entry: Option<(Arc<Entry>, u64)>,
}

impl Again {
    /// Ends when it is time to look again.
    pub(super) async fn wake(self) {
        match self.entry {
            Some((entry, changes)) => entry.changed_since(changes, self.time).await,
            None => sleep(self.time).await,
        }
    }
}

/// Between looks at what changes by itself only when a file does.
const SELDOM: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);

/// Looks at a host. It counts as a lookup: as long as somebody looks, the name is kept up to date.
pub(super) fn glance<O: Observer>(core: &Arc<Core<O>>, host: &str) -> Glance {
    core.watch_files();
    match core.find(host) {
        Ok(Found::Entry(entry)) => at_entry(core, entry),
        Ok(Found::Known(addresses, _)) => known(&addresses),
        Err(error) => {
            let again = Again { time: SELDOM, entry: None };
            Glance { families: [None, None], error: Some(error), again }
        }
    }
}

fn at_entry<O: Observer>(core: &Arc<Core<O>>, entry: Arc<Entry>) -> Glance {
    let (now, changes) = (core.now(), entry.changes());
    let (decision, errand) = entry.look(now, core.lost(), core.arrange);
    // Without a place for a flight there is nothing that would tell.
    let full = core.run(&entry, errand);
    let next = if full { Some(Duration::from_secs(1)) } else { entry.next_change(now) };
    let error = match decision {
        Decision::Fail(error) => Some(error.of_name(entry.name().as_str())),
        Decision::Serve(..) | Decision::Wait { .. } => None,
    };
    let families = entry.addresses(now);
    // A millisecond later: timers count in whole ones, and what is due is due by then.
    let time = next.unwrap_or(LONGEST).min(LONGEST) + Duration::from_millis(1);
    Glance { families, error, again: Again { time, entry: Some((entry, changes)) } }
}

/// Addresses that need no cache: a version of their own whenever they are others.
fn known(addresses: &[SocketAddr]) -> Glance {
    let family = |v4: bool| -> Vec<SocketAddr> {
        addresses.iter().copied().filter(|address| address.is_ipv4() == v4).collect()
    };
    let versioned = |part: Vec<SocketAddr>| {
        use std::hash::{DefaultHasher, Hash, Hasher};

        let mut hasher = DefaultHasher::new();
        part.hash(&mut hasher);
        (!part.is_empty()).then(|| (hasher.finish(), part))
    };
    let families = [versioned(family(true)), versioned(family(false))];
    Glance { families, error: None, again: Again { time: SELDOM, entry: None } }
}
