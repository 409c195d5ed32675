//! Writing and purging, each under the locks of the keys that it changes.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Shared,
    held::{Held, List},
};
use crate::{Entry, EntryId, Key, Purge, Removal, Slot, Tag, Variant};

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Written {
    Kept,
    /// Too large, or for no time at all.
    Refused,
    /// Something newer or better is there, or was purged.
    Overtaken,
    /// The version that was to be replaced is not there, and no other either.
    Absent,
}

impl Written {
    pub(in crate::store) fn is_kept(self) -> bool {
        self == Self::Kept
    }
}

impl Shared {
    pub(in crate::store) fn put(
        &self,
        key: &Key,
        slot: Slot,
        keep_for: Duration,
        seen: u64,
    ) -> Written {
        let Some(held) = self.hold(key, slot, keep_for, seen) else {
            return Written::Refused;
        };
        let replaced = {
            let _lock = self.marks.lock(key);
            let replaced = self.live(key, Instant::now());
            let better = replaced.as_ref().is_some_and(|there| there.outranks(&held));
            if better || !self.allow(key, &held, seen) {
                return Written::Overtaken;
            }
            self.insert(key, held);
            replaced
        };
        // Nothing leads to them any more.
        for variant in replaced.iter().flat_map(Held::variants) {
            self.drop_key(&variant.key);
        }
        self.maintain();
        Written::Kept
    }

    /// Keeps what another store had, unless there is something already: that is younger.
    pub(in crate::store) fn adopt(
        &self,
        key: &Key,
        slot: Slot,
        keep_for: Duration,
        seen: u64,
    ) -> Written {
        let Some(held) = self.hold(key, slot, keep_for, seen) else {
            return Written::Refused;
        };
        {
            let _lock = self.marks.lock(key);
            if self.live(key, Instant::now()).is_some() || !self.allow(key, &held, seen) {
                return Written::Overtaken;
            }
            self.insert(key, held);
        }
        self.maintain();
        Written::Kept
    }

    pub(in crate::store) fn link(
        &self,
        key: &Key,
        variant: Variant,
        entry: Arc<Entry>,
        most: usize,
        keep_for: Duration,
        seen: u64,
    ) -> Written {
        let place = variant.key;
        let Some(held) = self.hold(&place, Slot::Entry(Arc::clone(&entry)), keep_for, seen) else {
            return Written::Refused;
        };
        let now = Instant::now();
        let pushed_out = {
            let _locks = self.marks.lock_both(key, &place);
            let before = self.live(key, now);
            let own = self.live(&place, now);
            let whole = before.as_ref().filter(|before| before.entry().is_some());
            let better = whole.into_iter().chain(&own).any(|there| there.outranks(&held));
            if better || !self.allow(key, &held, seen) {
                return Written::Overtaken;
            }
            let before = before.filter(|before| before.entry().is_none());
            let mut list = List::of(before.as_ref(), &self.uses);
            let pushed_out = list.push(variant, most, &self.uses);
            let [list, held] = list.hold(entry, keep_for, now, seen);
            self.insert(&place, held);
            self.insert(key, list);
            pushed_out
        };
        for gone in &pushed_out {
            self.drop_key(gone);
        }
        self.maintain();
        Written::Kept
    }

    pub(in crate::store) fn touch(
        &self,
        key: &Key,
        of: EntryId,
        entry: Arc<Entry>,
        keep_for: Duration,
        seen: u64,
    ) -> Written {
        let Some(fresh) = self.hold(key, Slot::Entry(Arc::clone(&entry)), keep_for, seen) else {
            return Written::Refused;
        };
        let now = Instant::now();
        {
            let _lock = self.marks.lock(key);
            let Some(current) = self.live(key, now) else {
                return Written::Absent;
            };
            let is_seen = current.entry().is_some_and(|own| own.id == of);
            if !is_seen || !self.allow(key, &fresh, seen) {
                return Written::Overtaken;
            }
            self.insert(key, current.refreshed_by(entry, keep_for, seen, now));
        }
        self.maintain();
        Written::Kept
    }

    pub(in crate::store) fn remove(&self, what: &Purge, removal: Removal) -> u64 {
        match what {
            Purge::Key(key) => self.remove_key(key, removal),
            Purge::Tag(tag) => self.remove_tag(tag, removal),
            Purge::All => self.remove_all(removal),
        }
    }

    fn remove_key(&self, key: &Key, removal: Removal) -> u64 {
        let (held, own) = {
            let _lock = self.marks.lock(key);
            self.marks.purge_key(key);
            let held = self.live(key, Instant::now());
            (held.clone(), held.map_or(0, |held| self.purge_held(key, &held, removal)))
        };
        let variants = held.iter().flat_map(Held::variants);
        own + variants.map(|variant| self.purge_entry(&variant.key, removal, |_| true)).sum::<u64>()
    }

    fn remove_tag(&self, tag: &Tag, removal: Removal) -> u64 {
        self.marks.purge_tag(tag);
        self.marks.settle();
        let keys = self.aside.tags.keys(tag);
        let tagged = |entry: &Entry| entry.tags.contains(tag);
        keys.iter().map(|key| self.purge_entry(key, removal, tagged)).sum()
    }

    fn remove_all(&self, removal: Removal) -> u64 {
        self.marks.purge_all(removal);
        if removal == Removal::Hard {
            self.slots.run_pending_tasks();
            let slots = self.slots.entry_count();
            // They are invalid by their generation already; this gives their memory back.
            self.slots.invalidate_all();
            self.slots.run_pending_tasks();
            return slots;
        }
        self.marks.settle();
        let keys: Vec<_> = self.slots.iter().map(|(key, _)| *key).collect();
        keys.iter().map(|key| self.purge_entry(key, removal, |_| true)).sum()
    }

    /// Purges the entry under a key if there is one and it is meant.
    fn purge_entry(&self, key: &Key, removal: Removal, meant: impl Fn(&Entry) -> bool) -> u64 {
        let _lock = self.marks.lock(key);
        let held = self.live(key, Instant::now());
        let held = held.filter(|held| held.entry().is_some_and(|entry| meant(entry)));
        held.map_or(0, |held| self.purge_held(key, &held, removal))
    }

    /// Under the lock of the key. Says how many entries were purged; a list is none.
    fn purge_held(&self, key: &Key, held: &Held, removal: Removal) -> u64 {
        match (held.entry(), removal) {
            (entry, Removal::Hard) => {
                self.slots.invalidate(key);
                u64::from(entry.is_some())
            }
            (Some(entry), Removal::Soft) if !entry.is_purged() => {
                let purged = Arc::new(entry.purged());
                self.insert(key, held.replaced_by(purged, Instant::now()));
                1
            }
            (_, Removal::Soft) => 0,
        }
    }

    fn drop_key(&self, key: &Key) {
        let _lock = self.marks.lock(key);
        self.slots.invalidate(key);
    }

    /// Makes what moka is to hold, unless it is too large. Then what is there is older than what
    /// came, and goes.
    fn hold(&self, key: &Key, slot: Slot, keep_for: Duration, seen: u64) -> Option<Held> {
        let held = Held::new(slot, keep_for, Instant::now(), seen);
        if u64::from(held.weight) <= self.most && !keep_for.is_zero() {
            return Some(held);
        }
        self.aside.counts.refusals.add_one();
        self.drop_key(key);
        None
    }

    fn allow(&self, key: &Key, held: &Held, seen: u64) -> bool {
        let allowed = self.marks.allow(key, held.entry().map(|entry| &**entry), seen);
        if !allowed {
            self.aside.counts.refusals.add_one();
        }
        allowed
    }
}
