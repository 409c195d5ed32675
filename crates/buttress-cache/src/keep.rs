//! Writing to the store.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak, atomic::Ordering},
    task::{Context, Waker},
};

use http::{HeaderMap, HeaderName};

use crate::{
    Entry, EntryId, Flags, Generation, Identity, Key, KeySpec, Observer, Purge, Removal, Slot,
    Store, StoreError, Tag, Variant, clock,
    core::{Core, State},
    rfc::{Held, combine, fit, gives_way, promote},
    tasks::Tasks,
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
        let entry = promote(&entry).map_or(entry, Arc::new);
        let place = if entry.vary.is_empty() { *primary } else { entry.vary.key(primary) };
        let entry = if entry.policy.flags.has(Flags::PARTIAL) {
            let Some(entry) = self.put_together(&place, entry).await else { return Ok(false) };
            let part = entry.policy.flags.has(Flags::PARTIAL);
            if part && self.is_less(primary, &entry).await {
                return Ok(false);
            }
            entry
        } else {
            entry
        };
        let keep_for = entry.policy.keep_for(clock::now(), self.settings.revalidation);
        let store = &self.state.store;
        if entry.vary.is_empty() {
            return store.put(primary, Slot::Entry(entry), keep_for, seen).await;
        }
        let variant = Variant::of(primary, &entry);
        let most = self.settings.max_variants;
        store.link(primary, variant, entry, most, keep_for, seen).await
    }

    /// A part together with those of the same response that are stored already; `None` if what is
    /// stored is better than it, or it is not what it says.
    async fn put_together(&self, place: &Key, part: Arc<Entry>) -> Option<Arc<Entry>> {
        let head = part.policy.flags.has(Flags::HEAD);
        if !head {
            Held::of(&part)?;
        }
        let stored = match self.get(place).await.slot {
            None => return Some(part),
            Some(Slot::Entry(stored)) => stored,
            // One variant alone is more.
            Some(Slot::Variants(_)) => return None,
        };
        // What is stored for GET is more than a head.
        if head {
            return stored.policy.flags.has(Flags::HEAD).then_some(part);
        }
        if stored.policy.flags.has(Flags::PARTIAL) {
            let settings = &self.settings;
            let all = combine(&settings.profile, &stored, &part, settings.max_body);
            // Of what is too much together the larger is worth more.
            if all.is_none() && stored.body.length() > part.body.length() && fit(&stored, &part) {
                return None;
            }
            return Some(all.map_or(part, Arc::new));
        }
        gives_way(&stored, &part).then_some(part)
    }

    /// Whether a part that varies would push out a whole that does not, and is as good.
    async fn is_less(&self, primary: &Key, part: &Entry) -> bool {
        if part.vary.is_empty() {
            return false;
        }
        let stored = self.get(primary).await.slot;
        let whole = |stored: &Entry| !stored.policy.flags.has(Flags::PARTIAL);
        matches!(stored, Some(Slot::Entry(stored)) if whole(&stored) && !gives_way(&stored, part))
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

    /// Removes what an unsafe request has changed.
    pub(crate) async fn change(&self, what: &Identity) {
        let purged = self.state.purge_resource(&self.settings.keys, what, Removal::Hard);
        if let Err(error) = purged.await {
            self.store_failed(&error);
        }
    }

    /// The tags that a response names.
    pub(crate) fn tags(&self, headers: &HeaderMap) -> Vec<Tag> {
        self.settings.tags.as_ref().map_or_else(Vec::new, |name| tags_in(headers, name))
    }
}

impl<O: Observer> Core<O> {
    /// Gives a version that was brought up to date the tags that its fields name now. Those that a
    /// program gave it stay.
    pub(crate) fn tag_anew(&self, old: &Entry, new: &mut Entry) {
        let Some(name) = &self.settings.tags else { return };
        if old.headers.get_all(name) == new.headers.get_all(name) {
            return;
        }
        let named = tags_in(&old.headers, name);
        let mut tags = tags_in(&new.headers, name);
        tags.extend(old.tags.iter().filter(|tag| !named.contains(tag)).cloned());
        new.tags = tags.into();
    }
}

impl State {
    /// Purges, also what is on its way.
    pub(crate) async fn purge(&self, what: &Purge, removal: Removal) -> Result<u64, StoreError> {
        // After the store has its mark, and even if the caller goes away.
        let _abandon = Abandon { state: self, what };
        self.store.remove(what, removal).await
    }

    /// Purges a resource in all its partitions, also what is on its way.
    pub(crate) async fn purge_resource(
        &self,
        keys: &KeySpec,
        what: &Identity,
        removal: Removal,
    ) -> Result<u64, StoreError> {
        let mut partitions = Ok(0);
        if keys.has_partitions() {
            partitions = self.store.remove(&Purge::Tag(what.partitions()), removal).await;
        }
        let own = self.purge(&Purge::Key(*what.key()), removal).await?;
        Ok(own + partitions?)
    }
}

/// Abandons the fetches that a purge is about when it is dropped.
struct Abandon<'a> {
    state: &'a State,
    what: &'a Purge,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.state.flights.abandon(self.what);
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
