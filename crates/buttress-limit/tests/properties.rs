//! What holds whatever happens, in whatever order.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_limit::{Ask, Cost, Key, Limiter, Local, Policy, Quota, Ticket, Tier, Unit, Wait};
use common::tokens;
use proptest::prelude::*;
use tokio::time::{Instant, advance, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
enum Step {
    Take(u64),
    Wait(u64, u64),
    Drop(usize),
    Settle(usize, u64),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..40_u64).prop_map(Step::Take),
        3 => (0..40_u64, 1..20_000_u64).prop_map(|(cost, most)| Step::Wait(cost, most)),
        1 => any::<usize>().prop_map(Step::Drop),
        2 => (any::<usize>(), 0..60_u64).prop_map(|(which, cost)| Step::Settle(which, cost)),
        4 => (0..3_000_u64).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..120)
}

fn paused(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test);
}

/// When something was admitted, and what it was charged or came to in the end.
type Admissions = Arc<Mutex<Vec<(Instant, u64)>>>;

async fn play(limiter: &Local, steps: Vec<Step>, settle: bool) -> Admissions {
    let admissions: Admissions = Arc::default();
    let (mut tickets, mut waiters) = (Vec::<Ticket>::new(), VecDeque::new());
    let ask = |cost| Ask::new(Key::GLOBAL, tokens(cost).with(Unit::Requests, 0));
    for step in steps {
        match step {
            Step::Take(cost) => {
                if let Ok(ticket) = limiter.try_acquire(&ask(cost)).unwrap() {
                    admissions.lock().unwrap().push((Instant::now(), cost));
                    tickets.push(ticket);
                }
            }
            Step::Wait(cost, most) => {
                let wait = Some(Wait::new(Duration::from_millis(most)));
                let (acquire, seen) = (limiter.acquire(ask(cost), wait), Arc::clone(&admissions));
                waiters.push_back(tokio::spawn(async move {
                    if acquire.await.is_ok() {
                        seen.lock().unwrap().push((Instant::now(), cost));
                    }
                }));
                tokio::task::yield_now().await;
            }
            Step::Drop(which) if !waiters.is_empty() => {
                let which = which % waiters.len();
                waiters[which].abort();
                tokio::task::yield_now().await;
            }
            Step::Settle(which, actual) if settle && !tickets.is_empty() => {
                let ticket = tickets.swap_remove(which % tickets.len());
                limiter.settle(ticket, &tokens(actual).with(Unit::Requests, 0));
            }
            Step::Pass(millis) => sleep(Duration::from_millis(millis)).await,
            Step::Drop(_) | Step::Settle(..) => {}
        }
    }
    // Nobody waits forever: whoever is in line has a deadline, and is admitted or refused by then.
    for waiter in waiters {
        let ended = timeout(Duration::from_secs(600), waiter).await;
        assert!(ended.is_ok(), "a wakeup was lost");
    }
    assert_eq!(limiter.waiting(), 0);
    admissions
}

fn most_in_any(admissions: &Admissions, window: Duration) -> u64 {
    let mut all = admissions.lock().unwrap().clone();
    all.sort_unstable();
    let within = |start: Instant| {
        let in_it = all.iter().filter(move |(at, _)| *at >= start && *at < start + window);
        in_it.map(|(_, cost)| cost).sum::<u64>()
    };
    all.iter().map(|(at, _)| within(*at)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_strict_window_is_ever_exceeded(
        amount in 1..200_u64,
        part in 1..=100_u64,
        millis in 200..30_000_u64,
        steps in steps(),
    ) {
        let window = Duration::from_millis(millis);
        let burst = (amount * part / 100).max(1);
        let quota = Quota::of(Unit::Tokens, amount, window).unwrap();
        let limiter = Local::new(quota.burst(burst).unwrap().strict().unwrap()).unwrap();
        paused(async {
            let admissions = play(&limiter, steps, false).await;
            let most = most_in_any(&admissions, window);
            assert!(most <= amount, "{most} in {window:?}");
        });
    }

    #[test]
    fn no_time_sees_more_than_the_burst_and_what_comes_back_in_it(
        amount in 1..200_u64,
        burst in 1..100_u64,
        steps in steps(),
    ) {
        let quota = Quota::of(Unit::Tokens, amount, 10 * SECOND).unwrap();
        let limiter = Local::new(quota.burst(burst).unwrap()).unwrap();
        paused(async {
            let admissions = play(&limiter, steps, false).await;
            for millis in [1_000_u64, 5_000, 20_000] {
                let most = most_in_any(&admissions, Duration::from_millis(millis));
                // A waiter may be 5 ms late without losing its place.
                let bound = burst + (amount * (millis + 5)).div_ceil(10_000);
                assert!(most <= bound, "{most} in {millis} ms, {bound} may");
            }
        });
    }

    #[test]
    fn no_refund_banks_more_than_a_burst(
        burst in 1..100_u64,
        steps in steps(),
        refunds in 1..20_usize,
    ) {
        let quota = Quota::of(Unit::Tokens, 100, 10 * SECOND).unwrap().burst(burst).unwrap();
        let limiter = Local::new(quota).unwrap();
        paused(async {
            play(&limiter, steps, true).await;
            for _ in 0..refunds {
                // A charge that no limiter ever made.
                let ask = Ask::new(Key::GLOBAL, tokens(u64::MAX).with(Unit::Requests, 0));
                limiter.settle(Ticket::new(ask), &Cost::FREE);
            }
            let one = Ask::new(Key::GLOBAL, tokens(1).with(Unit::Requests, 0));
            let taken = (0..1_000).filter(|_| limiter.try_acquire(&one).unwrap().is_ok()).count();
            assert_eq!(taken as u64, burst);
        });
    }

    #[test]
    fn several_windows_are_charged_together_or_not_at_all(
        amounts in proptest::collection::vec((1..50_u64, 1..60_u64), 2..5),
        costs in proptest::collection::vec((0..20_u64, 0..4_000_u64), 1..60),
    ) {
        let quotas = amounts.iter().map(|(amount, seconds)| {
            let quota = Quota::of(Unit::Tokens, *amount, Duration::from_secs(*seconds)).unwrap();
            quota.named(&format!("{amount} in {seconds}")).unwrap()
        });
        let together = Policy::new(quotas.clone());
        prop_assume!(together.is_ok());
        let together = Local::new(together.unwrap()).unwrap();
        let apart: Vec<_> = quotas.map(|quota| Local::new(quota).unwrap()).collect();
        paused(async {
            for (cost, millis) in costs {
                let ask = Ask::new(Key::GLOBAL, tokens(cost).with(Unit::Requests, 0));
                let tickets: Vec<_> =
                    apart.iter().map(|limiter| limiter.try_acquire(&ask).unwrap()).collect();
                let all = tickets.iter().all(Result::is_ok);
                assert_eq!(together.try_acquire(&ask).unwrap().is_ok(), all);
                for (limiter, ticket) in apart.iter().zip(tickets) {
                    if let (false, Ok(ticket)) = (all, ticket) {
                        limiter.settle(ticket, &Cost::FREE);
                    }
                }
                for (window, limiter) in apart.iter().enumerate() {
                    let alone = limiter.peek(&ask).unwrap().standings()[0];
                    assert_eq!(together.peek(&ask).unwrap().standings()[window], alone);
                }
                advance(Duration::from_millis(millis)).await;
            }
        });
    }

    #[test]
    fn no_wakeup_is_lost_when_policies_change(
        steps in steps(),
        rates in proptest::collection::vec(1..500_u64, 1..6),
    ) {
        let policy = |rate| {
            let quota = Quota::of(Unit::Tokens, rate, SECOND).unwrap();
            Policy::new([quota.burst(50).unwrap().named("same").unwrap()]).unwrap()
        };
        let limiter = Local::new(policy(10)).unwrap();
        paused(async {
            let other = limiter.clone();
            let changes = tokio::spawn(async move {
                for rate in rates {
                    sleep(SECOND / 3).await;
                    other.reconfigure(Tier::FIRST, &policy(rate)).unwrap();
                }
            });
            play(&limiter, steps, true).await;
            changes.await.unwrap();
        });
    }
}

#[test]
fn many_threads_at_once_admit_no_more_than_the_burst() {
    let limiter = Local::new(Quota::per_day(1_000).unwrap()).unwrap();
    let ask = Ask::new(Key::GLOBAL, Cost::request());
    let counts = std::thread::scope(|scope| {
        let tasks: Vec<_> =
            (0..8).map(|_| scope.spawn(|| common::admitted(&limiter, ask, 10_000))).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).sum::<usize>()
    });
    assert_eq!(counts, 1_000);
}
