//! One value for each key, and no more keys than were allowed.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Arc, Mutex, PoisonError},
};

/// Says whether a value can be forgotten without anyone noticing.
pub(crate) trait Resting {
    fn rests(&self) -> bool;
}

/// A map in shards. When a shard is full, a key that rests makes room for a new one; where none of
/// the few that are looked at does, the new key is refused.
pub(crate) struct Keyed<K, V> {
    hasher: RandomState,
    shards: Box<[Mutex<Shard<K, V>>]>,
    most_in_shard: usize,
}

struct Shard<K, V> {
    entries: HashMap<K, Arc<V>>,
    /// The keys in the order in which they were last looked at for eviction.
    round: VecDeque<K>,
}

/// How many keys are looked at for one that rests; a bound on what a new key can cost.
const LOOKED_AT: usize = 8;
const SHARDS: usize = 16;

impl<K: Hash + Eq + Clone, V: Resting> Keyed<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        // With few keys an uneven spread would refuse some of them.
        let shards = if most < SHARDS * 64 { 1 } else { SHARDS };
        let shard = || Shard { entries: HashMap::new(), round: VecDeque::new() };
        Self {
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::new(shard())).collect(),
            most_in_shard: most.div_ceil(shards),
        }
    }

    /// Runs `run` on the value of `key`, which `make` makes if there is none; `None` if there is no
    /// room for it. Nothing is evicted between the look-up and the end of `run`.
    pub(crate) fn with<R>(
        &self,
        key: &K,
        make: impl FnOnce() -> V,
        run: impl FnOnce(&Arc<V>) -> R,
    ) -> Option<R> {
        let index = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or(0);
        let shard = &self.shards[index % self.shards.len()];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = shard.entries.get(key) {
            return Some(run(value));
        }
        if shard.entries.len() >= self.most_in_shard && !shard.evict() {
            return None;
        }
        shard.round.push_back(key.clone());
        let value = shard.entries.entry(key.clone()).or_insert_with(|| Arc::new(make()));
        Some(run(value))
    }

    /// Runs `run` on the value of `key`, if there is one.
    pub(crate) fn peek<R>(&self, key: &K, run: impl FnOnce(&V) -> R) -> Option<R> {
        let index = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or(0);
        let shard = &self.shards[index % self.shards.len()];
        let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.entries.get(key).map(|value| run(value))
    }

    /// Runs `run` on every value, shard by shard.
    pub(crate) fn each(&self, mut run: impl FnMut(&V)) {
        for shard in &self.shards {
            // Not under the lock: `run` may wake callers.
            let values: Vec<_> = {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.entries.values().cloned().collect()
            };
            values.iter().for_each(|value| run(value));
        }
    }

    pub(crate) fn len(&self) -> usize {
        let len = |shard: &Mutex<Shard<K, V>>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).entries.len()
        };
        self.shards.iter().map(len).sum()
    }
}

impl<K: Hash + Eq, V: Resting> Shard<K, V> {
    fn evict(&mut self) -> bool {
        for _ in 0..LOOKED_AT.min(self.round.len()) {
            let Some(key) = self.round.pop_front() else { return false };
            if self.entries.get(&key).is_none_or(|value| value.rests()) {
                self.entries.remove(&key);
                return true;
            }
            self.round.push_back(key);
        }
        false
    }
}

impl<K, V> fmt::Debug for Keyed<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("most_in_shard", &self.most_in_shard).finish_non_exhaustive()
    }
}
