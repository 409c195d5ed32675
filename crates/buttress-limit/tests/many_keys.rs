//! More keys than there is room for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use buttress_limit::{Ask, Cost, Key, Lesson, Limiter, Local, Quota, Tier, Wait};
use common::{admitted, one};
use futures_util::future::{join, join_all};
use tokio::time::{Instant, sleep};

fn number(number: u64) -> Ask {
    Ask::new(Key::hash(&number.to_le_bytes()), Cost::request())
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_spent_stays_so_however_many_others_come() {
    let limiter = Local::new(Quota::per_day(3).unwrap()).unwrap().max_keys(10_000).unwrap();
    assert_eq!(admitted(&limiter, one("spent"), 10), 3);
    let mut most = 0;
    for key in 0..300_000 {
        let _ = limiter.try_acquire(&number(key));
        if key % 1_000 == 0 {
            assert!(limiter.try_acquire(&one("spent")).unwrap().is_err());
            most = most.max(limiter.memory());
        }
    }
    assert!(limiter.keys() <= 10_000, "{}", limiter.keys());
    // Ten thousand keys, and the windows that the others share.
    assert!(most <= (10_000 + 4_096) * 96, "{most} bytes");
}

#[tokio::test(start_paused = true)]
async fn those_who_find_no_room_share_windows_and_are_limited_too_early_if_at_all() {
    let quota = || Quota::per_day(3).unwrap();
    let limiter = Local::new(quota()).unwrap().max_keys(100).unwrap().overflow(16).unwrap();
    let mut passed = 0;
    for key in 0..100_000 {
        assert!(admitted(&limiter, number(key), 4) <= 3);
        passed += admitted(&limiter, number(key), 1);
    }
    assert_eq!(passed, 0);
    // Nobody comes twice as another.
    for key in 0..100_000 {
        assert_eq!(admitted(&limiter, number(key), 1), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_shares_windows_goes_on_doing_so_when_there_is_room_again() {
    let quota = Quota::per_minute(3).unwrap();
    let limiter = Local::new(quota).unwrap().max_keys(1).unwrap().overflow(1).unwrap();
    assert_eq!(admitted(&limiter, one("first"), 1), 1);
    assert_eq!(admitted(&limiter, one("second"), 9), 3);
    sleep(Duration::from_secs(20)).await;
    // The first one is full again and forgotten; the second one has a third of its burst back.
    assert_eq!(admitted(&limiter, one("second"), 9), 1);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(admitted(&limiter, one("second"), 9), 3);
}

#[tokio::test(start_paused = true)]
async fn keys_are_forgotten_when_their_windows_are_full_and_their_memory_is_given_back() {
    let limiter = Local::new(Quota::per_second(3).unwrap()).unwrap().max_keys(50_000).unwrap();
    for key in 0..50_000 {
        let _ = limiter.try_acquire(&number(key));
    }
    let full = limiter.memory();
    sleep(Duration::from_secs(2)).await;
    for key in 50_000..100_000 {
        let _ = limiter.try_acquire(&number(key));
        if key % 100 == 0 {
            sleep(Duration::from_secs(1)).await;
        }
    }
    assert!(limiter.keys() < 1_000, "{}", limiter.keys());
    assert!(limiter.memory() < full / 8, "{} of {full}", limiter.memory());
}

#[tokio::test(start_paused = true)]
async fn a_denied_request_leaves_nothing_behind() {
    let limiter = Local::new(Quota::per_day(3).unwrap()).unwrap();
    assert_eq!(admitted(&limiter, one("a"), 3), 3);
    let memory = limiter.memory();
    let large = Cost::request().with(buttress_limit::Unit::Requests, 9);
    for key in 0..10_000_u32 {
        assert!(limiter.try_acquire(&one("a")).unwrap().is_err());
        let new = Ask::new(Key::hash(&key.to_le_bytes()), large);
        assert!(limiter.try_acquire(&new).unwrap().is_err());
    }
    assert_eq!((limiter.keys(), limiter.memory()), (1, memory));
}

/// Lets a request of each of so many keys wait, and says after how many seconds it was admitted.
async fn waits(limiter: &Local, keys: u64) -> Vec<u64> {
    let start = Instant::now();
    let line = (0..keys).map(|key| {
        let acquire = limiter.acquire(number(key), Some(Wait::new(Duration::from_secs(3_600))));
        async move {
            assert!(acquire.await.is_ok());
            start.elapsed().as_secs()
        }
    });
    join_all(line).await
}

#[tokio::test(start_paused = true)]
async fn a_line_stays_with_its_key_while_others_come_and_are_forgotten() {
    let quota = Quota::per_minute(60).unwrap().burst(1).unwrap();
    let limiter = Local::new(quota).unwrap().max_keys(50_000).unwrap();
    for key in (0..100).step_by(2) {
        assert_eq!(admitted(&limiter, number(key), 1), 1);
        let pause = Lesson::Pause(Duration::from_secs(50 + key));
        limiter.learn(number(key + 1).key, Tier::FIRST, pause);
    }
    let others = async {
        assert_eq!(limiter.waiting(), 100);
        for key in 1_000..40_000 {
            assert_eq!(admitted(&limiter, number(key), 1), 1);
        }
        let full = limiter.memory();
        // They are forgotten again, and the tables get small.
        for key in 50_000..80_000 {
            if key % 1_000 == 0 {
                sleep(Duration::from_secs(1)).await;
            }
            let _ = limiter.try_acquire(&number(key));
        }
        assert!(limiter.memory() < full / 2, "{} of {full}", limiter.memory());
        assert_eq!(limiter.waiting(), 50, "those that are paused");
    };
    let (times, ()) = join(waits(&limiter, 100), others).await;
    for (key, times) in (0..).step_by(2).zip(times.chunks(2)) {
        assert_eq!(times, [1, 50 + key]);
    }
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn those_who_share_windows_wait_in_the_lines_of_these() {
    let quota = Quota::per_minute(60).unwrap().burst(1).unwrap();
    let limiter = Local::new(quota).unwrap().max_keys(1).unwrap().overflow(8).unwrap();
    // It keeps the only place there is.
    limiter.learn(one("first").key, Tier::FIRST, Lesson::Pause(Duration::from_secs(3_600)));
    let last = waits(&limiter, 64).await.into_iter().max().unwrap();
    // Eight windows, more or less evenly, of which none waits for another.
    assert!((7..32).contains(&last), "{last} seconds");
    assert_eq!((limiter.keys(), limiter.waiting()), (1, 0));
}
