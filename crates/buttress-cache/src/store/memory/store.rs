//! [`Store`] as memory keeps it: nothing waits, nothing fails.

use std::{sync::Arc, time::Duration};

use super::MemoryStore;
use crate::{
    Entry, EntryId, Generation, Key, Lookup, Purge, Removal, Slot, Store, StoreError, Usage,
    Variant,
};

impl Store for MemoryStore {
    fn peek(&self, key: &Key) -> Option<Lookup> {
        Some(self.shared.look_up(key))
    }

    async fn get(&self, key: &Key) -> Result<Lookup, StoreError> {
        Ok(self.shared.look_up(key))
    }

    async fn put(
        &self,
        key: &Key,
        slot: Slot,
        keep_for: Duration,
        seen: Generation,
    ) -> Result<bool, StoreError> {
        Ok(self.shared.put(key, slot, keep_for, seen.number()).is_kept())
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
        Ok(self.shared.link(key, variant, entry, most, keep_for, seen.number()).is_kept())
    }

    async fn touch(
        &self,
        key: &Key,
        of: EntryId,
        entry: Arc<Entry>,
        keep_for: Duration,
        seen: Generation,
    ) -> Result<bool, StoreError> {
        Ok(self.shared.touch(key, of, entry, keep_for, seen.number()).is_kept())
    }

    async fn remove(&self, what: &Purge, removal: Removal) -> Result<u64, StoreError> {
        Ok(self.shared.remove(what, removal))
    }

    fn usage(&self) -> Usage {
        Usage::new(self.shared.slots.entry_count(), self.shared.slots.weighted_size())
    }
}
