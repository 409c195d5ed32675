//! What a store in memory keeps, and for how long.

use std::{sync::Arc, time::Duration};

use allocation_counter::measure;
use buttress_cache::{MemoryStore, Slot, Store};
use buttress_testkit::bench::poll_once;
use bytes::Bytes;

use crate::support::{AtOnce, HOUR, entry, key, memory};

#[test]
fn what_is_put_is_found_under_its_key_alone() {
    let store = memory(1 << 20);
    assert!(store.keep(&key("a"), entry("one")));
    assert_eq!(store.text(&key("a")).as_deref(), Some("one"));
    assert_eq!(store.text(&key("b")), None);
    assert!(store.keep(&key("a"), entry("two")));
    assert_eq!(store.text(&key("a")).as_deref(), Some("two"));
}

#[test]
fn a_clone_is_the_same_store() {
    let store = memory(1 << 20);
    assert!(store.clone().keep(&key("a"), entry("one")));
    assert_eq!(store.text(&key("a")).as_deref(), Some("one"));
}

#[test]
fn a_hit_shares_the_body_and_allocates_nothing() {
    let store = memory(64 << 20);
    for size in [1 << 10, 1 << 20] {
        let body = Bytes::from(vec![7; size]);
        let place = body.as_ptr();
        assert!(store.keep(&key("a"), entry(body)));
        let found = store.found(&key("a")).unwrap();
        assert_eq!(found.body.as_slice()[0].as_ptr(), place);
        // moka notes reads in blocks of its own now and then.
        let hits = measure(|| {
            for _ in 0..1000 {
                let lookup = store.peek(&key("a")).unwrap();
                assert!(lookup.slot.is_some());
            }
        });
        assert!(hits.count_total < 200, "{hits:?}");
        assert!(hits.bytes_total < 200_000, "{hits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_kept_for_its_time_and_not_a_moment_longer() {
    let store = memory(1 << 20);
    let seen = store.look(&key("a")).generation;
    assert!(store.keep_seen(&key("a"), entry("a"), Duration::from_secs(10), seen));
    assert!(store.keep_seen(&key("b"), entry("b"), Duration::MAX, seen));
    tokio::time::advance(Duration::from_millis(9_999)).await;
    assert_eq!(store.look(&key("a")).keep_for, Some(Duration::from_millis(1)));
    assert!(store.found(&key("a")).is_some());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(store.found(&key("a")).is_none());
    tokio::time::advance(1_000 * HOUR).await;
    assert!(store.found(&key("b")).is_some(), "forever");
    assert_eq!(store.look(&key("b")).keep_for, Some(Duration::MAX));
}

#[tokio::test(start_paused = true)]
async fn a_newer_version_has_its_own_time() {
    let store = memory(1 << 20);
    let seen = store.look(&key("a")).generation;
    assert!(store.keep_seen(&key("a"), entry("long"), HOUR, seen));
    assert!(store.keep_seen(&key("a"), entry("short"), Duration::from_secs(1), seen));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(store.text(&key("a")), None);
    assert!(store.keep_seen(&key("a"), entry("long"), HOUR, seen));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(store.text(&key("a")).as_deref(), Some("long"));
}

#[test]
fn what_is_kept_for_no_time_is_not_kept_and_what_it_replaces_goes() {
    let store = memory(1 << 20);
    assert!(store.keep(&key("a"), entry("old")));
    let seen = store.look(&key("a")).generation;
    assert!(!store.keep_seen(&key("a"), entry("new"), Duration::ZERO, seen));
    assert_eq!(store.text(&key("a")), None);
}

#[test]
fn an_entry_of_more_than_an_eighth_of_the_store_is_refused_and_what_it_replaces_goes() {
    let store = memory(1 << 20);
    assert!(store.keep(&key("a"), entry(vec![0; 120 << 10])));
    assert!(!store.keep(&key("a"), entry(vec![0; 128 << 10])));
    assert!(store.found(&key("a")).is_none(), "it is older than what came");
    assert_eq!(store.statistics().refusals, 1);
}

#[test]
fn fields_and_tags_weigh_as_the_body_does() {
    let store = memory(1 << 20);
    let mut heavy = entry("");
    for number in 0..1_200 {
        let name = http::HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap();
        heavy.headers.insert(name, "a value of about forty bytes, not much".parse().unwrap());
    }
    assert!(!store.keep(&key("a"), heavy));
    let tags: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    let mut heavy = entry("");
    heavy.tags = tags.iter().map(|tag| buttress_cache::Tag::new(tag.as_str())).collect();
    assert!(!store.keep(&key("a"), heavy));
}

#[test]
fn a_version_is_replaced_only_while_it_is_the_one_that_was_seen() {
    let store = memory(1 << 20);
    let (first, fresh) = (entry("first"), Arc::new(entry("fresh")));
    let id = first.id;
    assert!(store.keep(&key("a"), first));
    let seen = store.look(&key("a")).generation;
    let touch = |fresh: &Arc<_>| {
        poll_once(store.touch(&key("a"), id, Arc::clone(fresh), HOUR, seen)).unwrap()
    };
    assert!(touch(&fresh));
    assert_eq!(store.text(&key("a")).as_deref(), Some("fresh"));
    assert!(!touch(&Arc::new(entry("late"))), "another was faster");
    assert_eq!(store.text(&key("a")).as_deref(), Some("fresh"));
    let nothing = poll_once(store.touch(&key("b"), id, fresh, HOUR, seen)).unwrap();
    assert!(!nothing);
}

#[test]
fn what_is_asked_for_often_is_not_pushed_out_by_what_is_asked_for_once() {
    let store = memory(1 << 20);
    let body = || vec![0; 8 << 10];
    assert!(store.keep(&key("often"), entry(body())));
    for number in 0..2_000_u32 {
        assert!(store.found(&key("often")).is_some(), "after {number}");
        store.keep(&key(number.to_le_bytes()), entry(body()));
    }
    let statistics = store.statistics();
    assert!(statistics.evictions > 1_800, "{statistics:?}");
    assert!(statistics.bytes <= statistics.capacity);
}

#[test]
fn the_last_use_decides_if_that_is_asked_for() {
    let store = MemoryStore::with_lru(1 << 20).unwrap();
    let keep = |number: u32| store.keep(&key(number.to_le_bytes()), entry(vec![0; 60 << 10]));
    for number in 0..16 {
        assert!(keep(number));
    }
    let _settled = store.statistics();
    assert!(store.found(&key(0_u32.to_le_bytes())).is_some());
    let _settled = store.statistics();
    for number in 16..24 {
        assert!(keep(number));
        let _settled = store.statistics();
    }
    let left = |number: u32| store.found(&key(number.to_le_bytes())).is_some();
    assert!(left(0), "it was used");
    assert!(!left(1) && !left(5));
    assert!(left(23) && left(20));
}

#[test]
fn statistics_say_what_was_looked_up() {
    let store = memory(1 << 20);
    assert!(store.keep(&key("a"), entry("one")));
    for name in ["a", "a", "b"] {
        let _found = store.peek(&key(name));
    }
    let statistics = store.statistics();
    assert_eq!((statistics.slots, statistics.hits, statistics.misses), (1, 2, 2));
    assert!(statistics.bytes > 700 && statistics.bytes < 1_500, "{statistics:?}");
    assert_eq!(store.usage().slots, 1);
    assert_eq!(store.usage().bytes, statistics.bytes);
}

#[test]
fn a_store_that_can_hold_nothing_is_refused_by_name() {
    assert_eq!(MemoryStore::new(1000).unwrap_err().setting(), "store.bytes");
    assert_eq!(MemoryStore::with_lru(0).unwrap_err().setting(), "store.bytes");
}

#[test]
fn who_fetches_is_never_a_question_in_one_process() {
    let store = memory(1 << 20);
    let lease = poll_once(store.lease(&key("a"), HOUR)).unwrap();
    assert!(matches!(lease, buttress_cache::Lease::Granted(_)));
    assert!(poll_once(store.release(&key("a"), 0)).is_ok());
}

#[test]
fn a_list_of_variants_can_be_put_as_it_is() {
    let store = memory(1 << 20);
    let (variant, _) = crate::support::variant(&key("a"), "de", "Hallo");
    let list = Slot::Variants([variant.clone()].into());
    assert!(poll_once(store.put(&key("a"), list, HOUR, store.look(&key("a")).generation)).unwrap());
    assert_eq!(store.list(&key("a"))[0].key, variant.key);
}
