//! Two tiers, both well.

use std::{sync::Arc, time::Duration};

use buttress_cache::{Lease, MemoryStore, Purge, Removal, SharedStore, Slot, Store, Tag, Tiered};
use tokio::time::{advance, sleep};

use crate::{
    doubles::{Mood, Moody},
    support::{AtOnce, HOUR, entry, key, memory, tagged, variant},
};

pub(crate) fn tiers() -> (MemoryStore, Moody, Tiered<Moody>) {
    let (upper, lower) = (memory(1 << 20), Moody::new());
    (upper.clone(), lower.clone(), Tiered::new(upper, lower))
}

/// Lets what is written behind be written.
pub(crate) async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

async fn keep(store: &Tiered<Moody>, name: &str) {
    let seen = store.get(&key(name)).await.unwrap().generation;
    let slot = Slot::Entry(Arc::new(entry(name.to_owned())));
    assert!(store.put(&key(name), slot, HOUR, seen).await.unwrap());
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_put_is_in_memory_at_once_and_below_soon_after() {
    let (upper, lower, store) = tiers();
    keep(&store, "a").await;
    assert_eq!(lower.calls(), ["get", "put"]);
    assert!(upper.found(&key("a")).is_some() && lower.inner.found(&key("a")).is_some());
    let hit = store.peek(&key("a")).expect("no wait for what is in memory");
    assert!(hit.slot.is_some());
    assert_eq!(lower.calls(), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_below_is_brought_up_for_the_time_that_is_left() {
    let (upper, lower, store) = tiers();
    keep(&lower_only(&lower), "a").await;
    advance(HOUR / 4).await;
    assert!(store.peek(&key("a")).is_none(), "to be asked for with patience");
    let found = store.get(&key("a")).await.unwrap();
    assert!(found.slot.is_some());
    let left = upper.look(&key("a")).keep_for.unwrap();
    assert!(left <= HOUR * 3 / 4 && left > HOUR / 2, "{left:?}");
    assert!(store.peek(&key("a")).is_some());
    advance(left).await;
    assert!(upper.found(&key("a")).is_none());
    assert_eq!(store.statistics().hits, 1);
}

/// Another process with the same lower store.
fn lower_only(lower: &Moody) -> Tiered<Moody> {
    Tiered::new(memory(1 << 20), lower.clone())
}

#[tokio::test(start_paused = true)]
async fn variants_are_kept_in_both_tiers_and_brought_up() {
    let (upper, lower, store) = tiers();
    let other = lower_only(&lower);
    let page = key("page");
    let (de, entry) = variant(&page, "de", "Hallo");
    let seen = other.get(&page).await.unwrap().generation;
    assert!(other.link(&page, de.clone(), entry, 32, HOUR, seen).await.unwrap());
    settle().await;
    let listed = store.get(&page).await.unwrap().slot;
    assert!(matches!(listed, Some(Slot::Variants(list)) if list.len() == 1));
    assert!(store.get(&de.key).await.unwrap().slot.is_some());
    assert_eq!(upper.list(&page).len(), 1);
    assert_eq!(upper.text(&de.key).as_deref(), Some("Hallo"));
}

#[tokio::test(start_paused = true)]
async fn a_revalidation_reaches_both_tiers() {
    let (upper, lower, store) = tiers();
    keep(&store, "a").await;
    let id = upper.found(&key("a")).unwrap().id;
    let seen = store.peek(&key("a")).unwrap().generation;
    let fresh = Arc::new(entry("fresh"));
    assert!(store.touch(&key("a"), id, fresh, HOUR, seen).await.unwrap());
    settle().await;
    for tier in [&upper, &lower.inner] {
        assert_eq!(tier.text(&key("a")).as_deref(), Some("fresh"));
    }
    let late = Arc::new(entry("late"));
    assert!(!store.touch(&key("a"), id, late, HOUR, seen).await.unwrap());
    settle().await;
    assert_eq!(lower.inner.text(&key("a")).as_deref(), Some("fresh"));
}

#[tokio::test(start_paused = true)]
async fn a_purge_reaches_both_tiers() {
    for removal in [Removal::Soft, Removal::Hard] {
        let (upper, lower, store) = tiers();
        let seen = store.get(&key("a")).await.unwrap().generation;
        let slot = Slot::Entry(Arc::new(tagged("a", &["x"])));
        assert!(store.put(&key("a"), slot, HOUR, seen).await.unwrap());
        settle().await;
        let purge = Purge::Tag(Tag::new("x"));
        assert_eq!(store.remove(&purge, removal).await.unwrap(), 1);
        for tier in [&upper, &lower.inner] {
            let found = tier.found(&key("a"));
            assert_eq!(found.is_some_and(|entry| entry.is_purged()), removal == Removal::Soft);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_a_purge_overtook_is_kept_by_neither_tier() {
    let (upper, lower, store) = tiers();
    let seen = store.get(&key("a")).await.unwrap().generation;
    store.remove(&Purge::Key(key("a")), Removal::Hard).await.unwrap();
    let slot = Slot::Entry(Arc::new(entry("old")));
    assert!(!store.put(&key("a"), slot, HOUR, seen).await.unwrap());
    settle().await;
    assert!(upper.found(&key("a")).is_none() && lower.inner.found(&key("a")).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waited_while_the_lower_store_was_purged_is_not_kept_there() {
    let (_, lower, store) = tiers();
    let seen = store.get(&key("a")).await.unwrap().generation;
    lower.is(Mood::Slow(Duration::from_millis(20)));
    let slot = Slot::Entry(Arc::new(entry("old")));
    assert!(store.put(&key("a"), slot, HOUR, seen).await.unwrap());
    sleep(Duration::from_millis(5)).await;
    // The purge of another process, while the write is on its way.
    lower.inner.purge(Purge::Key(key("a")), Removal::Hard);
    sleep(Duration::from_millis(50)).await;
    assert!(lower.inner.found(&key("a")).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_a_lookup_finds_below_during_a_purge_does_not_outlive_it_in_memory() {
    let (upper, lower, store) = tiers();
    keep(&lower_only(&lower), "a").await;
    lower.is(Mood::Slow(Duration::from_millis(20)));
    let purge = Purge::Key(key("a"));
    let (purged, found) = tokio::join!(store.remove(&purge, Removal::Hard), async {
        // It begins after memory was purged, and ends before the lower store is.
        let look = async {
            settle().await;
            lower.is(Mood::Works);
            store.get(&key("a")).await
        };
        look.await
    });
    assert!(purged.is_ok() && found.unwrap().slot.is_some(), "it was there still");
    assert!(upper.found(&key("a")).is_none());
    assert!(store.get(&key("a")).await.unwrap().slot.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_for_memory_can_still_be_below() {
    let upper = MemoryStore::new(64 << 10).unwrap();
    let lower = Moody::new();
    let store = Tiered::new(upper.clone(), lower.clone());
    let seen = store.get(&key("a")).await.unwrap().generation;
    let slot = Slot::Entry(Arc::new(entry(vec![1; 60 << 10])));
    assert!(store.put(&key("a"), slot, HOUR, seen).await.unwrap());
    settle().await;
    assert!(upper.found(&key("a")).is_none());
    let found = store.get(&key("a")).await.unwrap();
    let Some(Slot::Entry(own)) = found.slot else {
        panic!("it is below");
    };
    let fresh = Arc::new(entry(vec![2; 60 << 10]));
    let seen = found.generation;
    assert!(store.touch(&key("a"), own.id, fresh, HOUR, seen).await.unwrap());
    settle().await;
    assert_eq!(lower.inner.found(&key("a")).unwrap().body.as_slice()[0][0], 2);
}

#[tokio::test(start_paused = true)]
async fn leases_are_the_lower_stores() {
    let (_, lower, store) = tiers();
    assert_eq!(store.lease(&key("a"), HOUR).await.unwrap(), Lease::Held);
    store.release(&key("a"), 7).await.unwrap();
    settle().await;
    assert_eq!(lower.calls(), ["lease", "release"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_on_when_the_store_is_gone() {
    let (_, lower, store) = tiers();
    let store = SharedStore::new(store);
    lower.is(Mood::Hangs);
    let slot = Slot::Entry(Arc::new(entry("a")));
    assert!(store.put(&key("a"), slot, HOUR, Default::default()).await.unwrap());
    settle().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 1);
    drop(store);
    settle().await;
    assert_eq!(tasks(), 0);
}

#[test]
fn a_setting_that_cannot_be_meant_is_refused_by_name() {
    let store = || Tiered::new(memory(1 << 20), memory(1 << 20));
    let named = |store: Result<Tiered<MemoryStore>, buttress_cache::SettingError>| {
        store.expect_err("a wrong setting").setting()
    };
    assert_eq!(named(store().deadline(Duration::ZERO)), "tiered.deadline");
    assert_eq!(named(store().write_deadline(Duration::ZERO)), "tiered.write_deadline");
    assert_eq!(named(store().breaker(0, HOUR)), "tiered.breaker");
    assert_eq!(named(store().breaker(1, Duration::ZERO)), "tiered.breaker");
    let cloned = store();
    let _other = cloned.clone();
    assert_eq!(named(cloned.queue(1)), "tiered.queue");
}
