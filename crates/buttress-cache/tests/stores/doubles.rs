//! A store that can be made to hang, to fail, to be slow or to answer with garbage.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_cache::{
    Entry, EntryId, Generation, Key, Lease, Lookup, MemoryStore, Purge, Removal, Slot, Store,
    StoreError, Variant,
};
use tokio::time::sleep;

use crate::support::memory;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    Works,
    Hangs,
    Fails,
    Slow(Duration),
}

/// Clones are one store.
#[derive(Clone, Debug)]
pub(crate) struct Moody {
    pub(crate) inner: MemoryStore,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    calls: Vec<&'static str>,
}

impl Moody {
    pub(crate) fn new() -> Self {
        let state = State { mood: Mood::Works, calls: Vec::new() };
        Self { inner: memory(1 << 20), state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// What was asked since this was asked last.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    async fn asked(&self, call: &'static str) -> Result<(), StoreError> {
        let mood = {
            let mut state = self.state.lock().unwrap();
            state.calls.push(call);
            state.mood
        };
        match mood {
            Mood::Works => Ok(()),
            Mood::Hangs => pending().await,
            Mood::Fails => Err(StoreError::new("garbage")),
            Mood::Slow(time) => {
                sleep(time).await;
                Ok(())
            }
        }
    }
}

impl Store for Moody {
    fn peek(&self, _: &Key) -> Option<Lookup> {
        None
    }

    async fn get(&self, key: &Key) -> Result<Lookup, StoreError> {
        self.asked("get").await?;
        self.inner.get(key).await
    }

    async fn put(
        &self,
        key: &Key,
        slot: Slot,
        keep_for: Duration,
        seen: Generation,
    ) -> Result<bool, StoreError> {
        self.asked("put").await?;
        self.inner.put(key, slot, keep_for, seen).await
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
        self.asked("link").await?;
        self.inner.link(key, variant, entry, most, keep_for, seen).await
    }

    async fn touch(
        &self,
        key: &Key,
        of: EntryId,
        entry: Arc<Entry>,
        keep_for: Duration,
        seen: Generation,
    ) -> Result<bool, StoreError> {
        self.asked("touch").await?;
        self.inner.touch(key, of, entry, keep_for, seen).await
    }

    async fn remove(&self, what: &Purge, removal: Removal) -> Result<u64, StoreError> {
        self.asked("remove").await?;
        self.inner.remove(what, removal).await
    }

    async fn lease(&self, _: &Key, _: Duration) -> Result<Lease, StoreError> {
        self.asked("lease").await?;
        Ok(Lease::Held)
    }

    async fn release(&self, _: &Key, _: u64) -> Result<(), StoreError> {
        self.asked("release").await
    }
}
