use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::*;
use crate::{Chunks, Entry, Policy, Purge, Removal, Slot, Tag};

const HOUR: Duration = Duration::from_secs(3600);

fn key(number: u64) -> Key {
    Key::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn entry(size: usize, tags: &[String]) -> Slot {
    let policy = Policy::from_words([0; 6]);
    let mut entry = Entry::new("http://a/".into(), StatusCode::OK, HeaderMap::new(), policy);
    entry.body = Chunks::from(bytes::Bytes::from(vec![0; size]));
    entry.tags = tags.iter().map(|tag| Tag::new(tag.as_str())).collect();
    Slot::Entry(Arc::new(entry))
}

#[test]
fn the_index_of_tags_holds_what_is_stored_and_nothing_else() {
    let store = MemoryStore::with_lru(1 << 20).unwrap();
    let shared = &store.shared;
    for number in 0..5_000 {
        let tags = ["all".to_owned(), format!("own-{number}")];
        assert!(shared.put(&key(number), entry(1024, &tags), HOUR, 0).is_kept());
    }
    shared.slots.run_pending_tasks();
    let stored = usize::try_from(shared.slots.entry_count()).unwrap();
    assert!((100..1024).contains(&stored), "{stored}");
    assert_eq!(shared.aside.tags.sizes(), (stored + 1, 2 * stored));

    // Another version with other tags.
    assert!(shared.put(&key(4_999), entry(10, &["new".to_owned()]), HOUR, 0).is_kept());
    shared.slots.run_pending_tasks();
    assert_eq!(shared.aside.tags.sizes(), (stored + 1, 2 * stored - 1));
    assert_eq!(shared.aside.tags.keys(&Tag::new("new")), [key(4_999)]);

    shared.remove(&Purge::Tag(Tag::new("all")), Removal::Hard);
    shared.slots.run_pending_tasks();
    assert_eq!(shared.aside.tags.sizes(), (1, 1));
    shared.remove(&Purge::All, Removal::Hard);
    shared.slots.run_pending_tasks();
    assert_eq!(shared.aside.tags.sizes(), (0, 0));
}

#[test]
fn what_another_store_had_never_takes_the_place_of_what_is_there() {
    let store = MemoryStore::new(1 << 20).unwrap();
    let shared = &store.shared;
    let body = |key: &Key| match shared.look_up(key).slot {
        Some(Slot::Entry(entry)) => entry.body.length(),
        _ => 0,
    };
    assert!(shared.adopt(&key(1), entry(1, &[]), HOUR, 0).is_kept());
    assert!(!shared.adopt(&key(1), entry(2, &[]), HOUR, 0).is_kept());
    assert_eq!(body(&key(1)), 1);
    assert!(shared.put(&key(1), entry(3, &[]), HOUR, 0).is_kept());
    assert_eq!(body(&key(1)), 3);
    shared.remove(&Purge::Key(key(1)), Removal::Hard);
    assert!(
        !shared.adopt(&key(1), entry(1, &[]), HOUR, 0).is_kept(),
        "it was looked up before the purge"
    );
    assert_eq!(body(&key(1)), 0);
}

#[test]
fn what_follows_from_a_lookup_before_everything_was_purged_is_never_seen() {
    let store = MemoryStore::new(1 << 20).unwrap();
    let shared = &store.shared;
    let seen = shared.marks.generation();
    let held = Held::new(entry(1, &[]), HOUR, Instant::now(), seen);
    shared.remove(&Purge::All, Removal::Hard);
    // A write that had asked before the purge, and takes effect after it.
    shared.insert(&key(1), held);
    assert!(shared.look_up(&key(1)).slot.is_none());
}

#[test]
fn a_purge_of_a_tag_waits_for_a_write_that_looked_before_it() {
    let store = MemoryStore::new(1 << 20).unwrap();
    let shared = &store.shared;
    let tag = || Tag::new("tag");
    let held = Held::new(entry(1, &["tag".to_owned()]), HOUR, Instant::now(), 0);
    std::thread::scope(|scope| {
        // The write has its lock, and has found that it may go on.
        let lock = shared.marks.lock(&key(1));
        let entry = held.entry().map(|entry| &**entry);
        assert!(shared.marks.allow(&key(1), entry, 0));
        let purge = scope.spawn(|| shared.remove(&Purge::Tag(tag()), Removal::Hard));
        while shared.marks.allow(&key(1), entry, 0) {
            std::thread::yield_now();
        }
        for _ in 0..1_000 {
            std::thread::yield_now();
        }
        shared.insert(&key(1), held.clone());
        drop(lock);
        assert_eq!(purge.join().unwrap(), 1);
    });
    assert!(shared.look_up(&key(1)).slot.is_none());
}

#[test]
fn a_variant_is_linked_under_the_lock_of_its_resource() {
    let store = MemoryStore::new(1 << 20).unwrap();
    let shared = &store.shared;
    let Slot::Entry(entry) = entry(1, &[]) else { panic!("an entry") };
    let variant = crate::Variant::new(key(2), Arc::default(), None);
    std::thread::scope(|scope| {
        // A purge of the resource has its lock, and has yet to leave its mark.
        let lock = shared.marks.lock(&key(1));
        let link = scope.spawn(|| shared.link(&key(1), variant, entry, 32, HOUR, 0));
        for _ in 0..1_000 {
            std::thread::yield_now();
        }
        shared.marks.purge_key(&key(1));
        drop(lock);
        assert_eq!(link.join().unwrap(), Written::Overtaken);
    });
    assert!(shared.look_up(&key(1)).slot.is_none());
}

#[test]
fn a_purge_of_one_tag_costs_no_fill_of_another_that_begins_alike() {
    let store = MemoryStore::new(1 << 20).unwrap();
    let shared = &store.shared;
    let tag = |number: u64| format!("articles of the category {number}");
    let seen = shared.marks.generation();
    for number in 0..16 {
        shared.remove(&Purge::Tag(Tag::new(tag(number))), Removal::Hard);
    }
    let fills =
        (100..164).map(|number| shared.put(&key(number), entry(1, &[tag(number)]), HOUR, seen));
    // Some may share a mark by chance.
    let kept = fills.filter(|written| written.is_kept()).count();
    assert!(kept >= 60, "{kept} of 64");
}
