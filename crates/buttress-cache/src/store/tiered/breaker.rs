//! When to stop asking a store that does not answer.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Opens after some failures in a row. Who opened it sees to it that it is closed again.
#[derive(Debug)]
pub(super) struct Breaker {
    failures: AtomicU32,
    open: AtomicBool,
    limit: u32,
}

impl Breaker {
    pub(super) const fn new(limit: u32) -> Self {
        Self { failures: AtomicU32::new(0), open: AtomicBool::new(false), limit }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(super) fn succeeded(&self) {
        // Most of the time there is nothing to write.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Says whether this failure opened it.
    pub(super) fn failed(&self) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        failures >= self.limit && self.trip()
    }

    /// Opens it, and says whether it was closed.
    pub(super) fn trip(&self) -> bool {
        !self.open.swap(true, Ordering::AcqRel)
    }

    pub(super) fn close(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.open.store(false, Ordering::Release);
    }
}
