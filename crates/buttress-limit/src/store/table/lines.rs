//! The lines of those few entries that have one.

use std::collections::BTreeMap;

use super::Entry;
use crate::{key::Key, policy::Policy, store::line::Line};

/// Lines, by the keys of their entries: wherever in the table an entry comes to lie, its line stays.
/// The entry itself only says that there is one, so that most take no room for what few have.
#[derive(Debug, Default)]
pub(crate) struct Lines(BTreeMap<Key, Line>);

impl Lines {
    pub(super) const NONE: Self = Self(BTreeMap::new());

    /// The line of an entry.
    #[inline]
    pub(crate) fn of(&self, entry: &Entry) -> Option<&Line> {
        if entry.lined { self.0.get(&entry.key) } else { None }
    }

    pub(crate) fn of_mut(&mut self, entry: &Entry) -> Option<&mut Line> {
        if entry.lined { self.0.get_mut(&entry.key) } else { None }
    }

    /// The line of an entry, which has one from now on if it had none.
    pub(crate) fn make(&mut self, entry: &mut Entry) -> &mut Line {
        entry.lined = true;
        self.0.entry(entry.key).or_default()
    }

    /// The entry has none any more.
    pub(crate) fn end(&mut self, entry: &mut Entry) {
        if entry.lined {
            entry.lined = false;
            self.0.remove(&entry.key);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The policy that holds for an entry while it is lowered.
    #[inline]
    pub(crate) fn lowered(&self, entry: &Entry) -> Option<&Policy> {
        Some(self.of(entry)?.lowered()?.policy())
    }

    /// Works out anew what of this policy holds for an entry.
    pub(crate) fn renew(&mut self, entry: &Entry, base: &Policy, now: u64) {
        let Some(lowered) = self.of_mut(entry).map(Line::lowered_mut) else { return };
        if lowered.as_mut().is_some_and(|lowered| !lowered.renew(base, now)) {
            *lowered = None;
        }
    }
}
