//! Memory that stays within its bounds, counted byte by byte.
//!
//! A program of its own, whose tests take turns: the map of a store frees what it drops only when no
//! other thread of the process looks at any map.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../stores/support.rs"]
mod support;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use buttress_cache::MemoryStore;
use bytes::Bytes;

use crate::support::{AtOnce, entry, key};

/// Lets one test run at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A body that says when its memory is given back.
struct Counted {
    bytes: Vec<u8>,
    alive: Arc<Alive>,
}

#[derive(Debug, Default)]
struct Alive {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Counted {
    fn body(size: usize, alive: &Arc<Alive>) -> Bytes {
        let now = alive.now.fetch_add(size, Ordering::SeqCst) + size;
        alive.most.fetch_max(now, Ordering::SeqCst);
        Bytes::from_owner(Self { bytes: vec![1; size], alive: Arc::clone(alive) })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.now.fetch_sub(self.bytes.len(), Ordering::SeqCst);
    }
}

/// Stores many large responses and returns how many bytes of them were ever alive at once.
fn fill(store: &MemoryStore, entries: u32, size: usize) -> usize {
    let alive = Arc::new(Alive::default());
    for number in 0..entries {
        store.keep(&key(number.to_le_bytes()), entry(Counted::body(size, &alive)));
    }
    let statistics = store.statistics();
    assert!(statistics.bytes <= statistics.capacity, "{statistics:?}");
    alive.most.load(Ordering::SeqCst)
}

#[test]
fn ten_thousand_large_responses_pass_through_a_store_that_holds_a_few() {
    let _turn = turn();
    for store in [MemoryStore::new(32 << 20), MemoryStore::with_lru(32 << 20)] {
        let most = fill(&store.unwrap(), 10_000, 1 << 20);
        assert!(most * 10 <= (32 << 20) * 13, "{most} bytes were alive");
    }
}

#[test]
fn versions_of_one_response_do_not_pile_up() {
    let _turn = turn();
    let store = MemoryStore::new(32 << 20).unwrap();
    let alive = Arc::new(Alive::default());
    for _ in 0..5_000 {
        store.keep(&key("a"), entry(Counted::body(1 << 20, &alive)));
    }
    let most = alive.most.load(Ordering::SeqCst);
    assert!(most <= 8 << 20, "{most} bytes were alive");
}

#[test]
fn what_is_purged_gives_its_memory_back() {
    let _turn = turn();
    use buttress_cache::{Purge, Removal};
    let store = MemoryStore::new(64 << 20).unwrap();
    let alive = Arc::new(Alive::default());
    for number in 0..40_u32 {
        store.keep(&key(number.to_le_bytes()), entry(Counted::body(1 << 20, &alive)));
    }
    assert!(alive.now.load(Ordering::SeqCst) >= 40 << 20);
    store.purge(Purge::All, Removal::Hard);
    // The map frees what no reader can still see, a little later.
    for _ in 0..1_000 {
        store.found(&key("a"));
        let _settled = store.statistics();
    }
    let left = alive.now.load(Ordering::SeqCst);
    assert!(left <= 4 << 20, "{left} bytes are alive");
}
