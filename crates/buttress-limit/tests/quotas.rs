//! What a quota allows, what it refuses to be, and what several of them do together.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use buttress_limit::{Ask, Cost, DeniedKind, Key, Limiter, Local, Policy, Quota, Tier, Unit};
use common::{admitted, ask, one, per, tokens};
use tokio::time::{advance, sleep};

const MINUTE: Duration = Duration::from_secs(60);

/// The most that was admitted in any time as long as `window`, at a thousand requests a second.
async fn most_in_any(quota: Quota, window: Duration, duration: Duration) -> usize {
    let limiter = Local::new(quota).unwrap();
    let (mut times, mut now) = (Vec::new(), Duration::ZERO);
    while now < duration {
        if limiter.try_acquire(&one("a")).unwrap().is_ok() {
            times.push(now);
        }
        advance(Duration::from_millis(1)).await;
        now += Duration::from_millis(1);
    }
    let end = |start: usize| times.partition_point(|at| *at < times[start] + window);
    (0..times.len()).map(|start| end(start) - start).max().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_strict_quota_holds_in_every_window_wherever_it_begins() {
    for burst in [1, 60, 300, 600] {
        let quota = Quota::per_minute(600).unwrap().burst(burst).unwrap().strict().unwrap();
        let most = most_in_any(quota, MINUTE, 3 * MINUTE).await;
        assert!(most <= 600, "{most} with a burst of {burst}");
        assert!(most >= 540, "{most} with a burst of {burst}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_comes_on_top_of_the_rate() {
    let quota = Quota::per_minute(600).unwrap();
    assert_eq!(most_in_any(quota, MINUTE, 2 * MINUTE).await, 1_199);
    let quota = Quota::per_minute(600).unwrap().burst(10).unwrap();
    assert_eq!(most_in_any(quota, MINUTE, 2 * MINUTE).await, 609);
}

#[test]
fn a_cost_beyond_the_burst_is_never_admitted() {
    let limiter = Local::new(per(1, MINUTE).burst(10).unwrap()).unwrap();
    // 307,445,736 is where governor's own product wraps around.
    for cost in [11, 307_445_736, u64::from(u32::MAX), u64::MAX] {
        let all = Ask::new(Key::GLOBAL, Cost::FREE.with(Unit::Requests, cost));
        let denied = limiter.try_acquire(&all).unwrap().unwrap_err();
        assert_eq!(denied.kind(), DeniedKind::CostTooLarge, "{cost}");
        assert_eq!(denied.retry_after(), None, "{cost}");
    }
    assert_eq!(admitted(&limiter, one("a"), 20), 10);
}

#[test]
fn what_costs_nothing_passes_and_takes_nothing() {
    let limiter = Local::new(per(1, MINUTE)).unwrap();
    let free = ask("a", Cost::FREE);
    assert_eq!(admitted(&limiter, free, 100), 100);
    assert_eq!(limiter.keys(), 0);
    assert_eq!(admitted(&limiter, one("a"), 10), 1);
    assert_eq!(admitted(&limiter, free, 100), 100);
}

#[test]
fn a_quota_that_cannot_be_kept_is_refused_where_it_is_made() {
    let years = Duration::from_secs(10 * 365 * 86_400);
    let of = |amount, per| Quota::of(Unit::Requests, amount, per);
    for (quota, text) in [
        (of(0, MINUTE), "`quota` is 0 in 60s"),
        (of(1, Duration::ZERO), "longer than nothing"),
        (Quota::per_second(1_000_000_000_000), "at most 4294967294"),
        (Quota::per_second(u64::MAX), "at most 4294967294"),
        (Quota::per_second(600_000_000), "nanoseconds cannot tell"),
        (of(1, years), "nine years"),
        (of(1, Duration::MAX), "nine years"),
        (per(1, years / 2).burst(u64::MAX), "at most 4294967294"),
        (per(1, years / 2).burst(u64::from(u32::MAX) - 1), "36 years"),
        (per(10, MINUTE).burst(0), "must allow something"),
        (per(10, MINUTE).burst(11).unwrap().strict(), "cannot have more at once"),
        (per(10, MINUTE).strict().unwrap().burst(11), "cannot have more at once"),
        (per(10, MINUTE).named(""), "printable"),
        (per(10, MINUTE).named("a\nb"), "printable"),
    ] {
        let error = quota.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        assert!(error.starts_with("`quota") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_policy_has_one_to_eight_quotas_of_different_names() {
    assert!(Policy::new([]).is_err());
    let nine = (1..=9).map(|seconds| per(10, Duration::from_secs(seconds)));
    assert!(Policy::new(nine).is_err());
    let error = Policy::new([per(10, MINUTE), per(20, MINUTE)]).unwrap_err();
    assert!(error.to_string().contains("per-minute"), "{error}");
    assert!(Policy::new([per(10, MINUTE), per(20, MINUTE).named("more").unwrap()]).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_denial_charges_none_of_the_windows() {
    let requests = per(10, MINUTE);
    let quota = Quota::tokens_per_minute(1_000).unwrap();
    let limiter = Local::new(Policy::new([requests, quota]).unwrap()).unwrap();
    let some = |amount| ask("a", tokens(amount));
    assert!(limiter.try_acquire(&some(900)).unwrap().is_ok());
    for _ in 0..5 {
        let denied = limiter.try_acquire(&some(600)).unwrap().unwrap_err();
        let snapshot = denied.snapshot().unwrap();
        assert_eq!(snapshot.violated().collect::<Vec<_>>(), ["tokens-per-minute"]);
        assert_eq!(snapshot.standings()[0].remaining(), 9);
        assert_eq!(snapshot.standings()[1].remaining(), 100);
        // 500 tokens are missing, and come back at 1000 a minute.
        assert_eq!(denied.retry_after(), Some(Duration::from_secs(30)));
    }
    assert!(limiter.try_acquire(&some(100)).unwrap().is_ok());
    for _ in 0..8 {
        assert!(limiter.try_acquire(&some(0)).unwrap().is_ok());
    }
    // The longest of the windows' waits.
    let denied = limiter.try_acquire(&some(100)).unwrap().unwrap_err();
    assert_eq!(denied.retry_after(), Some(Duration::from_secs(6)));
    assert_eq!(denied.snapshot().unwrap().violated().count(), 2);
    sleep(Duration::from_secs(6)).await;
    assert!(limiter.try_acquire(&some(100)).unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_was_estimated_too_high_is_refunded() {
    let limiter = Local::new(Quota::tokens_per_minute(1_000).unwrap()).unwrap();
    let all = ask("a", tokens(600));
    let ticket = limiter.try_acquire(&all).unwrap().unwrap();
    assert!(limiter.try_acquire(&all).unwrap().is_err());
    limiter.settle(ticket, &tokens(150));
    assert!(limiter.try_acquire(&all).unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_was_estimated_too_low_is_a_debt_that_others_wait_for() {
    let limiter = Local::new(Quota::tokens_per_minute(1_000).unwrap()).unwrap();
    let all = ask("a", tokens(600));
    let ticket = limiter.try_acquire(&all).unwrap().unwrap();
    limiter.settle(ticket, &tokens(2_600));
    let denied = limiter.try_acquire(&all).unwrap().unwrap_err();
    // 1600 are owed, and 600 wanted.
    assert_eq!(denied.retry_after(), Some(Duration::from_secs(132)));
    sleep(Duration::from_secs(132)).await;
    assert!(limiter.try_acquire(&all).unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_debt_locks_a_key_for_good() {
    let limiter = Local::new(Quota::tokens_per_minute(1_000).unwrap()).unwrap();
    let all = ask("a", tokens(1_000));
    let ticket = limiter.try_acquire(&all).unwrap().unwrap();
    limiter.settle(ticket, &tokens(u64::MAX));
    let denied = limiter.try_acquire(&all).unwrap().unwrap_err();
    assert_eq!(denied.retry_after(), Some(5 * MINUTE));
}

#[tokio::test(start_paused = true)]
async fn no_refund_is_more_than_a_burst() {
    let limiter = Local::new(Quota::tokens_per_minute(1_000).unwrap()).unwrap();
    let all = ask("a", tokens(1_000));
    let tickets: Vec<_> = (0..2).map(|_| limiter.try_acquire(&all).unwrap()).collect();
    let mut tickets = tickets.into_iter().flatten();
    let ticket = tickets.next().unwrap();
    sleep(MINUTE).await;
    // By now all of it has come back of itself.
    limiter.settle(ticket, &Cost::FREE);
    assert!(limiter.try_acquire(&all).unwrap().is_ok());
    assert!(limiter.try_acquire(&ask("a", tokens(1))).unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_look_takes_nothing() {
    let limiter = Local::new(per(10, MINUTE)).unwrap();
    assert_eq!(limiter.peek(&one("a")).unwrap().standings()[0].remaining(), 10);
    assert_eq!(limiter.keys(), 0);
    assert_eq!(admitted(&limiter, one("a"), 4), 4);
    for _ in 0..100 {
        let snapshot = limiter.peek(&one("a")).unwrap();
        assert_eq!(snapshot.standings()[0].remaining(), 6);
        assert_eq!(snapshot.standings()[0].full(), Duration::from_secs(24));
        assert_eq!(snapshot.violated().count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tier_has_a_policy_of_its_own_and_a_key_keeps_what_it_spent() {
    let limiter = Local::new(per(10, MINUTE)).unwrap().tier(per(100, MINUTE)).unwrap();
    let paying = one("paying").tier(Tier::new(1));
    assert_eq!(admitted(&limiter, one("free"), 200), 10);
    assert_eq!(admitted(&limiter, paying, 200), 100);
    // Half of it spent stays half of it spent.
    assert_eq!(admitted(&limiter, one("new"), 5), 5);
    assert_eq!(admitted(&limiter, one("new").tier(Tier::new(1)), 200), 50);
    assert_eq!(admitted(&limiter, one("new"), 200), 0);
    // A tier that is not there is the first.
    assert_eq!(admitted(&limiter, one("lost").tier(Tier::new(9)), 200), 10);
}

#[tokio::test(start_paused = true)]
async fn another_policy_forgives_nothing() {
    let limiter = Local::new(per(100, MINUTE)).unwrap();
    assert_eq!(admitted(&limiter, one("spent"), 200), 100);
    assert_eq!(admitted(&limiter, one("half"), 50), 50);
    let reconfigure = |amount| {
        let policy = Policy::new([per(amount, MINUTE)]).unwrap();
        limiter.reconfigure(Tier::FIRST, &policy).unwrap();
    };
    reconfigure(10);
    assert_eq!(admitted(&limiter, one("spent"), 200), 0);
    assert_eq!(admitted(&limiter, one("half"), 200), 5);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(admitted(&limiter, one("spent"), 200), 1);
    reconfigure(100);
    assert_eq!(admitted(&limiter, one("spent"), 200), 0);
    reconfigure(1_000);
    assert_eq!(admitted(&limiter, one("spent"), 200), 0);
    assert_eq!(admitted(&limiter, one("fresh"), 2_000), 1_000);
}

#[test]
fn a_policy_that_does_not_fit_the_limiter_is_refused() {
    let limiter = Local::new(per(100, MINUTE)).unwrap();
    let two = Policy::new([per(1, MINUTE), Quota::per_day(5).unwrap()]).unwrap();
    assert!(limiter.reconfigure(Tier::FIRST, &two).is_err());
    let one = Policy::new([per(1, MINUTE)]).unwrap();
    assert!(limiter.reconfigure(Tier::new(1), &one).is_err());
    assert!(limiter.reconfigure(Tier::FIRST, &one).is_ok());
    assert!(Local::new(per(1, MINUTE)).unwrap().max_keys(0).is_err());
    assert!(Local::new(per(1, MINUTE)).unwrap().max_keys(usize::MAX).is_err());
    assert!(Local::new(per(1, MINUTE)).unwrap().overflow(0).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_reserve_is_there_for_those_who_may_use_it() {
    let limiter = Local::new(per(10, MINUTE)).unwrap();
    assert_eq!(admitted(&limiter, one("a").spare(30), 100), 7);
    assert_eq!(admitted(&limiter, one("a"), 100), 3);
    sleep(Duration::from_secs(12)).await;
    assert_eq!(admitted(&limiter, one("a").spare(30), 100), 0);
    assert_eq!(admitted(&limiter, one("a"), 100), 2);
}

#[tokio::test(start_paused = true)]
async fn what_never_fits_is_told_so_by_a_known_key_too() {
    let limiter = Local::new(Quota::tokens_per_minute(100).unwrap()).unwrap();
    let asks = |amount| ask("a", tokens(amount));
    assert!(limiter.pass(&asks(1)).unwrap().is_ok());
    for denied in [
        limiter.pass(&asks(101)).unwrap().unwrap_err(),
        limiter.pass_and_peek(&asks(101)).unwrap().unwrap_err(),
        limiter.try_acquire(&asks(101)).unwrap().unwrap_err(),
    ] {
        assert_eq!((denied.kind(), denied.retry_after()), (DeniedKind::CostTooLarge, None));
    }
}
