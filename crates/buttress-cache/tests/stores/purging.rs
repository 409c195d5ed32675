//! What a purge leaves.

use std::{sync::Arc, time::Duration};

use buttress_cache::{Purge, Removal, Store, Tag};
use buttress_testkit::bench::poll_once;

use crate::support::{AtOnce, HOUR, entry, key, memory, tagged, variant};

fn tag(name: &str) -> Purge {
    Purge::Tag(Tag::new(name))
}

#[test]
fn a_hard_purge_removes_what_is_meant_and_nothing_else() {
    let store = memory(1 << 20);
    for name in ["a", "b"] {
        assert!(store.keep(&key(name), entry(name)));
    }
    assert_eq!(store.purge(Purge::Key(key("a")), Removal::Hard), 1);
    assert_eq!(store.purge(Purge::Key(key("a")), Removal::Hard), 0);
    assert!(store.found(&key("a")).is_none());
    assert!(store.found(&key("b")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_soft_purge_leaves_a_stale_version_for_the_rest_of_its_time() {
    let store = memory(1 << 20);
    assert!(store.keep(&key("a"), entry("a")));
    let before = store.found(&key("a")).unwrap();
    tokio::time::advance(HOUR / 2).await;
    assert_eq!(store.purge(Purge::Key(key("a")), Removal::Soft), 1);
    assert_eq!(store.purge(Purge::Key(key("a")), Removal::Soft), 0, "it is stale already");
    let after = store.found(&key("a")).unwrap();
    assert!(after.is_purged() && !before.is_purged());
    assert_ne!(after.id, before.id);
    assert_eq!(after.body.as_slice()[0].as_ptr(), before.body.as_slice()[0].as_ptr());
    assert_eq!(store.look(&key("a")).keep_for, Some(HOUR / 2));
    tokio::time::advance(HOUR / 2).await;
    assert!(store.found(&key("a")).is_none());
}

#[test]
fn a_tag_leads_to_all_that_have_it() {
    for removal in [Removal::Soft, Removal::Hard] {
        let store = memory(1 << 20);
        assert!(store.keep(&key("a"), tagged("a", &["x", "y"])));
        assert!(store.keep(&key("b"), tagged("b", &["y"])));
        assert!(store.keep(&key("c"), tagged("c", &["z"])));
        assert_eq!(store.purge(tag("y"), removal), 2);
        assert_eq!(store.purge(tag("y"), removal), 0);
        assert_eq!(store.purge(tag("none"), removal), 0);
        for name in ["a", "b"] {
            let found = store.found(&key(name));
            assert_eq!(found.is_some_and(|entry| entry.is_purged()), removal == Removal::Soft);
        }
        assert!(!store.found(&key("c")).unwrap().is_purged());
    }
}

#[test]
fn a_tag_of_an_older_version_leads_nowhere() {
    let store = memory(1 << 20);
    assert!(store.keep(&key("a"), tagged("old", &["x"])));
    assert!(store.keep(&key("a"), tagged("new", &["y"])));
    assert_eq!(store.purge(tag("x"), Removal::Hard), 0);
    assert_eq!(store.text(&key("a")).as_deref(), Some("new"));
    assert_eq!(store.purge(tag("y"), Removal::Hard), 1);
}

#[test]
fn ten_thousand_entries_go_by_one_tag() {
    for removal in [Removal::Soft, Removal::Hard] {
        let store = memory(64 << 20);
        for number in 0..10_000_u32 {
            assert!(store.keep(&key(number.to_le_bytes()), tagged("x", &["all"])));
        }
        assert!(store.keep(&key("other"), tagged("x", &["other"])));
        assert_eq!(store.purge(tag("all"), removal), 10_000);
        let fresh = |number: u32| {
            store.found(&key(number.to_le_bytes())).is_some_and(|entry| !entry.is_purged())
        };
        assert!(!(0..10_000).any(fresh));
        assert!(store.found(&key("other")).is_some());
        let left = if removal == Removal::Soft { 10_001 } else { 1 };
        assert_eq!(store.statistics().slots, left);
    }
}

#[test]
fn everything_can_be_purged() {
    let store = memory(1 << 20);
    for name in ["a", "b"] {
        assert!(store.keep(&key(name), entry(name)));
    }
    assert_eq!(store.purge(Purge::All, Removal::Soft), 2);
    assert!(store.found(&key("a")).unwrap().is_purged());
    assert_eq!(store.purge(Purge::All, Removal::Hard), 2);
    assert!(store.found(&key("a")).is_none() && store.found(&key("b")).is_none());
    assert_eq!(store.statistics().slots, 0);
    assert!(store.keep(&key("a"), entry("again")));
    assert_eq!(store.text(&key("a")).as_deref(), Some("again"));
}

#[test]
fn what_was_asked_for_before_a_purge_is_not_stored_after_it() {
    for removal in [Removal::Soft, Removal::Hard] {
        for purge in [Purge::Key(key("a")), tag("x"), Purge::All] {
            let store = memory(1 << 20);
            let seen = store.look(&key("a")).generation;
            store.purge(purge, removal);
            assert!(!store.keep_seen(&key("a"), tagged("old", &["x"]), HOUR, seen));
            assert!(store.found(&key("a")).is_none());
            assert_eq!(store.statistics().refusals, 1);
            assert!(store.keep(&key("a"), tagged("new", &["x"])));
            assert_eq!(store.text(&key("a")).as_deref(), Some("new"));
        }
    }
}

#[test]
fn a_purge_of_something_else_lets_a_fill_be() {
    let store = memory(1 << 20);
    let seen = store.look(&key("a")).generation;
    store.purge(Purge::Key(key("b")), Removal::Hard);
    store.purge(tag("y"), Removal::Hard);
    assert!(store.keep_seen(&key("a"), tagged("new", &["x"]), HOUR, seen));
}

#[test]
fn a_variant_that_was_asked_for_before_a_purge_is_not_stored_after_it() {
    let store = memory(1 << 20);
    let page = key("page");
    let seen = store.look(&page).generation;
    assert_eq!(store.purge(Purge::Key(page), Removal::Hard), 0, "nothing is known of it yet");
    assert!(store.add(&page, variant(&page, "de", "new"), 32));
    assert!(!store.add_seen(&page, variant(&page, "de", "old"), 32, seen));
    assert_eq!(store.text(&variant(&page, "de", "").0.key).as_deref(), Some("new"));
}

#[test]
fn a_revalidation_that_a_purge_overtook_brings_nothing_back() {
    for removal in [Removal::Soft, Removal::Hard] {
        let store = memory(1 << 20);
        assert!(store.keep(&key("a"), entry("old")));
        let (seen, found) = (store.look(&key("a")).generation, store.found(&key("a")).unwrap());
        store.purge(Purge::Key(key("a")), removal);
        let fresh = Arc::new(entry("old"));
        let minute = Duration::from_secs(60);
        assert!(!poll_once(store.touch(&key("a"), found.id, fresh, minute, seen)).unwrap());
        assert!(store.found(&key("a")).is_none_or(|entry| entry.is_purged()));
    }
}
