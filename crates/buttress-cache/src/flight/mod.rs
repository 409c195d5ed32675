//! One fetch for all who ask for the same thing at the same time.

mod marks;

use std::{
    collections::HashMap,
    fmt,
    hash::BuildHasherDefault,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Notify;

pub(crate) use self::marks::Marks;
use crate::{Entry, Identity, Key, Purge, body::Fill};

/// How many locks the table is divided over.
const SHARDS: usize = 64;

/// The fetches under way, by key.
#[derive(Debug)]
pub(crate) struct Flights(Box<[Mutex<Shard>]>);

type Shard = HashMap<Key, Arc<Flight>, BuildHasherDefault<KeyHasher>>;

/// A key is a digest, so its first bytes are as good a hash as any.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl std::hash::Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for (at, &byte) in bytes.iter().take(8).enumerate() {
            self.0 ^= u64::from(byte) << (8 * at);
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// One fetch, and who waits for it.
pub(crate) struct Flight {
    /// The key of the resource, by which it is purged, whatever the variant.
    primary: Key,
    /// The same, if that is a partition of a resource.
    resource: Option<Key>,
    landing: Mutex<Option<Landing>>,
    landed: Notify,
}

/// What became of a fetch, for those who wait for it.
#[derive(Clone)]
pub(crate) enum Landing {
    /// The response arrives and is stored meanwhile; this is its head.
    Filling(Arc<Entry>, Weak<Fill>),
    /// The stored response was confirmed.
    Confirmed(Arc<Entry>),
    /// It cannot be shared: everybody on his own, all at once.
    Alone,
    /// It was for who fetched alone, by what that one sent: somebody else should.
    Own,
    /// The origin answered with an error that a stale response may stand in for.
    Error,
    /// The origin could not be reached.
    Disconnected,
    /// Who fetched is gone: somebody else should.
    Again,
}

/// What came of asking for a fetch.
pub(crate) enum Joined {
    /// There was none; it is the asker's to make.
    Lead(Lead),
    /// There is one.
    Follow(Arc<Flight>),
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    /// Joins the fetch of `key`, which is of the resource `of`, or begins one.
    pub(crate) fn join(self: &Arc<Self>, key: &Key, of: &Identity) -> Joined {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.get(key).filter(|flight| flight.is_alive()) {
            return Joined::Follow(Arc::clone(flight));
        }
        let flight = Arc::new(Flight {
            primary: *of.key(),
            resource: of.resource().copied(),
            landing: Mutex::default(),
            landed: Notify::new(),
        });
        shard.insert(*key, Arc::clone(&flight));
        let flights = Arc::clone(self);
        Joined::Lead(Lead { ticket: Some(Ticket { flights, key: *key, flight, removes: true }) })
    }

    /// Begins a fetch unless there is one.
    pub(crate) fn try_lead(self: &Arc<Self>, key: &Key, of: &Identity) -> Option<Lead> {
        match self.join(key, of) {
            Joined::Lead(lead) => Some(lead),
            Joined::Follow(_) => None,
        }
    }

    /// Lets nobody else join what was asked for before a purge: whoever asks after it wants what the
    /// origin has now. Those who wait already asked before it.
    pub(crate) fn abandon(&self, what: &Purge) {
        for shard in &self.0 {
            lock(shard).retain(|_, flight| !flight.is_meant(what));
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let shard = usize::from(key.as_bytes()[31]) % self.0.len();
        lock(&self.0[shard])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flight {
    /// Whether a purge is about what it brings. What has no head yet may have any tag.
    fn is_meant(&self, what: &Purge) -> bool {
        match what {
            Purge::Key(key) => self.primary == *key || self.resource.as_ref() == Some(key),
            Purge::Tag(tag) => match &*self.lock() {
                Some(Landing::Filling(head, _)) => head.tags.contains(tag),
                _ => true,
            },
            Purge::All => true,
        }
    }

    /// Waits for the landing.
    pub(crate) async fn landing(&self) -> Landing {
        loop {
            let landed = self.landed.notified();
            if let Some(landing) = self.get() {
                return landing;
            }
            landed.await;
        }
    }

    fn get(&self) -> Option<Landing> {
        self.lock().clone()
    }

    /// Whether anybody can still come of it: not if all who read along are gone.
    fn is_alive(&self) -> bool {
        match &*self.lock() {
            None => true,
            Some(Landing::Filling(_, fill)) => fill.strong_count() > 0,
            Some(_) => false,
        }
    }

    fn land(&self, landing: Landing) {
        *self.lock() = Some(landing);
        self.landed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Landing>> {
        self.landing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has it makes the fetch. Dropped before it has landed, it lets somebody else.
pub(crate) struct Lead {
    ticket: Option<Ticket>,
}

impl Lead {
    /// Says what became of the fetch, to all who wait, and ends it.
    pub(crate) fn land(mut self, landing: Landing) {
        if let Some(ticket) = self.ticket.take() {
            ticket.flight.land(landing);
        }
    }

    /// Says that the response arrives. Others may join until the ticket is dropped.
    pub(crate) fn fill(mut self, head: Arc<Entry>, fill: &Arc<Fill>) {
        if let Some(ticket) = self.ticket.take() {
            ticket.flight.land(Landing::Filling(head, Arc::downgrade(fill)));
            // The fill has a ticket of its own, which takes it out of the table.
            ticket.leave();
        }
    }

    /// Another hold on the fetch, for the fill.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        let ticket = self.ticket.as_ref()?;
        Some(Ticket {
            flights: Arc::clone(&ticket.flights),
            key: ticket.key,
            flight: Arc::clone(&ticket.flight),
            removes: true,
        })
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.flight.land(Landing::Again);
        }
    }
}

/// Takes a fetch out of the table when it is dropped.
pub(crate) struct Ticket {
    flights: Arc<Flights>,
    key: Key,
    flight: Arc<Flight>,
    removes: bool,
}

impl Ticket {
    /// Leaves the fetch where it is.
    fn leave(mut self) {
        self.removes = false;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.removes {
            return;
        }
        let mut shard = self.flights.shard(&self.key);
        if shard.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            shard.remove(&self.key);
        }
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").field("landed", &self.lock().is_some()).finish_non_exhaustive()
    }
}
