//! Waiting for a budget's next token: order, cancellation, bounds.

use std::{task::Poll, time::Duration};

use buttress_retry::{Acquire, Budget, Cost, QueueFull, Reservation};
use tokio::time::{Instant, advance, timeout};
use tokio_test::{assert_pending, assert_ready, task};

type Waiter = task::Spawn<Acquire>;

/// An empty budget in which one success is one token.
fn empty(floor_per_sec: u32) -> Budget {
    let budget = Budget::percent(100.0)
        .and_then(|budget| budget.floor_per_sec(floor_per_sec))
        .and_then(|budget| budget.burst(10))
        .unwrap_or_else(|error| panic!("{error}"));
    while let Some(reservation) = budget.reserve(Cost::TRANSIENT) {
        reservation.spend();
    }
    budget
}

fn waiter(budget: &Budget) -> Waiter {
    let mut waiter = task::spawn(budget.wait(Cost::TRANSIENT));
    assert_pending!(waiter.poll());
    waiter
}

fn granted(poll: Poll<Result<Reservation, QueueFull>>) {
    match poll {
        Poll::Ready(Ok(reservation)) => reservation.spend(),
        other => panic!("not granted: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_budget_grants_at_once() {
    let budget = Budget::default();
    granted(task::spawn(budget.wait(Cost::TIMEOUT)).poll());
    assert_eq!((budget.balance(), budget.waiters()), (98.0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiters_get_the_tokens_of_the_floor_in_order_and_on_time() {
    let budget = empty(10);
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (number, cost) in
        [Cost::TRANSIENT, Cost::TIMEOUT, Cost::TRANSIENT, Cost::THROTTLED].into_iter().enumerate()
    {
        let budget = budget.clone();
        tasks.spawn(async move {
            budget.wait(cost).await.unwrap().spend();
            (number, start.elapsed().as_millis())
        });
    }
    let mut order = Vec::new();
    while let Some(done) = tasks.join_next().await {
        order.push(done.unwrap());
    }
    assert_eq!(order, [(0, 100), (1, 300), (2, 400), (3, 500)]);
}

#[tokio::test(start_paused = true)]
async fn a_deposit_lets_the_head_through_before_its_timer() {
    let budget = empty(1);
    let (mut head, mut next) = (waiter(&budget), waiter(&budget));
    advance(Duration::from_millis(10)).await;
    budget.deposit();
    assert!(head.is_woken());
    assert!(!next.is_woken(), "one wakeup for one token");
    granted(head.poll());
    assert!(next.is_woken(), "the next is head now, and has to set its timer");
    assert_pending!(next.poll());
    advance(Duration::from_millis(989)).await;
    assert!(!next.is_woken());
    advance(Duration::from_millis(1)).await;
    assert!(next.is_woken());
    granted(next.poll());
}

#[tokio::test(start_paused = true)]
async fn a_deposit_that_is_not_enough_shortens_the_wait() {
    let budget = empty(10);
    let mut head = task::spawn(budget.wait(Cost::TIMEOUT));
    assert_pending!(head.poll());
    advance(Duration::from_millis(50)).await;
    budget.deposit();
    assert!(head.is_woken());
    assert_pending!(head.poll());
    advance(Duration::from_millis(49)).await;
    assert!(!head.is_woken());
    advance(Duration::from_millis(1)).await;
    assert!(head.is_woken(), "due after 100 ms instead of 200");
    granted(head.poll());
}

#[tokio::test(start_paused = true)]
async fn a_refund_lets_the_head_through() {
    let budget = empty(0);
    budget.deposit();
    let reservation = budget.reserve(Cost::TRANSIENT).unwrap();
    let mut head = waiter(&budget);
    drop(reservation);
    assert!(head.is_woken());
    granted(head.poll());
}

#[tokio::test(start_paused = true)]
async fn two_deposits_serve_two_waiters() {
    let budget = empty(0);
    let (mut head, mut next) = (waiter(&budget), waiter(&budget));
    budget.deposit();
    budget.deposit();
    // Polled out of turn, the second still does not overtake.
    assert_pending!(next.poll());
    granted(head.poll());
    assert!(next.is_woken());
    granted(next.poll());
    assert_eq!((budget.balance(), budget.waiters()), (0.0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cheap_retry_does_not_overtake_a_dear_one() {
    let budget = empty(0);
    let mut dear = task::spawn(budget.wait(Cost::TIMEOUT));
    assert_pending!(dear.poll());
    let mut cheap = waiter(&budget);
    budget.deposit();
    assert_pending!(dear.poll());
    assert_pending!(cheap.poll());
    budget.deposit();
    granted(dear.poll());
    assert_pending!(cheap.poll());
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_those_who_wait() {
    let budget = empty(0);
    let mut head = waiter(&budget);
    budget.deposit();
    assert_eq!(budget.balance(), 1.0);
    assert!(budget.reserve(Cost::TRANSIENT).is_none(), "the token is the head's");
    let mut late = waiter(&budget);
    assert!(budget.reserve(Cost::NOT_SENT).is_some(), "what is free passes the line");
    granted(task::spawn(budget.wait(Cost::NOT_SENT)).poll());
    granted(head.poll());
    budget.deposit();
    granted(late.poll());
    budget.deposit();
    assert!(budget.reserve(Cost::TRANSIENT).is_some(), "the line is empty again");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_gives_up_hands_its_turn_on() {
    let budget = empty(10);
    let head = waiter(&budget);
    advance(Duration::from_millis(50)).await;
    let mut next = waiter(&budget);
    drop(head);
    assert!(next.is_woken());
    assert_pending!(next.poll());
    advance(Duration::from_millis(50)).await;
    assert!(next.is_woken(), "the new head has a timer of its own");
    granted(next.poll());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_gives_up_after_its_wakeup_loses_no_token() {
    let budget = empty(0);
    let (head, mut next) = (waiter(&budget), waiter(&budget));
    budget.deposit();
    assert!(head.is_woken());
    drop(head);
    assert!(next.is_woken());
    granted(next.poll());
}

#[tokio::test(start_paused = true)]
async fn one_in_the_middle_that_gives_up_changes_nothing_for_the_others() {
    let budget = empty(0);
    let (mut first, second, mut third) = (waiter(&budget), waiter(&budget), waiter(&budget));
    drop(second);
    assert!(!first.is_woken() && !third.is_woken());
    assert_eq!(budget.waiters(), 2);
    budget.deposit();
    granted(first.poll());
    budget.deposit();
    assert!(third.is_woken());
    granted(third.poll());
}

#[tokio::test(start_paused = true)]
async fn the_last_one_that_gives_up_opens_the_budget_to_all() {
    let budget = empty(0);
    let (first, second) = (waiter(&budget), waiter(&budget));
    drop(second);
    drop(first);
    assert_eq!(budget.waiters(), 0);
    budget.deposit();
    assert!(budget.reserve(Cost::TRANSIENT).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_dropped_serves_the_next() {
    let budget = empty(0);
    let (mut head, mut next) = (waiter(&budget), waiter(&budget));
    budget.deposit();
    let reservation = assert_ready!(head.poll()).unwrap();
    assert_pending!(next.poll());
    drop(reservation);
    assert!(next.is_woken());
    granted(next.poll());
}

#[tokio::test(start_paused = true)]
async fn one_that_was_never_polled_holds_no_place() {
    let budget = empty(0);
    let unpolled = budget.wait(Cost::TRANSIENT);
    assert_eq!(budget.waiters(), 0);
    let mut head = waiter(&budget);
    drop(unpolled);
    budget.deposit();
    granted(head.poll());
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_full_refuses_at_once_and_keeps_no_trace() {
    let budget = empty(0).max_waiters(2);
    while let Some(reservation) = budget.reserve(Cost::TRANSIENT) {
        reservation.spend();
    }
    let (head, mut second) = (waiter(&budget), waiter(&budget));
    let refused = assert_ready!(task::spawn(budget.wait(Cost::TRANSIENT)).poll());
    assert!(matches!(refused, Err(QueueFull { .. })));
    assert_eq!(budget.waiters(), 2);
    drop(head);
    let mut third = waiter(&budget);
    budget.deposit();
    granted(second.poll());
    budget.deposit();
    granted(third.poll());
}

#[tokio::test(start_paused = true)]
async fn without_places_only_a_token_in_hand_is_granted() {
    let budget = empty(0).max_waiters(0);
    for _ in 0..10 {
        granted(task::spawn(budget.wait(Cost::TRANSIENT)).poll());
    }
    let refused = assert_ready!(task::spawn(budget.wait(Cost::TRANSIENT)).poll());
    assert!(refused.is_err());
}

#[tokio::test(start_paused = true)]
async fn without_floor_and_success_the_deadline_ends_the_wait() {
    let budget = empty(0);
    let start = Instant::now();
    let waited = timeout(Duration::from_secs(3_600), budget.wait(Cost::TRANSIENT)).await;
    assert!(waited.is_err());
    assert_eq!(start.elapsed(), Duration::from_secs(3_600));
    assert_eq!(budget.waiters(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_floor_too_slow_for_any_clock_waits_like_none() {
    let budget = Budget::percent(100.0)
        .and_then(|budget| budget.burst(1))
        .and_then(|budget| budget.floor(1, Duration::MAX))
        .unwrap();
    budget.reserve(Cost::TRANSIENT).unwrap().spend();
    let mut head = waiter(&budget);
    advance(Duration::from_secs(1_000_000)).await;
    assert_pending!(head.poll());
    budget.deposit();
    granted(head.poll());
}

#[tokio::test(start_paused = true)]
async fn a_grpc_budget_waits_until_more_than_half_is_there() {
    let budget = Budget::grpc(4, 0.5).unwrap();
    budget.record_failure(Cost::TRANSIENT);
    budget.record_failure(Cost::TRANSIENT);
    budget.record_failure(Cost::TRANSIENT);
    let (mut head, mut next) = (waiter(&budget), waiter(&budget));
    budget.deposit();
    budget.deposit();
    assert_pending!(head.poll());
    budget.deposit();
    granted(head.poll());
    granted(next.poll());
    assert_eq!(budget.balance(), 2.5);
}

#[tokio::test(start_paused = true)]
async fn an_unlimited_budget_never_waits() {
    let budget = Budget::unlimited();
    for _ in 0..100 {
        granted(task::spawn(budget.wait(Cost::TIMEOUT)).poll());
    }
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_waiters_are_served_in_the_order_of_their_coming() {
    let budget = empty(1_000);
    let mut waiters: Vec<_> = (0..500).map(|_| waiter(&budget)).collect();
    // Every third gives up.
    let mut number = 0;
    waiters.retain(|_| {
        number += 1;
        number % 3 != 0
    });
    let start = Instant::now();
    for (served, waiter) in waiters.into_iter().enumerate() {
        waiter.await.unwrap().spend();
        assert_eq!(start.elapsed(), Duration::from_millis(served as u64 + 1));
    }
}

#[test]
fn the_futures_cross_threads_and_need_no_pin() {
    fn check<T: Send + Sync + Unpin>() {}
    check::<Acquire>();
    check::<Reservation>();
    check::<Budget>();
}
