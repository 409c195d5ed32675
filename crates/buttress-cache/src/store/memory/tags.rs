//! Which entries have a tag.

use std::{
    collections::{HashMap, hash_map},
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{Entry, EntryId, Key, Tag};

const SHARDS: usize = 16;

type Keys = HashMap<Key, EntryId>;

/// The keys of the entries that have a tag. What the store gives up is taken out again, so that it
/// grows with the entries alone.
///
/// Its locks are held for a look at a map and never while the store is asked anything.
#[derive(Debug)]
pub(super) struct Tags {
    shards: Box<[Mutex<HashMap<Tag, Keys>>]>,
    hash: RandomState,
}

impl Tags {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hash: RandomState::new() }
    }

    /// Called before the entry is in the store.
    pub(super) fn insert(&self, key: &Key, entry: &Entry) {
        for tag in entry.tags.iter() {
            self.shard(tag).entry(tag.clone()).or_default().insert(*key, entry.id);
        }
    }

    /// Called after the entry is gone, be it because another has taken its place.
    pub(super) fn remove(&self, key: &Key, entry: &Entry) {
        for tag in entry.tags.iter() {
            let mut shard = self.shard(tag);
            let hash_map::Entry::Occupied(mut keys) = shard.entry(tag.clone()) else {
                continue;
            };
            if keys.get().get(key) == Some(&entry.id) {
                keys.get_mut().remove(key);
            }
            if keys.get().is_empty() {
                keys.remove();
            }
        }
    }

    pub(super) fn keys(&self, tag: &Tag) -> Vec<Key> {
        self.shard(tag).get(tag).map(|keys| keys.keys().copied().collect()).unwrap_or_default()
    }

    /// How many tags there are, and how many keys they have together.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        let shards = self.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            (shard.len(), shard.values().map(HashMap::len).sum::<usize>())
        });
        shards.fold((0, 0), |sum, shard| (sum.0 + shard.0, sum.1 + shard.1))
    }

    fn shard(&self, tag: &Tag) -> MutexGuard<'_, HashMap<Tag, Keys>> {
        let hash = self.hash.hash_one(tag);
        let shard = usize::try_from(hash >> 32).unwrap_or_default() % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
