//! Waiting in line: the order, the cost, and what becomes of those who leave.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_limit::{Cost, DeniedKind, Limiter, Local, Policy, Tier, Wait};
use common::{Polls, admitted, ask, millis, one, per, tokens};
use futures_util::{FutureExt, future::join_all};
use tokio::time::{Instant, advance, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn waiting(most: usize) -> Option<Wait> {
    let mut wait = Wait::new(HOUR);
    wait.queue = most;
    Some(wait)
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_admitted_in_order_and_at_the_full_rate() {
    for rate in [100, 1_000] {
        let limiter = Local::new(per(rate, SECOND).burst(1).unwrap()).unwrap();
        let (start, order) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
        let mut tasks = Vec::new();
        for number in 0..1_000_u64 {
            let (limiter, order) = (limiter.clone(), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let (ticket, polls) = Polls::of(limiter.acquire(one("a"), waiting(1_000))).await;
                assert!(ticket.is_ok());
                order.lock().unwrap().push(number);
                polls
            }));
            // So that each is in line before the next one comes.
            tokio::task::yield_now().await;
        }
        let mut left = 0;
        for (number, task) in tasks.iter().enumerate().skip(1) {
            if number % 3 == 1 {
                task.abort();
                left += 1;
            }
        }
        let mut most = 0;
        for task in tasks {
            most = most.max(task.await.unwrap_or(0));
        }
        let admitted = 1_000 - left;
        let order = order.lock().unwrap();
        assert_eq!(order.len(), admitted);
        assert!(order.is_sorted(), "first come, first served");
        assert!(most <= 4, "{most} polls");
        let ideal = 1_000 * (u64::try_from(admitted).unwrap() - 1) / rate;
        let took = millis(start);
        assert!(took >= ideal && took <= ideal + ideal / 100 + 5, "{took} ms of {ideal} ms");
        assert_eq!(limiter.waiting(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_the_line_was_not_charged_and_the_next_one_is_on_time() {
    let limiter = Local::new(per(1, SECOND)).unwrap();
    let start = Instant::now();
    assert_eq!(admitted(&limiter, one("a"), 2), 1);
    let mut first = Box::pin(limiter.acquire(one("a"), waiting(9)));
    let mut second = Box::pin(limiter.acquire(one("a"), waiting(9)));
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    assert_eq!(limiter.waiting(), 2);
    sleep(SECOND / 2).await;
    drop(first);
    assert!(second.await.is_ok());
    assert!((1_000..1_003).contains(&millis(start)), "{} ms", millis(start));
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_be_too_long_is_refused_at_once() {
    let limiter = Local::new(per(1, HOUR)).unwrap();
    assert_eq!(admitted(&limiter, one("a"), 1), 1);
    let start = Instant::now();
    let wait = Some(Wait::new(Duration::from_millis(700)));
    let denied = limiter.acquire(one("a"), wait).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(denied.kind(), DeniedKind::WaitTooLong);
    assert_eq!(denied.retry_after(), Some(HOUR));
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_full_says_when_to_come_back() {
    let limiter = Local::new(per(1, SECOND)).unwrap();
    assert_eq!(admitted(&limiter, one("a"), 1), 1);
    let line: Vec<_> = (0..3)
        .map(|_| {
            let mut waiter = Box::pin(limiter.acquire(one("a"), waiting(3)));
            assert!(waiter.as_mut().now_or_never().is_none());
            waiter
        })
        .collect();
    let denied = limiter.acquire(one("a"), waiting(3)).await.unwrap_err();
    assert_eq!(denied.kind(), DeniedKind::QueueFull);
    assert_eq!(denied.retry_after(), Some(4 * SECOND));
    // Another key has a line of its own.
    assert!(limiter.acquire(one("b"), waiting(3)).await.is_ok());
    drop(line);
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn all_lines_together_have_a_bound() {
    let limiter = Local::new(per(1, SECOND)).unwrap().max_waiters(2);
    let mut line = Vec::new();
    for key in ["a", "b", "c"] {
        assert_eq!(admitted(&limiter, one(key), 1), 1);
        let mut waiter = Box::pin(limiter.acquire(one(key), waiting(9)));
        line.push((waiter.as_mut().now_or_never(), waiter));
    }
    let denied = line.pop().unwrap().0.unwrap().unwrap_err();
    assert_eq!(denied.kind(), DeniedKind::QueueFull);
    assert!(line.iter().all(|(answer, _)| answer.is_none()));
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_those_who_wait() {
    let limiter = Local::new(per(10, SECOND)).unwrap();
    let ten = ask("a", Cost::FREE.with(buttress_limit::Unit::Requests, 10));
    assert!(limiter.try_acquire(&ten).unwrap().is_ok());
    let mut all = Box::pin(limiter.acquire(ten, waiting(9)));
    assert!(all.as_mut().now_or_never().is_none());
    sleep(SECOND / 2).await;
    // Five would fit, but they are another's.
    let denied = limiter.try_acquire(&one("a")).unwrap().unwrap_err();
    assert_eq!(denied.retry_after(), Some(Duration::from_millis(600)));
    assert!(all.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_higher_class_goes_first_and_the_lower_one_goes_too() {
    let limiter = Local::new(per(1, SECOND)).unwrap();
    assert_eq!(admitted(&limiter, one("a"), 1), 1);
    let class = |class| {
        let mut wait = Wait::new(HOUR);
        (wait.class, wait.age) = (class, 10 * SECOND);
        Some(wait)
    };
    let start = Instant::now();
    let done = |limiter: &Local, wait| {
        let acquire = limiter.acquire(one("a"), wait);
        tokio::spawn(async move { acquire.await.map(|_| millis(start)).unwrap() })
    };
    let low = done(&limiter, class(1));
    tokio::task::yield_now().await;
    let high: Vec<_> = (0..30)
        .map(|number| {
            let (limiter, wait) = (limiter.clone(), class(0));
            tokio::spawn(async move {
                sleep(number * SECOND).await;
                limiter.acquire(one("a"), wait).await.map(|_| millis(start)).unwrap()
            })
        })
        .collect();
    let low = low.await.unwrap();
    let high = join_all(high).await;
    let before = high.iter().filter(|at| *at.as_ref().unwrap() < low).count();
    // Those that came within ten seconds of it went before it, and no others.
    assert!((10..=11).contains(&before), "{before} before it, which was at {low} ms");
}

#[tokio::test(start_paused = true)]
async fn a_refund_wakes_the_first_in_line() {
    let limiter = Local::new(buttress_limit::Quota::tokens_per_minute(1_000).unwrap()).unwrap();
    let all = ask("a", tokens(1_000));
    let ticket = limiter.try_acquire(&all).unwrap().unwrap();
    let start = Instant::now();
    let next = tokio::spawn(limiter.acquire(all, waiting(9)));
    sleep(SECOND).await;
    limiter.settle(ticket, &Cost::FREE);
    assert!(next.await.unwrap().is_ok());
    assert_eq!(millis(start), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_debt_makes_those_in_line_wait_longer_and_the_hopeless_leave() {
    let limiter = Local::new(buttress_limit::Quota::tokens_per_minute(600).unwrap()).unwrap();
    let some = |amount| ask("a", tokens(amount));
    let ticket = limiter.try_acquire(&some(600)).unwrap().unwrap();
    let start = Instant::now();
    let patient = tokio::spawn(limiter.acquire(some(100), waiting(9)));
    tokio::task::yield_now().await;
    let hasty = tokio::spawn(limiter.acquire(some(100), Some(Wait::new(25 * SECOND))));
    tokio::task::yield_now().await;
    assert_eq!(limiter.waiting(), 2);
    limiter.settle(ticket, &tokens(900));
    assert!(patient.await.unwrap().is_ok());
    assert!((40_000..40_003).contains(&millis(start)), "{} ms", millis(start));
    let denied = hasty.await.unwrap().unwrap_err();
    assert_eq!(denied.kind(), DeniedKind::WaitTooLong);
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_policy_is_what_those_in_line_wait_by() {
    let rate = |amount| Policy::new([per(amount, SECOND).burst(1).unwrap()]).unwrap();
    let limiter = Local::new(rate(100)).unwrap();
    let times = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let line: Vec<_> = (0..200)
        .map(|_| {
            let (acquire, times) = (limiter.acquire(one("a"), waiting(200)), Arc::clone(&times));
            tokio::spawn(async move {
                assert!(acquire.await.is_ok());
                times.lock().unwrap().push(millis(start));
            })
        })
        .collect();
    sleep(Duration::from_millis(501)).await;
    limiter.reconfigure(Tier::FIRST, &rate(10)).unwrap();
    sleep(Duration::from_secs(2)).await;
    limiter.reconfigure(Tier::FIRST, &rate(100)).unwrap();
    timeout(10 * SECOND, join_all(line)).await.unwrap();
    let times = times.lock().unwrap();
    let within = |from, to| times.iter().filter(|at| (from..to).contains(*at)).count();
    assert_eq!(times.len(), 200, "no wakeup was lost");
    assert!((50..=52).contains(&within(0, 501)), "{}", within(0, 501));
    assert!((19..=22).contains(&within(501, 2_501)), "{}", within(501, 2_501));
    assert!((99..=102).contains(&within(2_501, 3_501)), "{}", within(2_501, 3_501));
    assert!(*times.last().unwrap() < 3_900);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_not_lost_when_the_one_before_it_is_forgotten() {
    // A future that is woken and then leaked without a poll holds up the line, one that is dropped
    // does not, in whatever state it is.
    let limiter = Local::new(per(1, SECOND)).unwrap();
    assert_eq!(admitted(&limiter, one("a"), 1), 1);
    let mut line: Vec<_> = (0..5)
        .map(|_| {
            let mut waiter = Box::pin(limiter.acquire(one("a"), waiting(9)));
            assert!(waiter.as_mut().now_or_never().is_none());
            waiter
        })
        .collect();
    let last = tokio::spawn(line.pop().unwrap());
    tokio::task::yield_now().await;
    advance(SECOND).await;
    // It is the first one's turn, and it never learns of it.
    line.drain(..).for_each(drop);
    assert!(timeout(SECOND / 100, last).await.unwrap().unwrap().is_ok());
}
