//! What a store has seen.

use super::count::Count;

/// What a [`MemoryStore`](super::MemoryStore) holds, and how well it has served so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStatistics {
    /// How many responses and lists of variants it holds.
    pub slots: u64,
    /// What they weigh.
    pub bytes: u64,
    /// What they may weigh.
    pub capacity: u64,
    /// Lookups that found something. A response that is one of several variants takes two.
    pub hits: u64,
    /// Lookups that found nothing.
    pub misses: u64,
    /// What had to go because room was short, or was not let in for that reason.
    pub evictions: u64,
    /// What went because its time was over.
    pub expirations: u64,
    /// What was not kept because it is too large, or was purged while it was on its way.
    pub refusals: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) hits: Count,
    pub(super) misses: Count,
    pub(super) evictions: Count,
    pub(super) expirations: Count,
    pub(super) refusals: Count,
}

impl Counts {
    pub(super) fn read(&self) -> MemoryStatistics {
        MemoryStatistics {
            hits: self.hits.sum(),
            misses: self.misses.sum(),
            evictions: self.evictions.sum(),
            expirations: self.expirations.sum(),
            refusals: self.refusals.sum(),
            ..MemoryStatistics::default()
        }
    }
}
