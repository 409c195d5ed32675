//! The names that are known, bounded.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::Entry;
use crate::{DnsError, Name, clock::Moment};

/// So many names and no more. Names that are looked up again outlive those that are asked for once,
/// however many of these there are.
#[derive(Debug)]
pub(crate) struct Table(Cache<String, Arc<Entry>>);

impl Table {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    pub(crate) fn find(&self, key: &str) -> Option<Arc<Entry>> {
        self.0.get(key)
    }

    pub(crate) fn find_or_insert(&self, key: &str, name: &Name) -> Arc<Entry> {
        let made = self
            .0
            .get_or_insert_with(key, || Ok::<_, DnsError>(Arc::new(Entry::new(name.clone()))));
        // Making an entry does not fail.
        made.unwrap_or_else(|_| Arc::new(Entry::new(name.clone())))
    }

    /// Forgets a name. Whoever watches it finds out that it is elsewhere now.
    pub(crate) fn remove(&self, key: &str, now: Moment) {
        if let Some((_, entry)) = self.0.remove(key) {
            entry.age(now);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn each(&self, mut visit: impl FnMut(&Entry)) {
        for (_, entry) in self.0.iter() {
            visit(&entry);
        }
    }
}
