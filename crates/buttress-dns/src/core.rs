//! What all clones of a handle share.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, sync::Semaphore, time::sleep};

use crate::{
    Answer, DnsError, DnsErrorKind, Guard, Name, Observer, Records, Source,
    ask::Resolver,
    cache::{Entry, Errand, Flight, Rules, Table, Want},
    clock::{Clock, Moment},
    files::{Files, INTERVAL, Snapshot},
    hint,
    memory::Memory,
    order::Arrange,
    search,
    tasks::Tasks,
};

/// The cache, the resolvers under it and the rules between them.
#[derive(Debug)]
pub(crate) struct Core<O> {
    pub(crate) rules: Rules,
    pub(crate) arrange: Arrange,
    pub(crate) budget: Duration,
    pub(crate) patience: Duration,
    pub(crate) lookup_timeout: Duration,
    pub(crate) resolution_delay: Duration,
    pub(crate) search: bool,
    pub(crate) observer: O,
    pub(crate) guard: Option<Guard>,
    pub(crate) overrides: HashMap<Arc<str>, Arc<[SocketAddr]>>,
    pub(crate) resolver: Resolver,
    /// Longest suffix first.
    pub(crate) routes: Vec<(Name, Resolver)>,
    pub(crate) table: Table,
    pub(crate) files: Files,
    pub(crate) flights: Arc<Semaphore>,
    /// How many refreshes may wait for their time.
    pub(crate) armed: Arc<Semaphore>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) memory: Memory,
    pub(crate) clock: Clock,
    pub(crate) watching: AtomicBool,
}

type Known = (Arc<[SocketAddr]>, Source);

/// Where a name leads.
pub(crate) enum Found {
    /// To the cache.
    Entry(Arc<Entry>),
    /// To addresses that need no cache.
    Known(Arc<[SocketAddr]>, Source),
}

impl<O: Observer> Core<O> {
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.tasks.next_id()
    }

    /// The age at which a flight must have ended: it is on a runtime that nobody drives any more.
    pub(crate) fn lost(&self) -> Duration {
        self.lookup_timeout.saturating_add(Duration::from_secs(1))
    }

    /// Finds a host in the cache or makes room for it there.
    pub(crate) fn find(&self, host: &str) -> Result<Found, DnsError> {
        // The keys of the table are names in their one spelling, so another one only misses.
        if let Some(entry) = self.table.find(host) {
            return Ok(Found::Entry(entry));
        }
        let name = Name::new(host)?;
        if let Some((addresses, source)) = self.known(&name)? {
            return Ok(Found::Known(addresses, source));
        }
        let key = self.key(&name);
        Ok(Found::Entry(self.table.find_or_insert(&key, &name)))
    }

    /// What needs no resolver: addresses, names set by hand, the hosts file, and the names that are
    /// nobody's business (RFC 6761, RFC 7686).
    fn known(&self, name: &Name) -> Result<Option<Known>, DnsError> {
        let (addresses, source) = if let Some(address) = name.address() {
            ([address].into(), Source::Literal)
        } else if let Some(addresses) = self.overrides.get(name.as_str()) {
            (Arc::clone(addresses), Source::Override)
        } else if let Some(addresses) = self.files.now().hosts.addresses(name.as_str()) {
            (Arc::clone(addresses), Source::Hosts)
        } else {
            match name.as_str().rsplit('.').next() {
                Some("localhost") => (localhost(), Source::Literal),
                Some("invalid" | "onion") => {
                    return Err(DnsError::new(DnsErrorKind::NxDomain).of_name(name.as_str()));
                }
                _ => return Ok(None),
            }
        };
        let records = self.allowed(name, Records::new(addresses, None))?;
        Ok(Some((Arc::clone(records.addresses()), source)))
    }

    /// Takes out what the guard denies.
    pub(crate) fn allowed(&self, name: &Name, records: Records) -> Result<Records, DnsError> {
        let Some(guard) = &self.guard else { return Ok(records) };
        let allows = |address: &&SocketAddr| guard.allows(address.ip());
        let kept: Vec<SocketAddr> = records.addresses().iter().filter(allows).copied().collect();
        if kept.len() == records.addresses().len() {
            return Ok(records);
        }
        if kept.is_empty() {
            let denied = DnsError::new(DnsErrorKind::Denied).of_name(name.as_str());
            return Err(records.ttl().map_or(denied.clone(), |ttl| denied.valid_for(ttl)));
        }
        Ok(Records::new(kept, records.ttl()))
    }

    /// The spelling under which a name is kept. With a search list, the dot at the end tells two
    /// names apart.
    fn key(&self, name: &Name) -> String {
        if name.is_absolute() && self.files.now().resolv_conf.search().is_empty() {
            return name.as_str().to_owned();
        }
        name.to_question()
    }

    /// Asks the resolver for a name, and for the names it may stand for.
    pub(crate) async fn ask(self: &Arc<Self>, name: &Name) -> Result<Answer, DnsError> {
        if self.search {
            let names = search::candidates(name, &self.files.now().resolv_conf);
            if names.len() > 1 {
                return Ok(search::answer(self, names));
            }
        }
        self.resolver(name).ask(name).await
    }

    /// The resolver for a name, by the longest suffix that is routed.
    pub(crate) fn resolver(&self, name: &Name) -> &Resolver {
        let route = self.routes.iter().find(|(suffix, _)| name.is_within(suffix));
        route.map_or(&self.resolver, |(_, resolver)| resolver)
    }

    /// Does what a look at an entry found to be due; whether all places for flights are taken.
    pub(crate) fn run(self: &Arc<Self>, entry: &Arc<Entry>, errand: Errand) -> bool {
        if let Some(after) = errand.arm {
            self.arm(Arc::clone(entry), after);
        }
        !errand.fetch.is_nothing() && !self.fly(entry, errand.fetch, errand.ahead)
    }

    /// Begins a flight if there is a place; whether there was.
    fn fly(self: &Arc<Self>, entry: &Arc<Entry>, want: Want, ahead: bool) -> bool {
        let Ok(place) = Arc::clone(&self.flights).try_acquire_owned() else { return false };
        // Outside of a runtime the flight is dropped, and nothing is under way.
        let flight = Flight::begin(self, entry, want, ahead, place);
        match (flight, Handle::try_current()) {
            (Some(flight), Ok(runtime)) if ahead => {
                self.tasks.spawn(&runtime, hint::ahead(flight.run()));
            }
            (Some(flight), Ok(runtime)) => self.tasks.spawn(&runtime, flight.run()),
            _ => {}
        }
        true
    }

    /// Refreshes the entry when its time has come.
    fn arm(self: &Arc<Self>, entry: Arc<Entry>, after: Duration) {
        let armed = Armed(entry);
        let place = Arc::clone(&self.armed).try_acquire_owned();
        let (Ok(place), Ok(runtime)) = (place, Handle::try_current()) else { return };
        let core = Arc::clone(self);
        self.tasks.spawn(&runtime, async move {
            // Never before its time: timers count in whole milliseconds.
            sleep(after + Duration::from_millis(1)).await;
            let entry = Arc::clone(&armed.0);
            drop((armed, place));
            core.fly(&entry, Want::BOTH, true);
        });
    }

    /// Sees to it that the files are watched. Costs one load once they are.
    pub(crate) fn watch_files(self: &Arc<Self>) {
        if !self.files.is_watched() || self.watching.load(Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if self.watching.swap(true, Ordering::Relaxed) {
            return;
        }
        let watch = Watch(Arc::clone(self));
        self.tasks.spawn(&runtime, async move {
            loop {
                sleep(INTERVAL).await;
                if let Some(before) = watch.0.files.refresh().await {
                    watch.0.adopt(&before);
                }
            }
        });
    }

    /// The files say something else now.
    fn adopt(&self, before: &Snapshot) {
        let files = self.files.now();
        tracing::info!("the files that name hosts and name servers have changed");
        let now = self.now();
        if files.resolv_conf != before.resolv_conf {
            self.table.each(|entry| entry.age(now));
        }
        for name in files.hosts.names() {
            self.table.remove(name, now);
            self.table.remove(&format!("{name}."), now);
        }
    }
}

fn localhost() -> Arc<[SocketAddr]> {
    [(Ipv6Addr::LOCALHOST, 0).into(), (Ipv4Addr::LOCALHOST, 0).into()].into()
}

/// A refresh that waits for its time, however that wait ends.
struct Armed(Arc<Entry>);

impl Drop for Armed {
    fn drop(&mut self) {
        self.0.disarm();
    }
}

/// The watch over the files. If its runtime goes down, the next lookup begins another one.
struct Watch<O: Observer>(Arc<Core<O>>);

impl<O: Observer> Drop for Watch<O> {
    fn drop(&mut self) {
        self.0.watching.store(false, Ordering::Relaxed);
    }
}
