//! What moka holds: a slot, and for how long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::Expiry;
use tokio::time::Instant;

use crate::{Entry, Flags, Key, Slot, Variant, rfc::gives_way};

/// What moka adds to an entry: its key, its places in two queues and in the map.
const OVERHEAD: u64 = 256;
/// What a tag adds beyond its name, in the entry and in the index.
const TAG: u64 = 160;
/// Longer than any process runs. moka's own arithmetic ends at some centuries.
const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 50);

/// A slot, and for how long. Clones share what is large.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) slot: Slot,
    pub(super) weight: u32,
    /// None is forever.
    keep_until: Option<Instant>,
    keep_for: Duration,
    /// In which generation that was looked up from which it follows.
    pub(super) generation: u64,
    uses: Uses,
}

/// When something was used last. What a variant's entry knows, the list of variants knows as well.
#[derive(Clone, Debug)]
enum Uses {
    Uncounted,
    Entry(LastUse),
    Variants(Arc<[LastUse]>),
}

/// Counts up with each use of any variant.
type LastUse = Arc<AtomicU64>;

impl Held {
    pub(super) fn new(slot: Slot, keep_for: Duration, now: Instant, generation: u64) -> Self {
        let tags = match &slot {
            Slot::Entry(entry) => entry.tags.len() as u64 * TAG,
            Slot::Variants(_) => 0,
        };
        let weight = slot.weight().saturating_add(OVERHEAD + tags);
        let keep_until = if keep_for < FOREVER { now.checked_add(keep_for) } else { None };
        Self {
            slot,
            weight: u32::try_from(weight).unwrap_or(u32::MAX),
            keep_until,
            keep_for,
            generation,
            uses: Uses::Uncounted,
        }
    }

    /// Another entry in the place of this one, kept as long and counted together with it.
    pub(super) fn replaced_by(&self, entry: Arc<Entry>, now: Instant) -> Self {
        self.refreshed_by(entry, self.remaining(now), self.generation, now)
    }

    /// Another entry in the place of this one, counted together with it.
    pub(super) fn refreshed_by(
        &self,
        entry: Arc<Entry>,
        keep_for: Duration,
        generation: u64,
        now: Instant,
    ) -> Self {
        let held = Self::new(Slot::Entry(entry), keep_for, now, generation);
        Self { uses: self.uses.clone(), ..held }
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.keep_until.is_some_and(|until| until <= now)
    }

    pub(super) fn remaining(&self, now: Instant) -> Duration {
        self.keep_until.map_or(Duration::MAX, |until| until.saturating_duration_since(now))
    }

    pub(super) fn entry(&self) -> Option<&Arc<Entry>> {
        match &self.slot {
            Slot::Entry(entry) => Some(entry),
            Slot::Variants(_) => None,
        }
    }

    /// Whether this is more than an entry that is to take its place, which is a part only, and no older.
    pub(super) fn outranks(&self, new: &Self) -> bool {
        let part = |entry: &Entry| entry.policy.flags.has(Flags::PARTIAL);
        let Some(new) = new.entry().filter(|new| part(new)) else { return false };
        match &self.slot {
            Slot::Entry(own) => !part(own) && !gives_way(own, new),
            Slot::Variants(_) => true,
        }
    }

    pub(super) fn variants(&self) -> &[Variant] {
        match &self.slot {
            Slot::Entry(_) => &[],
            Slot::Variants(variants) => variants,
        }
    }

    /// Notes that it was used, if anybody wants to know.
    pub(super) fn note_use(&self, clock: &AtomicU64) {
        if let Uses::Entry(last) = &self.uses {
            last.store(clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// A list of variants under change, each with its last use.
#[derive(Debug)]
pub(super) struct List(Vec<(Variant, LastUse)>);

impl List {
    pub(super) fn of(held: Option<&Held>, clock: &AtomicU64) -> Self {
        let Some(held) = held else {
            return Self(Vec::new());
        };
        let unknown = || Arc::new(AtomicU64::new(clock.load(Ordering::Relaxed)));
        let uses = match &held.uses {
            Uses::Variants(uses) => uses.to_vec(),
            Uses::Uncounted | Uses::Entry(_) => held.variants().iter().map(|_| unknown()).collect(),
        };
        Self(held.variants().iter().cloned().zip(uses).collect())
    }

    /// Puts a variant first, and returns the ones that had to go.
    pub(super) fn push(&mut self, variant: Variant, most: usize, clock: &AtomicU64) -> Vec<Key> {
        self.0.retain(|(other, _)| other.key != variant.key);
        let mut gone = Vec::new();
        while self.0.len() >= most.max(1) {
            // Of those that were used at the same time, the one that was stored first.
            let used = |(_, last): &(Variant, LastUse)| last.load(Ordering::Relaxed);
            let least = self.0.iter().enumerate().rev().min_by_key(|(_, variant)| used(variant));
            let Some((least, _)) = least else {
                break;
            };
            gone.push(self.0.remove(least).0.key);
        }
        let now = AtomicU64::new(clock.fetch_add(1, Ordering::Relaxed));
        self.0.insert(0, (variant, Arc::new(now)));
        gone
    }

    /// The list, and the entry of its first variant. The list has no time of its own: its variants
    /// may be revalidated, which it does not see, and what is not asked for gives way in the end.
    pub(super) fn hold(
        self,
        entry: Arc<Entry>,
        keep_for: Duration,
        now: Instant,
        generation: u64,
    ) -> [Held; 2] {
        let mut entry = Held::new(Slot::Entry(entry), keep_for, now, generation);
        let (variants, uses): (Vec<_>, Vec<_>) = self.0.into_iter().unzip();
        if let Some(first) = uses.first() {
            entry.uses = Uses::Entry(Arc::clone(first));
        }
        let slot = Slot::Variants(variants.into());
        let list = Held::new(slot, Duration::MAX, now, generation);
        [Held { uses: Uses::Variants(uses.into()), ..list }, entry]
    }
}

/// Tells moka for how long; the store looks at its own clock before it returns anything.
#[derive(Debug)]
pub(super) struct Lifetime;

impl Lifetime {
    fn of(held: &Held) -> Option<Duration> {
        held.keep_until.map(|_| held.keep_for)
    }
}

impl Expiry<Key, Held> for Lifetime {
    fn expire_after_create(&self, _: &Key, held: &Held, _: std::time::Instant) -> Option<Duration> {
        Self::of(held)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        held: &Held,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Self::of(held)
    }
}
