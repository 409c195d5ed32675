//! What a budget grants and refuses.

use std::time::Duration;

use buttress_retry::{Budget, Budgets, Cost, SettingError};
use tokio::time::advance;

/// A budget without a floor, so that time plays no part.
fn still(percent: f64, burst: u32) -> Budget {
    Budget::percent(percent)
        .and_then(|budget| budget.floor_per_sec(0))
        .and_then(|budget| budget.burst(burst))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Spends all there is, one transient failure at a time, and counts.
fn drain(budget: &Budget) -> u32 {
    let mut granted = 0;
    while let Some(reservation) = budget.reserve(Cost::TRANSIENT) {
        reservation.spend();
        granted += 1;
    }
    granted
}

#[test]
fn a_success_is_worth_its_share_to_a_tenth_of_a_percent() {
    for (percent, successes) in
        [(20.0, 5), (50.0, 2), (0.5, 200), (33.3, 4), (100.0, 1), (0.1, 1_000)]
    {
        let budget = still(percent, 3);
        assert_eq!(drain(&budget), 3);
        for _ in 1..successes {
            budget.deposit();
        }
        assert!(budget.reserve(Cost::TRANSIENT).is_none(), "{percent} %");
        budget.deposit();
        assert!(budget.reserve(Cost::TRANSIENT).is_some(), "{percent} %");
    }
}

#[test]
fn a_share_above_a_hundred_percent_allows_several_retries_for_one_success() {
    let budget = still(250.0, 10);
    drain(&budget);
    budget.deposit();
    assert_eq!(budget.balance(), 2.5);
    budget.deposit();
    assert_eq!(drain(&budget), 5);
}

#[test]
fn a_share_of_zero_never_refills() {
    let budget = still(0.0, 2);
    assert_eq!(drain(&budget), 2);
    (0..1_000).for_each(|_| budget.deposit());
    assert_eq!(budget.balance(), 0.0);
}

#[test]
fn each_kind_of_failure_has_its_cost() {
    let budget = still(20.0, 5);
    let spent = |cost| {
        let before = budget.balance();
        budget.reserve(cost).unwrap().spend();
        before - budget.balance()
    };
    assert_eq!(spent(Cost::NOT_SENT), 0.0);
    assert_eq!(spent(Cost::THROTTLED), 1.0);
    assert_eq!(spent(Cost::TRANSIENT), 1.0);
    assert_eq!(spent(Cost::TIMEOUT), 2.0);
    assert_eq!(spent(Cost::from_milli_tokens(250)), 0.25);
    assert!(budget.reserve(Cost::TRANSIENT).is_none(), "three quarters of a token are left");
    assert!(budget.reserve(Cost::NOT_SENT).is_some(), "what was never sent is free");
}

#[test]
fn a_retry_that_costs_more_than_the_burst_takes_the_whole_of_it() {
    let budget = still(20.0, 1);
    budget.reserve(Cost::TIMEOUT).unwrap().spend();
    assert_eq!(budget.balance(), 0.0);
    assert!(budget.reserve(Cost::TIMEOUT).is_none());
}

#[test]
fn a_reservation_that_is_dropped_gives_its_tokens_back_once() {
    let budget = still(20.0, 10);
    budget.reserve(Cost::TIMEOUT).unwrap().spend();
    budget.reserve(Cost::TIMEOUT).unwrap().spend();
    assert_eq!(budget.balance(), 6.0);
    let reservation = budget.reserve(Cost::TIMEOUT).unwrap();
    assert_eq!(budget.balance(), 4.0);
    drop(reservation);
    assert_eq!(budget.balance(), 6.0);
}

#[test]
fn a_refund_never_lifts_the_budget_above_its_burst() {
    let budget = still(100.0, 2);
    let reservation = budget.reserve(Cost::TIMEOUT).unwrap();
    budget.deposit();
    budget.deposit();
    drop(reservation);
    assert_eq!(budget.balance(), 2.0);
}

#[test]
fn clones_share_their_tokens_and_setters_start_anew() {
    let budget = still(20.0, 4);
    let clone = budget.clone();
    assert_eq!(drain(&clone), 4);
    assert_eq!(budget.balance(), 0.0);
    let other = budget.clone().burst(7).unwrap();
    assert_eq!((budget.balance(), other.balance()), (0.0, 7.0));
}

#[test]
fn an_unlimited_budget_grants_everything() {
    let budget = Budget::unlimited();
    let held: Vec<_> = (0..10_000).filter_map(|_| budget.reserve(Cost::TIMEOUT)).collect();
    assert_eq!(held.len(), 10_000);
    budget.deposit();
    assert_eq!(budget.balance(), f64::INFINITY);
}

#[test]
fn a_grpc_budget_retries_only_above_half() {
    let budget = Budget::grpc(10, 0.1).unwrap();
    for left in [9.0, 8.0, 7.0, 6.0] {
        budget.record_failure(Cost::TRANSIENT);
        assert_eq!(budget.balance(), left);
        budget.reserve(Cost::TRANSIENT).unwrap().spend();
        assert_eq!(budget.balance(), left, "a retry itself takes nothing");
    }
    budget.record_failure(Cost::TIMEOUT);
    assert_eq!(budget.balance(), 5.0);
    assert!(budget.reserve(Cost::TRANSIENT).is_none(), "half is not above half");
    budget.record_failure(Cost::NOT_SENT);
    assert_eq!(budget.balance(), 5.0, "what was never sent is no failure of the server");
    budget.deposit();
    assert!(budget.reserve(Cost::TRANSIENT).is_some());
    (0..20).for_each(|_| budget.record_failure(Cost::TRANSIENT));
    assert_eq!(budget.balance(), 0.0);
    (0..200).for_each(|_| budget.deposit());
    assert_eq!(budget.balance(), 10.0);
}

#[test]
fn failures_mean_nothing_to_a_budget_by_percentage() {
    let budget = still(20.0, 4);
    budget.record_failure(Cost::TIMEOUT);
    assert_eq!(budget.balance(), 4.0);
}

#[tokio::test(start_paused = true)]
async fn the_floor_brings_its_tokens_to_the_millisecond() {
    let second = Duration::from_secs(1);
    for (tokens, per, due) in [(10, second, 100), (40, 60 * second, 1_500), (3, second, 334)] {
        let budget = still(20.0, 100).floor(tokens, per).unwrap();
        drain(&budget);
        // Asking every millisecond must neither lose nor win a fraction.
        for millisecond in 1..due {
            advance(Duration::from_millis(1)).await;
            let early = budget.reserve(Cost::TRANSIENT);
            assert!(early.is_none(), "at {millisecond} of {due} ms");
        }
        advance(Duration::from_millis(1)).await;
        budget.reserve(Cost::TRANSIENT).unwrap().spend();
        assert!(budget.reserve(Cost::TRANSIENT).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn steady_use_gets_exactly_the_floor() {
    let budget = still(20.0, 100).floor(7, Duration::from_secs(3)).unwrap();
    drain(&budget);
    let mut granted = 0;
    for _ in 0..30_000 {
        advance(Duration::from_millis(1)).await;
        granted += drain(&budget);
    }
    assert_eq!(granted, 70);
}

#[tokio::test(start_paused = true)]
async fn thirty_idle_days_fill_the_budget_and_no_more() {
    let month = Duration::from_secs(30 * 24 * 60 * 60);
    let budget = Budget::default();
    drain(&budget);
    advance(month).await;
    budget.deposit();
    assert_eq!(budget.balance(), 100.0);
    assert_eq!(drain(&budget), 100);

    // The same for one that was full all the while.
    let full = Budget::default();
    advance(month).await;
    assert_eq!(drain(&full), 100);
    advance(Duration::from_millis(99)).await;
    assert_eq!(drain(&full), 0);
}

#[tokio::test(start_paused = true)]
async fn years_go_by_without_a_stop() {
    let budget = Budget::default();
    for _ in 0..100 {
        assert_eq!(drain(&budget), 100);
        advance(Duration::from_secs(100 * 24 * 60 * 60)).await;
    }
}

#[test]
fn keys_have_budgets_of_their_own_in_a_fixed_number_of_slots() {
    let prototype = still(20.0, 2);
    drain(&prototype);
    let budgets = Budgets::new(&prototype, 64).unwrap();
    assert_eq!(budgets.slots().len(), 64);
    assert!(budgets.slots().iter().all(|budget| budget.balance() == 2.0), "each starts full");

    assert_eq!(drain(budgets.of("one.example")), 2);
    assert_eq!(budgets.of("one.example").balance(), 0.0);
    assert_eq!(budgets.clone().of("one.example").balance(), 0.0, "a clone hashes alike");
    let untouched = budgets.slots().iter().filter(|budget| budget.balance() == 2.0).count();
    assert_eq!(untouched, 63);
    let reached = budgets.slots().iter().position(|budget| budget.balance() == 0.0);
    for name in 0..1_000 {
        drain(budgets.of(&format!("{name}.example")));
    }
    assert!(reached.is_some());
    assert!(budgets.slots().iter().all(|budget| budget.balance() == 0.0), "keys spread");
}

#[test]
fn bad_settings_are_refused_in_one_line_that_names_them() {
    fn line<T>(result: Result<T, SettingError>) -> String {
        let line = result.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(!line.contains('\n'));
        line
    }
    for percent in [-1.0, 1_001.0, 0.04, f64::NAN, f64::INFINITY] {
        let expected = format!("`budget.percent` is {percent}, neither 0 nor from 0.1 to 1000");
        assert_eq!(line(Budget::percent(percent)), expected);
    }
    for percent in [0.0, -0.0, 0.1, 1_000.0] {
        assert!(Budget::percent(percent).is_ok(), "{percent}");
    }
    let budget = Budget::default;
    assert_eq!(line(budget().burst(0)), "`budget.burst` is 0, not from 1 to 100000");
    assert_eq!(line(budget().burst(100_001)), "`budget.burst` is 100001, not from 1 to 100000");
    assert!(budget().burst(100_000).is_ok());
    assert_eq!(
        line(budget().floor(3, Duration::from_micros(999))),
        "`budget.floor` is 3 in 999µs, a time shorter than 1ms"
    );
    assert!(budget().floor(u32::MAX, Duration::MAX).is_ok());
    assert_eq!(line(Budget::grpc(0, 0.1)), "`budget.max_tokens` is 0, not from 1 to 1000");
    assert_eq!(line(Budget::grpc(1_001, 0.1)), "`budget.max_tokens` is 1001, not from 1 to 1000");
    for ratio in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let expected = format!("`budget.ratio` is {ratio}, not from 0.001 to 1000");
        assert_eq!(line(Budget::grpc(10, ratio)), expected);
    }
    assert_eq!(
        line(Budget::grpc(10, 0.1).and_then(|budget| budget.burst(5))),
        "`budget.burst` is 5, but only a budget made by percentage has one"
    );
    assert_eq!(
        line(Budget::unlimited().floor_per_sec(5)),
        "`budget.floor` is 5 in 1s, but only a budget made by percentage has one"
    );
    assert_eq!(line(Budgets::new(&budget(), 0)), "`budgets.slots` is 0, not from 1 to 65536");
    assert!(Budgets::new(&budget(), 65_537).is_err());
}
