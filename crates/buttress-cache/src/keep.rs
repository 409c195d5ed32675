//! Writing to the store.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak, atomic::Ordering},
    task::{Context, Waker},
};

use http::{HeaderMap, HeaderName};

use crate::{
    Entry, EntryId, Generation, Key, Observer, Purge, Removal, Slot, Store, StoreError, Tag,
    Variant, clock, core::Core, core::Found, tasks::Tasks,
};

impl<O: Observer> Core<O> {
    /// Stores a response under the key of its URI, or of its variant.
    pub(crate) async fn keep(&self, primary: &Key, entry: Arc<Entry>, seen: Generation) {
        let bytes = entry.body.length();
        match self.try_keep(primary, entry, seen).await {
            Ok(true) => {
                self.state.counters.stored.fetch_add(1, Ordering::Relaxed);
                self.observer.stored(bytes);
            }
            Ok(false) => {}
            Err(error) => self.store_failed(&error),
        }
    }

    async fn try_keep(
        &self,
        primary: &Key,
        entry: Arc<Entry>,
        seen: Generation,
    ) -> Result<bool, StoreError> {
        let keep_for = entry.policy.keep_for(clock::now(), self.settings.revalidation);
        let store = &self.state.store;
        if entry.vary.is_empty() {
            return store.put(primary, Slot::Entry(entry), keep_for, seen).await;
        }
        let variant = Variant::of(primary, &entry);
        let most = self.settings.max_variants;
        store.link(primary, variant, entry, most, keep_for, seen).await
    }

    /// Puts a new version in the place of the old, if that is still there.
    pub(crate) async fn touch(&self, key: &Key, of: EntryId, entry: Arc<Entry>, seen: Generation) {
        let keep_for = entry.policy.keep_for(clock::now(), self.settings.revalidation);
        if let Err(error) = self.state.store.touch(key, of, entry, keep_for, seen).await {
            self.store_failed(&error);
        }
    }

    /// Removes what is no longer what the origin has.
    pub(crate) async fn forget(&self, key: &Key) {
        if let Err(error) = self.state.store.remove(&Purge::Key(*key), Removal::Hard).await {
            self.store_failed(&error);
        }
    }

    /// Removes a stored response, if there is one.
    pub(crate) async fn forget_found(&self, found: Option<&Found>) {
        if let Some(found) = found {
            self.forget(&found.key).await;
        }
    }

    /// The tags that a response names.
    pub(crate) fn tags(&self, headers: &HeaderMap) -> Vec<Tag> {
        self.settings.tags.as_ref().map_or_else(Vec::new, |name| tags_in(headers, name))
    }
}

/// Tags are separated by white space or commas.
fn tags_in(headers: &HeaderMap, name: &HeaderName) -> Vec<Tag> {
    /// More than this are not needed, and take room.
    const MOST: usize = 128;
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    let tags = lines.flat_map(|line| line.split([',', ' ', '\t']));
    tags.filter(|tag| !tag.is_empty()).take(MOST).map(Tag::from).collect()
}

/// Runs a write to the store at once as far as it goes without waiting, and the rest in a task. What
/// is left where there is no runtime is dropped.
pub(crate) fn write(tasks: &Weak<Tasks>, write: impl Future<Output = ()> + Send + 'static) {
    let mut write: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(write);
    let pending = write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
    if let Some(tasks) = tasks.upgrade().filter(|_| pending) {
        tasks.spawn(write);
    }
}
