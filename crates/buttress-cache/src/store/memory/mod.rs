//! Entries in the memory of this process.

mod count;
mod hash;
mod held;
mod marks;
mod statistics;
mod store;
mod tags;
mod write;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use buttress_core::SettingError;
use moka::{
    notification::RemovalCause,
    policy::EvictionPolicy,
    sync::{Cache, CacheBuilder},
};
use tokio::time::Instant;

pub use self::statistics::MemoryStatistics;
pub(super) use self::write::Written;
use self::{
    hash::KeyHash,
    held::{Held, Lifetime},
    marks::Marks,
    statistics::Counts,
    tags::Tags,
};
use super::Lookup;
use crate::{Generation, Key};

/// Less holds no response worth the name.
const LEAST: u64 = 64 << 10;
/// The share of the store that one slot may take.
const SHARE: u64 = 8;
/// After a part of this size was written, what has become too much is dropped at once. Left to
/// itself, moka does so after some dozens of writes, whatever their size.
const PART: u64 = 32;

/// A store in memory, bounded by bytes. Clones share it.
///
/// It holds responses as they are: a hit clones pointers, and copies no body. What counts is the
/// body, the fields, and what keeping them takes. A response that weighs more than an eighth of the
/// store is not kept, so that no single one empties it.
///
/// When room is short, those go that are asked for least often ([`new`](Self::new), by `TinyLFU`:
/// a response that was never asked for before does not push out one that is asked for all the time)
/// or those whose last use is longest ago ([`with_lru`](Self::with_lru)).
///
/// ```
/// use buttress_cache::MemoryStore;
///
/// # fn main() -> Result<(), buttress_cache::SettingError> {
/// let store = MemoryStore::new(256 << 20)?;
/// assert_eq!(store.statistics().capacity, 256 << 20);
/// # Ok(())
/// # }
/// ```
///
/// # Purging
///
/// A purge holds against responses that are on their way: what was asked for before a purge is not
/// kept after it. Tags are found through an index that holds the tags of what is stored, and nothing
/// else.
#[derive(Clone)]
pub struct MemoryStore {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    slots: Cache<Key, Held, KeyHash>,
    marks: Marks,
    aside: Arc<Aside>,
    /// What one slot may weigh.
    most: u64,
    capacity: u64,
    /// How much was written since what is too much was dropped.
    written: AtomicU64,
    /// Counts the uses of variants.
    uses: AtomicU64,
}

/// What is told when a slot is given up.
#[derive(Debug)]
struct Aside {
    tags: Tags,
    counts: Counts,
}

impl MemoryStore {
    /// A store of so many bytes that keeps what is asked for most.
    ///
    /// # Errors
    ///
    /// Returns an error if it is less than 64 KiB.
    pub fn new(bytes: u64) -> Result<Self, SettingError> {
        Self::with_policy(bytes, EvictionPolicy::tiny_lfu())
    }

    /// A store of so many bytes that keeps what was asked for last.
    ///
    /// # Errors
    ///
    /// Returns an error if it is less than 64 KiB.
    pub fn with_lru(bytes: u64) -> Result<Self, SettingError> {
        Self::with_policy(bytes, EvictionPolicy::lru())
    }

    fn with_policy(bytes: u64, policy: EvictionPolicy) -> Result<Self, SettingError> {
        if bytes < LEAST {
            let reason = format!("{bytes} bytes; at least {LEAST}");
            return Err(SettingError::new("store.bytes", reason));
        }
        let hash = KeyHash::random();
        let aside = Arc::new(Aside { tags: Tags::new(), counts: Counts::default() });
        let told = Arc::clone(&aside);
        let slots = CacheBuilder::new(bytes)
            .eviction_policy(policy)
            .weigher(|_, held: &Held| held.weight)
            .expire_after(Lifetime)
            .eviction_listener(move |key: Arc<Key>, held: Held, cause| {
                told.gone(&key, &held, cause);
            })
            .build_with_hasher(hash.clone());
        let shared = Shared {
            slots,
            marks: Marks::new(hash),
            aside,
            // moka counts weights in 32 bits.
            most: (bytes / SHARE).min(u64::from(u32::MAX) - 1),
            capacity: bytes,
            written: AtomicU64::new(0),
            uses: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What it holds, and how well it has served so far.
    #[must_use]
    pub fn statistics(&self) -> MemoryStatistics {
        self.shared.slots.run_pending_tasks();
        let mut statistics = self.shared.aside.counts.read();
        statistics.slots = self.shared.slots.entry_count();
        statistics.bytes = self.shared.slots.weighted_size();
        statistics.capacity = self.shared.capacity;
        statistics
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("capacity", &self.shared.capacity)
            .field("bytes", &self.shared.slots.weighted_size())
            .field("slots", &self.shared.slots.entry_count())
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn look_up(&self, key: &Key) -> Lookup {
        let lookup = self.find(key);
        let counts = &self.aside.counts;
        if lookup.slot.is_some() { &counts.hits } else { &counts.misses }.add_one();
        lookup
    }

    /// A lookup that the statistics leave out.
    pub(super) fn find(&self, key: &Key) -> Lookup {
        // In this order: a purge that comes between them refuses what follows from this lookup.
        let generation = Generation::new(self.marks.generation());
        let now = Instant::now();
        let Some(held) = self.live(key, now) else {
            return Lookup::new(None, generation);
        };
        held.note_use(&self.uses);
        let remaining = held.remaining(now);
        Lookup::new(Some(held.slot), generation).kept_for(remaining)
    }

    /// What is under a key, unless its time is over or everything was purged since.
    fn live(&self, key: &Key, now: Instant) -> Option<Held> {
        let held = self.slots.get(key)?;
        (!held.is_expired(now) && held.generation >= self.marks.all()).then_some(held)
    }

    /// Puts a slot in its place; under the lock of its key.
    fn insert(&self, key: &Key, held: Held) {
        self.written.fetch_add(u64::from(held.weight), Ordering::Relaxed);
        if let Some(entry) = held.entry() {
            self.aside.tags.insert(key, entry);
        }
        self.slots.insert(*key, held);
    }

    /// Drops what has become too much; under no lock.
    fn maintain(&self) {
        if self.written.load(Ordering::Relaxed) > self.capacity / PART {
            self.written.store(0, Ordering::Relaxed);
            self.slots.run_pending_tasks();
        }
    }
}

impl Aside {
    fn gone(&self, key: &Key, held: &Held, cause: RemovalCause) {
        match cause {
            RemovalCause::Size => self.counts.evictions.add_one(),
            RemovalCause::Expired => self.counts.expirations.add_one(),
            RemovalCause::Explicit | RemovalCause::Replaced => {}
        }
        if let Some(entry) = held.entry() {
            self.tags.remove(key, entry);
        }
    }
}

#[cfg(test)]
mod tests;
