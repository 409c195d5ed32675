//! Two tiers, the lower of which is unwell.

use std::{sync::Arc, time::Duration};

use buttress_cache::{Generation, Lease, Purge, Removal, Slot, Store, Tiered};
use tokio::time::{Instant, sleep};

use crate::{
    doubles::{Mood, Moody},
    support::{AtOnce, HOUR, entry, key, memory},
    tiered::{settle, tiers},
};

const DEADLINE: Duration = Duration::from_millis(25);
const MOODS: [Mood; 3] = [Mood::Hangs, Mood::Fails, Mood::Slow(Duration::from_millis(200))];

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (work.await, start.elapsed())
}

/// Looks names up until the lower store is left out.
async fn wear_out(store: &Tiered<Moody>) {
    for _ in 0..5 {
        assert!(store.get(&key("nothing")).await.unwrap().slot.is_none());
    }
    assert!(store.statistics().is_open);
}

#[tokio::test(start_paused = true)]
async fn a_lookup_waits_for_one_deadline_and_later_not_at_all() {
    for mood in MOODS {
        let (_, lower, store) = tiers();
        lower.is(mood);
        for _ in 0..5 {
            let (lookup, time) = timed(store.get(&key("a"))).await;
            assert!(lookup.unwrap().slot.is_none());
            assert!(time <= DEADLINE + Duration::from_millis(1), "{mood:?}: {time:?}");
        }
        assert_eq!(lower.calls().len(), 5);
        for _ in 0..100 {
            assert!(store.peek(&key("a")).is_some(), "a miss that needs no patience");
            let (_, time) = timed(store.get(&key("a"))).await;
            assert_eq!(time, Duration::ZERO);
        }
        assert_eq!(lower.calls().len(), 0);
        assert_eq!(store.statistics().failures, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn many_lookups_at_once_wait_for_one_deadline_each() {
    let (_, lower, store) = tiers();
    lower.is(Mood::Hangs);
    let lookups = (0..200).map(|number: i32| {
        let store = store.clone();
        async move { store.get(&key(number.to_le_bytes())).await.unwrap().slot.is_none() }
    });
    let (missed, time) = timed(futures_util::future::join_all(lookups)).await;
    assert!(missed.iter().all(|missed| *missed));
    assert!(time <= DEADLINE + Duration::from_millis(1), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn memory_serves_on_while_the_lower_store_is_unwell() {
    for mood in MOODS {
        let (_, lower, store) = tiers();
        lower.is(mood);
        let slot = Slot::Entry(Arc::new(entry("a")));
        let (kept, time) = timed(store.put(&key("a"), slot, HOUR, Generation::default())).await;
        assert!(kept.unwrap());
        assert_eq!(time, Duration::ZERO, "writes are made behind the back");
        let (found, time) = timed(store.get(&key("a"))).await;
        assert!(found.unwrap().slot.is_some());
        assert_eq!(time, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_once_a_second_whether_it_is_back_and_then_used_again() {
    let (_, lower, store) = tiers();
    lower.inner.keep(&key("a"), entry("below"));
    lower.is(Mood::Hangs);
    wear_out(&store).await;
    lower.calls();
    sleep(Duration::from_secs(10)).await;
    let asked = lower.calls().len();
    assert!((8..=10).contains(&asked), "{asked}");
    lower.is(Mood::Works);
    sleep(Duration::from_millis(1_100)).await;
    assert!(!store.statistics().is_open);
    assert_eq!(store.get(&key("a")).await.unwrap().slot.map(|slot| slot.weight() > 0), Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_failure_now_and_then_does_not_leave_it_out() {
    let (_, lower, store) = tiers();
    for _ in 0..20 {
        for mood in [Mood::Fails, Mood::Fails, Mood::Fails, Mood::Fails, Mood::Works] {
            lower.is(mood);
            let _lookup = store.get(&key("a")).await;
        }
    }
    assert!(!store.statistics().is_open);
}

#[tokio::test(start_paused = true)]
async fn writes_that_find_no_room_are_dropped_and_counted() {
    let lower = Moody::new();
    let store = Tiered::new(memory(1 << 20), lower.clone()).queue(50 << 10).unwrap();
    lower.is(Mood::Hangs);
    for number in 0..10_u32 {
        let slot = Slot::Entry(Arc::new(entry(vec![0; 9 << 10])));
        let name = key(number.to_le_bytes());
        assert!(
            store.put(&name, slot, HOUR, Generation::default()).await.unwrap(),
            "memory has it"
        );
    }
    let statistics = store.statistics();
    assert!(statistics.waiting <= 50 << 10, "{statistics:?}");
    assert_eq!(statistics.dropped, 5);
    sleep(Duration::from_secs(1)).await;
    let statistics = store.statistics();
    assert_eq!((statistics.waiting, statistics.dropped), (0, 10), "what hung was given up");
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_does_not_get_through_is_told_when_the_store_is_back() {
    for mood in MOODS {
        let (upper, lower, store) = tiers();
        for name in ["a", "b"] {
            lower.inner.keep(&key(name), entry(name));
        }
        assert!(store.get(&key("a")).await.unwrap().slot.is_some());
        lower.is(mood);
        let purge = Purge::Key(key("a"));
        let (removed, time) = timed(store.remove(&purge, Removal::Hard)).await;
        assert_eq!(removed.unwrap(), 1, "from memory");
        assert!(time <= Duration::from_millis(101), "{time:?}");
        assert!(upper.found(&key("a")).is_none());
        assert_eq!(store.statistics().owed, 1);

        // Nothing is read that may have been purged.
        lower.is(Mood::Works);
        assert!(store.get(&key("a")).await.unwrap().slot.is_none());
        assert!(store.get(&key("b")).await.unwrap().slot.is_none());
        sleep(Duration::from_millis(1_100)).await;
        assert_eq!(store.statistics().owed, 0);
        assert!(lower.inner.found(&key("a")).is_none());
        assert!(store.get(&key("a")).await.unwrap().slot.is_none());
        assert!(store.get(&key("b")).await.unwrap().slot.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_whose_caller_goes_away_is_made_all_the_same() {
    let (upper, lower, store) = tiers();
    lower.inner.keep(&key("a"), entry("a"));
    lower.is(Mood::Hangs);
    let purge = Purge::Key(key("a"));
    let given_up =
        tokio::time::timeout(Duration::from_millis(5), store.remove(&purge, Removal::Hard));
    assert!(given_up.await.is_err());
    lower.is(Mood::Works);
    assert!(store.get(&key("a")).await.unwrap().slot.is_none());
    sleep(Duration::from_millis(1_100)).await;
    assert!(lower.inner.found(&key("a")).is_none());
    assert!(upper.found(&key("a")).is_none());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_lease_that_does_not_come() {
    let (_, lower, store) = tiers();
    lower.is(Mood::Hangs);
    let (lease, time) = timed(store.lease(&key("a"), HOUR)).await;
    assert_eq!(lease.unwrap(), Lease::Granted(0));
    assert!(time <= DEADLINE + Duration::from_millis(1));
    wear_out(&store).await;
    let (lease, time) = timed(store.lease(&key("a"), HOUR)).await;
    assert_eq!(lease.unwrap(), Lease::Granted(0));
    assert_eq!(time, Duration::ZERO);
}

#[test]
fn it_recovers_on_another_runtime_than_the_one_that_it_failed_on() {
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap()
    };
    let (_, lower, store) = tiers();
    lower.is(Mood::Fails);
    runtime().block_on(async {
        let slot = Slot::Entry(Arc::new(entry("a")));
        let _kept = store.put(&key("a"), slot, HOUR, Generation::default()).await;
        wear_out(&store).await;
    });
    lower.is(Mood::Works);
    runtime().block_on(async {
        assert!(store.get(&key("a")).await.unwrap().slot.is_some());
        assert!(store.peek(&key("b")).is_some(), "left out still");
        sleep(Duration::from_millis(1_100)).await;
        assert!(!store.statistics().is_open);
        let slot = Slot::Entry(Arc::new(entry("b")));
        assert!(store.put(&key("b"), slot, HOUR, Generation::default()).await.unwrap());
        settle().await;
        assert!(lower.inner.found(&key("b")).is_some());
        assert_eq!(store.statistics().waiting, 0);
    });
}
