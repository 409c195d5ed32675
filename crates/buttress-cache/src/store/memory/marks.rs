//! Who was purged when, in a bounded room.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::hash::KeyHash;
use crate::{Entry, Key, Removal, Tag};

/// How many keys, and how many tags, are told apart. Those that share a mark are purged together as
/// far as fills under way are concerned, which costs a fill and nothing else.
const MARKS: usize = 16 * 1024;

/// How many keys can be written at the same time.
const LOCKS: usize = 64;

/// Remembers which generation last purged a key or a tag.
///
/// A fill that began before a purge must not be stored after it. Its lookup took the number of the
/// generation, and a purge leaves a higher one at the marks of what it purges. A write compares the
/// two and takes effect under the lock of its key, which a purge takes as well after it has left its
/// mark: either the write sees the mark, or the purge sees what was written.
#[derive(Debug)]
pub(super) struct Marks {
    generation: AtomicU64,
    /// The last that purged everything for good.
    all: AtomicU64,
    /// The last that purged everything in either way.
    any: AtomicU64,
    keys: Box<[AtomicU64]>,
    tags: Box<[AtomicU64]>,
    locks: Box<[Mutex<()>]>,
    hash: KeyHash,
    /// For names, which unlike keys may have much in common, above all how they begin.
    names: RandomState,
}

impl Marks {
    pub(super) fn new(hash: KeyHash) -> Self {
        let marks = || (0..MARKS).map(|_| AtomicU64::new(0)).collect();
        Self {
            generation: AtomicU64::new(0),
            all: AtomicU64::new(0),
            any: AtomicU64::new(0),
            keys: marks(),
            tags: marks(),
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            hash,
            names: RandomState::new(),
        }
    }

    /// Read before what it says is relied on.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// What follows from a lookup in an earlier generation is gone.
    pub(super) fn all(&self) -> u64 {
        self.all.load(Ordering::Acquire)
    }

    pub(super) fn purge_key(&self, key: &Key) {
        self.keys[self.key(key)].store(self.next(), Ordering::SeqCst);
    }

    pub(super) fn purge_tag(&self, tag: &Tag) {
        self.tags[self.tag(tag)].store(self.next(), Ordering::SeqCst);
    }

    pub(super) fn purge_all(&self, removal: Removal) {
        let generation = self.next();
        self.any.store(generation, Ordering::SeqCst);
        if removal == Removal::Hard {
            self.all.store(generation, Ordering::SeqCst);
        }
    }

    fn next(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Whether what was looked up in the generation `seen` may be written under `key`; asked under
    /// the lock of that key.
    pub(super) fn allow(&self, key: &Key, entry: Option<&Entry>, seen: u64) -> bool {
        let mark = |mark: &AtomicU64| mark.load(Ordering::SeqCst) <= seen;
        let tags = entry.map_or(&[][..], |entry| &entry.tags);
        mark(&self.any)
            && mark(&self.keys[self.key(key)])
            && tags.iter().all(|tag| mark(&self.tags[self.tag(tag)]))
    }

    pub(super) fn lock(&self, key: &Key) -> MutexGuard<'_, ()> {
        lock(&self.locks[self.lock_of(key)])
    }

    /// Locks two keys, always in the same order, and once if they share a lock.
    pub(super) fn lock_both(
        &self,
        one: &Key,
        other: &Key,
    ) -> (MutexGuard<'_, ()>, Option<MutexGuard<'_, ()>>) {
        let (one, other) = (self.lock_of(one), self.lock_of(other));
        let (first, second) = (one.min(other), one.max(other));
        (lock(&self.locks[first]), (first != second).then(|| lock(&self.locks[second])))
    }

    /// Waits for the writes that are under way; they may have looked before a mark was left.
    pub(super) fn settle(&self) {
        for own in &self.locks {
            drop(lock(own));
        }
    }

    fn key(&self, key: &Key) -> usize {
        number(self.hash.hash_one(key), MARKS)
    }

    fn tag(&self, tag: &Tag) -> usize {
        number(self.names.hash_one(tag), MARKS)
    }

    fn lock_of(&self, key: &Key) -> usize {
        number(self.hash.hash_one(key), LOCKS)
    }
}

/// The upper half: moka takes its buckets from the whole.
fn number(hash: u64, of: usize) -> usize {
    usize::try_from(hash >> 32).unwrap_or_default() % of
}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    // There is nothing behind the lock that a panic could have left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
