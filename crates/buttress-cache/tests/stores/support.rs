//! Entries to store, and short words for what is done with them.

#![allow(dead_code, reason = "no test program uses all of it")]

use std::{sync::Arc, time::Duration};

use buttress_cache::{
    Chunks, Entry, Generation, Key, Lookup, MemoryStore, Policy, Purge, Removal, Slot, Store, Tag,
    Variant, Vary,
};
use buttress_testkit::bench::poll_once;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn key(name: impl AsRef<[u8]>) -> Key {
    Key::from_bytes(*blake3::hash(name.as_ref()).as_bytes())
}

pub(crate) fn entry(body: impl Into<Bytes>) -> Entry {
    let policy = Policy::from_words([3_600_000, 0, 0, 0, u64::MAX, 0]);
    let mut entry = Entry::new("http://a/".into(), StatusCode::OK, HeaderMap::new(), policy);
    entry.body = Chunks::from(body.into());
    entry
}

pub(crate) fn tagged(body: &'static str, tags: &[&str]) -> Entry {
    let mut entry = entry(body);
    entry.tags = tags.iter().map(|tag| Tag::new(*tag)).collect();
    entry
}

/// An entry that answers requests whose `Accept-Language` has this value.
pub(crate) fn variant(
    primary: &Key,
    language: &str,
    body: impl Into<Bytes>,
) -> (Variant, Arc<Entry>) {
    let mut entry = entry(body);
    let name = HeaderName::from_static("accept-language");
    entry.vary = Arc::new(Vary::from_fields([(name, Some(language.as_bytes().into()))]));
    (Variant::of(primary, &entry), Arc::new(entry))
}

pub(crate) fn memory(bytes: u64) -> MemoryStore {
    MemoryStore::new(bytes).unwrap()
}

/// A store that never waits, asked without a runtime.
pub(crate) trait AtOnce: Store {
    fn look(&self, key: &Key) -> Lookup {
        poll_once(self.get(key)).unwrap()
    }

    /// Keeps an entry for an hour, as if it was looked up just now.
    fn keep(&self, key: &Key, entry: Entry) -> bool {
        self.keep_seen(key, entry, HOUR, self.look(key).generation)
    }

    fn keep_seen(&self, key: &Key, entry: Entry, time: Duration, seen: Generation) -> bool {
        poll_once(self.put(key, Slot::Entry(Arc::new(entry)), time, seen)).unwrap()
    }

    fn add(&self, key: &Key, variant: (Variant, Arc<Entry>), most: usize) -> bool {
        self.add_seen(key, variant, most, self.look(key).generation)
    }

    fn add_seen(
        &self,
        key: &Key,
        (variant, entry): (Variant, Arc<Entry>),
        most: usize,
        seen: Generation,
    ) -> bool {
        poll_once(self.link(key, variant, entry, most, HOUR, seen)).unwrap()
    }

    fn purge(&self, what: Purge, removal: Removal) -> u64 {
        poll_once(self.remove(&what, removal)).unwrap()
    }

    fn found(&self, key: &Key) -> Option<Arc<Entry>> {
        match self.look(key).slot {
            Some(Slot::Entry(entry)) => Some(entry),
            _ => None,
        }
    }

    /// The body under a key, as text.
    fn text(&self, key: &Key) -> Option<String> {
        let entry = self.found(key)?;
        let bytes = entry.body.as_slice().concat();
        Some(String::from_utf8(bytes).unwrap())
    }

    fn list(&self, key: &Key) -> Vec<Variant> {
        match self.look(key).slot {
            Some(Slot::Variants(variants)) => variants.to_vec(),
            _ => Vec::new(),
        }
    }
}

impl<S: Store> AtOnce for S {}
