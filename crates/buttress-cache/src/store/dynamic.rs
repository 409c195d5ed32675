//! Any store behind one pointer.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use super::{Generation, Lease, Lookup, Purge, Removal, Store, StoreError, Usage};
use crate::{Entry, EntryId, Key, Slot, Variant};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A handle on any [`Store`]; clones share it. What never waits is not boxed.
#[derive(Clone)]
pub struct SharedStore(Arc<dyn Object>);

impl SharedStore {
    /// Shares a store.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self(Arc::new(store))
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedStore").field(&self.0.usage()).finish()
    }
}

/// [`Store`] with its futures boxed.
trait Object: Send + Sync + 'static {
    fn peek(&self, key: &Key) -> Option<Lookup>;
    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Lookup>;
    fn put<'a>(
        &'a self,
        key: &'a Key,
        slot: Slot,
        keep_for: Duration,
        seen: Generation,
    ) -> Answer<'a, bool>;
    fn link<'a>(
        &'a self,
        key: &'a Key,
        variant: Variant,
        entry: Arc<Entry>,
        most: usize,
        keep_for: Duration,
        seen: Generation,
    ) -> Answer<'a, bool>;
    fn touch<'a>(
        &'a self,
        key: &'a Key,
        of: EntryId,
        entry: Arc<Entry>,
        keep_for: Duration,
        seen: Generation,
    ) -> Answer<'a, bool>;
    fn remove<'a>(&'a self, what: &'a Purge, removal: Removal) -> Answer<'a, u64>;
    fn lease<'a>(&'a self, key: &'a Key, ttl: Duration) -> Answer<'a, Lease>;
    fn release<'a>(&'a self, key: &'a Key, lease: u64) -> Answer<'a, ()>;
    fn usage(&self) -> Usage;
}

impl<S: Store> Object for S {
    fn peek(&self, key: &Key) -> Option<Lookup> {
        Store::peek(self, key)
    }

    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Lookup> {
        Box::pin(Store::get(self, key))
    }

    fn put<'a>(
        &'a self,
        key: &'a Key,
        slot: Slot,
        keep_for: Duration,
        seen: Generation,
    ) -> Answer<'a, bool> {
        Box::pin(Store::put(self, key, slot, keep_for, seen))
    }

    fn link<'a>(
        &'a self,
        key: &'a Key,
        variant: Variant,
        entry: Arc<Entry>,
        most: usize,
        keep_for: Duration,
        seen: Generation,
    ) -> Answer<'a, bool> {
        Box::pin(Store::link(self, key, variant, entry, most, keep_for, seen))
    }

    fn touch<'a>(
        &'a self,
        key: &'a Key,
        of: EntryId,
        entry: Arc<Entry>,
        keep_for: Duration,
        seen: Generation,
    ) -> Answer<'a, bool> {
        Box::pin(Store::touch(self, key, of, entry, keep_for, seen))
    }

    fn remove<'a>(&'a self, what: &'a Purge, removal: Removal) -> Answer<'a, u64> {
        Box::pin(Store::remove(self, what, removal))
    }

    fn lease<'a>(&'a self, key: &'a Key, ttl: Duration) -> Answer<'a, Lease> {
        Box::pin(Store::lease(self, key, ttl))
    }

    fn release<'a>(&'a self, key: &'a Key, lease: u64) -> Answer<'a, ()> {
        Box::pin(Store::release(self, key, lease))
    }

    fn usage(&self) -> Usage {
        Store::usage(self)
    }
}

impl Store for SharedStore {
    fn peek(&self, key: &Key) -> Option<Lookup> {
        self.0.peek(key)
    }

    async fn get(&self, key: &Key) -> Result<Lookup, StoreError> {
        self.0.get(key).await
    }

    async fn put(
        &self,
        key: &Key,
        slot: Slot,
        keep_for: Duration,
        seen: Generation,
    ) -> Result<bool, StoreError> {
        self.0.put(key, slot, keep_for, seen).await
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
        self.0.link(key, variant, entry, most, keep_for, seen).await
    }

    async fn touch(
        &self,
        key: &Key,
        of: EntryId,
        entry: Arc<Entry>,
        keep_for: Duration,
        seen: Generation,
    ) -> Result<bool, StoreError> {
        self.0.touch(key, of, entry, keep_for, seen).await
    }

    async fn remove(&self, what: &Purge, removal: Removal) -> Result<u64, StoreError> {
        self.0.remove(what, removal).await
    }

    async fn lease(&self, key: &Key, ttl: Duration) -> Result<Lease, StoreError> {
        self.0.lease(key, ttl).await
    }

    async fn release(&self, key: &Key, lease: u64) -> Result<(), StoreError> {
        self.0.release(key, lease).await
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }
}
