//! [`Store`] over both tiers. The lower one's failures end here.

use std::{sync::Arc, time::Duration};

use super::{Tiered, job::Job};
use crate::{
    Entry, EntryId, Generation, Key, Lease, Lookup, Purge, Removal, Slot, Store, StoreError, Usage,
    Variant, store::memory::Written,
};

/// For how long memory keeps what the lower store had, if that does not say for how long it does.
const KEEP_UNKNOWN: Duration = Duration::from_secs(60);

impl<L: Store> Tiered<L> {
    fn above(&self, lookup: Lookup, lower: Generation) -> Lookup {
        Lookup { generation: lookup.generation.above(lower), ..lookup }
    }

    /// Writes to the lower store too, unless the write came too late; says whether either has it.
    fn write_through(&self, written: Written, job: impl FnOnce() -> Job) -> bool {
        if written == Written::Overtaken {
            return false;
        }
        self.behind.write(&self.work, job()) || written.is_kept()
    }

    fn recover(&self, key: &Key) {
        if self.work.breaker.is_open() {
            self.behind.recover(&self.work, *key);
        }
    }
}

impl<L: Store> Store for Tiered<L> {
    fn peek(&self, key: &Key) -> Option<Lookup> {
        let lookup = self.memory.shared.look_up(key);
        if lookup.slot.is_none() && !self.work.breaker.is_open() {
            return None;
        }
        self.recover(key);
        Some(self.above(lookup, self.work.known()))
    }

    async fn get(&self, key: &Key) -> Result<Lookup, StoreError> {
        let lookup = self.memory.shared.find(key);
        // Known before the lookup below, which another may overtake.
        let known = self.work.known();
        if lookup.slot.is_some() || self.work.breaker.is_open() {
            self.recover(key);
            return Ok(self.above(lookup, known));
        }
        let Some(below) = self.work.get(key).await else {
            self.recover(key);
            return Ok(self.above(lookup, known));
        };
        if let Some(slot) = &below.slot {
            let keep_for = below.keep_for.unwrap_or(KEEP_UNKNOWN);
            let seen = lookup.generation.number();
            self.memory.shared.adopt(key, slot.clone(), keep_for, seen);
        }
        let generation = lookup.generation.above(below.generation);
        Ok(Lookup { generation, ..below })
    }

    async fn put(
        &self,
        key: &Key,
        slot: Slot,
        keep_for: Duration,
        seen: Generation,
    ) -> Result<bool, StoreError> {
        let written = self.memory.shared.put(key, slot.clone(), keep_for, seen.number());
        let seen = seen.lower();
        Ok(self.write_through(written, || Job::Put { key: *key, slot, keep_for, seen }))
    }

    async fn link(
        &self,
        key: &Key,
        variant: Variant,
        entry: Arc<Entry>,
        most: usize,
        keep_for: Duration,
        seen: Generation,
    ) -> Result<bool, StoreError> {
        let (number, seen) = (seen.number(), seen.lower());
        let (own, same) = (variant.clone(), Arc::clone(&entry));
        let written = self.memory.shared.link(key, own, same, most, keep_for, number);
        let key = *key;
        Ok(self.write_through(written, || Job::Link { key, variant, entry, most, keep_for, seen }))
    }

    async fn touch(
        &self,
        key: &Key,
        of: EntryId,
        entry: Arc<Entry>,
        keep_for: Duration,
        seen: Generation,
    ) -> Result<bool, StoreError> {
        let (number, seen) = (seen.number(), seen.lower());
        let written = self.memory.shared.touch(key, of, Arc::clone(&entry), keep_for, number);
        let key = *key;
        Ok(self.write_through(written, || Job::Touch { key, of, entry, keep_for, seen }))
    }

    async fn remove(&self, what: &Purge, removal: Removal) -> Result<u64, StoreError> {
        let memory = &self.memory.shared;
        let own = memory.remove(what, removal);
        // Until the lower store has done it, a lookup brings up what it still finds there.
        let again = OnDrop(|| {
            memory.remove(what, removal);
        });
        let below = self.work.remove(what, removal).await;
        drop(again);
        self.recover(&match what {
            Purge::Key(key) => *key,
            Purge::Tag(_) | Purge::All => Key::from_bytes([0; 32]),
        });
        Ok(below.unwrap_or_default().max(own))
    }

    async fn lease(&self, key: &Key, ttl: Duration) -> Result<Lease, StoreError> {
        if self.work.breaker.is_open() {
            return Ok(Lease::Granted(0));
        }
        let time = self.work.settings.deadline;
        let lease = self.work.within(time, self.work.lower.lease(key, ttl)).await;
        self.recover(key);
        Ok(lease.unwrap_or(Lease::Granted(0)))
    }

    async fn release(&self, key: &Key, lease: u64) -> Result<(), StoreError> {
        self.behind.write(&self.work, Job::Release { key: *key, lease });
        Ok(())
    }

    fn usage(&self) -> Usage {
        self.memory.usage()
    }
}

/// Does something even if the caller goes away.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
