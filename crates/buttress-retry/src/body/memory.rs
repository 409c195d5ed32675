use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What a request may keep of its body: 64 KiB, unless told otherwise.
const PER_REQUEST: usize = 64 * 1024;

/// What all requests that share [`ReplayMemory::global`] may keep together: 64 MiB.
const GLOBAL: usize = 64 * 1024 * 1024;

/// How much of request bodies may be kept for another attempt: for one request and for all together.
///
/// ```
/// use buttress_retry::{ReplayLimits, ReplayMemory};
///
/// let memory = ReplayMemory::new(8 * 1024 * 1024);
/// let limits = ReplayLimits::new().per_request(256 * 1024).memory(memory.clone());
/// assert_eq!(memory.used(), 0);
/// # drop(limits);
/// ```
#[derive(Clone, Debug)]
pub struct ReplayLimits {
    pub(super) per_request: usize,
    pub(super) memory: ReplayMemory,
}

impl ReplayLimits {
    /// 64 KiB for a request, and the memory of the process, [`ReplayMemory::global`].
    #[must_use]
    pub fn new() -> Self {
        Self { per_request: PER_REQUEST, memory: ReplayMemory::global() }
    }

    /// Keeps at most this many bytes of one request body. Default: 64 KiB.
    ///
    /// A body that proves longer is sent all the same, but not a second time. One that says so from
    /// the start is not recorded at all.
    #[must_use]
    pub fn per_request(mut self, bytes: usize) -> Self {
        self.per_request = bytes;
        self
    }

    /// Counts against this memory. Default: [`ReplayMemory::global`].
    #[must_use]
    pub fn memory(mut self, memory: ReplayMemory) -> Self {
        self.memory = memory;
        self
    }
}

impl Default for ReplayLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// A cap on what all recorded request bodies hold together, in bytes; clones share it.
///
/// What is counted is what is held: the blocks that small chunks are copied into count whole. A chunk
/// of 4 KiB and more is kept as it came and counts as long as it is.
#[derive(Clone)]
pub struct ReplayMemory {
    pool: Arc<Pool>,
}

struct Pool {
    limit: usize,
    used: AtomicUsize,
}

impl ReplayMemory {
    /// A cap of its own.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { pool: Arc::new(Pool { limit, used: AtomicUsize::new(0) }) }
    }

    /// The cap that the whole process shares: 64 MiB.
    #[must_use]
    pub fn global() -> Self {
        static SHARED: OnceLock<ReplayMemory> = OnceLock::new();
        SHARED.get_or_init(|| Self::new(GLOBAL)).clone()
    }

    /// Bytes held now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.pool.used.load(Ordering::Relaxed)
    }

    /// Bytes that may be held.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.pool.limit
    }
}

impl fmt::Debug for ReplayMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayMemory")
            .field("used", &self.used())
            .field("limit", &self.limit())
            .finish()
    }
}

/// What one recording holds of the memory; given back when dropped.
#[derive(Debug)]
pub(super) struct Charge {
    memory: ReplayMemory,
    bytes: usize,
}

impl Charge {
    pub(super) fn new(memory: ReplayMemory) -> Self {
        Self { memory, bytes: 0 }
    }

    /// Takes this many more; false, and nothing taken, if they are not to be had.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let Pool { limit, used } = &*self.memory.pool;
        // Never added first and taken back after: others would be refused for bytes nobody holds.
        let taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| sum <= limit)
        });
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }

    pub(super) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.memory.pool.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn clear(&mut self) {
        self.shrink(self.bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_refused_whole_and_returned_when_dropped() {
        let memory = ReplayMemory::new(100);
        let mut first = Charge::new(memory.clone());
        let mut second = Charge::new(memory.clone());
        assert!(first.grow(60));
        assert!(!second.grow(41));
        assert!(!second.grow(usize::MAX));
        assert_eq!(memory.used(), 60);
        assert!(second.grow(40));
        first.shrink(1000);
        assert_eq!(memory.used(), 40);
        drop(second);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn the_global_memory_is_one() {
        assert!(Arc::ptr_eq(&ReplayMemory::global().pool, &ReplayMemory::global().pool));
        assert_eq!(ReplayMemory::global().limit(), 64 << 20);
    }
}
