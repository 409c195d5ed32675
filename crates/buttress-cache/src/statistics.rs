//! Counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{CacheResult, Usage};

#[derive(Debug, Default)]
pub(crate) struct Counters {
    results: [AtomicU64; CacheResult::ALL.len()],
    pub(crate) stored: AtomicU64,
    pub(crate) store_errors: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, result: CacheResult) {
        // The order of the variants is that of `ALL`.
        if let Some(counter) = self.results.get(result as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self, usage: Usage, in_flight: usize) -> Statistics {
        let mut results = [0; CacheResult::ALL.len()];
        for (count, counter) in results.iter_mut().zip(&self.results) {
            *count = counter.load(Ordering::Relaxed);
        }
        Statistics {
            results,
            stored: self.stored.load(Ordering::Relaxed),
            store_errors: self.store_errors.load(Ordering::Relaxed),
            usage,
            in_flight_bytes: in_flight as u64,
        }
    }
}

/// What a layer and its clones did so far, and what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    results: [u64; CacheResult::ALL.len()],
    /// How many responses were stored.
    pub stored: u64,
    /// How often the store failed.
    pub store_errors: u64,
    /// What is in the store.
    pub usage: Usage,
    /// How many bytes of bodies are under way to it.
    pub in_flight_bytes: u64,
}

impl Statistics {
    /// How many requests were answered in this way.
    #[must_use]
    pub fn count(&self, result: CacheResult) -> u64 {
        self.results.get(result as usize).copied().unwrap_or_default()
    }

    /// How many requests were answered.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.results.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_has_a_count_of_its_own() {
        let counters = Counters::default();
        for (times, result) in CacheResult::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| counters.count(result));
        }
        let read = counters.read(Usage::default(), 0);
        for (times, result) in CacheResult::ALL.into_iter().enumerate() {
            assert_eq!(read.count(result), times as u64, "{result}");
        }
        assert_eq!(read.requests(), 21);
    }
}
