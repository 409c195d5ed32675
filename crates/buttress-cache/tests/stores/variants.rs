//! Several variants of one resource.

use std::{collections::HashSet, sync::Arc};

use buttress_cache::{Entry, Flags, Policy, Purge, Removal, Time};
use http::HeaderValue;

use crate::support::{AtOnce, HOUR, entry, key, memory, variant};

#[test]
fn each_variant_is_an_entry_of_its_own() {
    let store = memory(1 << 20);
    let page = key("page");
    let (de, fr) = (variant(&page, "de", "Hallo"), variant(&page, "fr", "Salut"));
    assert!(store.add(&page, de.clone(), 32) && store.add(&page, fr.clone(), 32));
    let listed: Vec<_> = store.list(&page).iter().map(|variant| variant.key).collect();
    assert_eq!(listed, [fr.0.key, de.0.key], "the last that was stored comes first");
    assert_eq!(store.text(&de.0.key).as_deref(), Some("Hallo"));
    assert_eq!(store.text(&fr.0.key).as_deref(), Some("Salut"));
}

#[test]
fn a_variant_that_comes_again_takes_its_own_place() {
    let store = memory(1 << 20);
    let page = key("page");
    for body in ["1", "2", "3"] {
        assert!(store.add(&page, variant(&page, "de", body), 32));
        assert!(store.add(&page, variant(&page, "fr", body), 32));
    }
    assert_eq!(store.list(&page).len(), 2);
    assert_eq!(store.text(&variant(&page, "de", "").0.key).as_deref(), Some("3"));
}

#[test]
fn ten_thousand_variants_take_no_more_room_than_the_cap() {
    let store = memory(16 << 20);
    let page = key("page");
    let mut keys = Vec::new();
    for number in 0..10_000 {
        let variant = variant(&page, &number.to_string(), vec![0; 1024]);
        keys.push(variant.0.key);
        assert!(store.add(&page, variant, 32));
    }
    assert_eq!(store.list(&page).len(), 32);
    let statistics = store.statistics();
    assert_eq!(statistics.slots, 33, "the list and its entries");
    assert!(statistics.bytes < 33 * 4096, "{statistics:?}");
    assert_eq!(statistics.evictions, 0, "the cap, not the store's room");
    let listed: HashSet<_> = store.list(&page).iter().map(|variant| variant.key).collect();
    for key in keys {
        assert_eq!(store.found(&key).is_some(), listed.contains(&key));
    }
}

#[test]
fn the_variant_whose_last_use_is_longest_ago_has_to_go() {
    let store = memory(1 << 20);
    let page = key("page");
    let of = |language: &str| variant(&page, language, language.to_owned());
    for language in ["a", "b", "c"] {
        assert!(store.add(&page, of(language), 3));
    }
    assert!(store.found(&of("a").0.key).is_some());
    assert!(store.add(&page, of("d"), 3));
    assert!(store.found(&of("b").0.key).is_none(), "`a` was used since");
    // The use before the list changed still counts.
    assert!(store.found(&of("c").0.key).is_some());
    assert!(store.add(&page, of("e"), 3));
    assert!(store.found(&of("a").0.key).is_none());
    let left: Vec<_> = store.list(&page).iter().map(|variant| variant.key).collect();
    assert_eq!(left, ["e", "d", "c"].map(|language| of(language).0.key));
}

#[test]
fn a_cap_of_none_keeps_one() {
    let store = memory(1 << 20);
    let page = key("page");
    assert!(store.add(&page, variant(&page, "de", "x"), 0));
    assert_eq!(store.list(&page).len(), 1);
}

#[test]
fn a_list_takes_the_place_of_an_entry_and_an_entry_that_of_a_list() {
    let store = memory(1 << 20);
    let page = key("page");
    assert!(store.keep(&page, entry("for all")));
    let de = variant(&page, "de", "Hallo");
    assert!(store.add(&page, de.clone(), 32));
    assert!(store.found(&page).is_none());
    assert_eq!(store.list(&page).len(), 1);
    assert!(store.keep(&page, entry("for all")));
    assert!(store.list(&page).is_empty());
    assert!(store.found(&de.0.key).is_none(), "nothing leads to it");
}

#[tokio::test(start_paused = true)]
async fn a_list_is_kept_as_long_as_any_that_was_in_it() {
    let store = memory(1 << 20);
    let page = key("page");
    assert!(store.add(&page, variant(&page, "de", "an hour"), 32));
    let (short, entry) = variant(&page, "fr", "a second");
    let second = std::time::Duration::from_secs(1);
    let seen = store.look(&page).generation;
    let linked = buttress_cache::Store::link(&store, &page, short.clone(), entry, 32, second, seen);
    assert!(linked.await.unwrap());
    tokio::time::advance(HOUR / 2).await;
    assert_eq!(store.list(&page).len(), 2);
    assert!(store.found(&short.key).is_none());
    assert!(store.found(&variant(&page, "de", "").0.key).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_variant_that_is_revalidated_can_still_be_found() {
    let store = memory(1 << 20);
    let page = key("page");
    assert!(store.add(&page, variant(&page, "de", "old"), 32));
    for _ in 0..5 {
        tokio::time::advance(HOUR / 2).await;
        let place = store.list(&page)[0].key;
        let old = store.found(&place).unwrap();
        let seen = store.look(&page).generation;
        let fresh = variant(&page, "de", "fresh").1;
        let touched = buttress_cache::Store::touch(&store, &place, old.id, fresh, HOUR, seen);
        assert!(touched.await.unwrap());
    }
}

#[test]
fn a_variant_that_is_too_large_leaves_the_list_as_it_was() {
    let store = memory(1 << 20);
    let page = key("page");
    assert!(store.add(&page, variant(&page, "de", "x"), 32));
    assert!(!store.add(&page, variant(&page, "fr", vec![0; 1 << 18]), 32));
    assert_eq!(store.list(&page).len(), 1);
}

#[test]
fn a_purge_of_the_resource_takes_all_its_variants() {
    for removal in [Removal::Hard, Removal::Soft] {
        let store = memory(1 << 20);
        let page = key("page");
        let both = ["de", "fr"].map(|language| variant(&page, language, "x"));
        for variant in &both {
            assert!(store.add(&page, variant.clone(), 32));
        }
        assert_eq!(store.purge(Purge::Key(page), removal), 2);
        for (variant, _) in &both {
            let found = store.found(&variant.key);
            match removal {
                Removal::Hard => assert!(found.is_none()),
                _ => assert!(found.unwrap().is_purged()),
            }
        }
        assert_eq!(store.list(&page).is_empty(), removal == Removal::Hard);
    }
}

/// A part of what has this tag, asked for at `time`.
fn part(tag: &'static str, time: u64) -> Entry {
    let flags = u64::from(Flags::PARTIAL.bits());
    let mut part = entry("0123");
    part.policy = Policy::from_words([3_600_000, 0, time, 0, u64::MAX, flags]);
    part.request_time = Time::from_millis(time);
    part.headers.insert("etag", HeaderValue::from_static(tag));
    part
}

#[test]
fn a_part_never_takes_the_place_of_a_whole_that_is_as_good() {
    let store = memory(1 << 20);
    let mut whole = entry("0123456789");
    whole.policy = Policy::from_words([3_600_000, 0, 10, 0, u64::MAX, 0]);
    whole.headers.insert("etag", HeaderValue::from_static("\"a\""));
    assert!(store.keep(&key("a"), whole.clone()));
    let linked = |part: Entry| {
        let (variant, by_range) = variant(&key("a"), "de", "");
        let mut part = part;
        part.vary = Arc::clone(&by_range.vary);
        store.add(&key("a"), (variant, Arc::new(part)), 8)
    };
    for old in [part("\"a\"", 20), part("\"b\"", 5), part("W/\"a\"", 20)] {
        assert!(!store.keep(&key("a"), old.clone()) && !linked(old));
        assert_eq!(store.text(&key("a")).as_deref(), Some("0123456789"));
    }
    assert!(store.keep(&key("a"), part("\"b\"", 20)), "of something newer");
    assert!(store.keep(&key("a"), whole));
    assert!(linked(part("\"b\"", 20)));
    assert!(!store.keep(&key("a"), part("\"b\"", 30)), "nor of variants");
    assert_eq!(store.list(&key("a")).len(), 1);
}
