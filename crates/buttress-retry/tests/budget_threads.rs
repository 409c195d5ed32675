//! The budget under real threads: every history is one that some order of whole steps explains.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use buttress_retry::{Budget, Cost};
use proptest::prelude::*;

/// No floor, so that time plays no part.
fn budget(percent: f64, burst: u32) -> Budget {
    Budget::percent(percent)
        .and_then(|budget| budget.floor_per_sec(0))
        .and_then(|budget| budget.burst(burst))
        .unwrap_or_else(|error| panic!("{error}"))
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Deposit,
    Spend(Cost),
    Balance,
}

/// A step, when it began and ended, and what came of it.
#[derive(Clone, Copy, Debug)]
struct Event {
    step: Step,
    begin: u64,
    end: u64,
    result: u32,
}

const SHARE: u32 = 700;
const BURST: u32 = 2_000;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Deposit),
        2 => Just(Step::Spend(Cost::TRANSIENT)),
        1 => Just(Step::Spend(Cost::TIMEOUT)),
        2 => (1_u32..900).prop_map(|milli| Step::Spend(Cost::from_milli_tokens(milli))),
        1 => Just(Step::Balance),
    ]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 2000")]
fn run(budget: &Budget, step: Step) -> u32 {
    match step {
        Step::Deposit => {
            budget.deposit();
            0
        }
        Step::Spend(cost) => match budget.reserve(cost) {
            Some(reservation) => {
                reservation.spend();
                1
            }
            None => 0,
        },
        Step::Balance => (budget.balance() * 1_000.0).round() as u32,
    }
}

/// The budget as a single thread would have it: the balance after a step and the step's result.
fn model(balance: u32, step: Step) -> (u32, u32) {
    match step {
        Step::Deposit => ((balance + SHARE).min(BURST), 0),
        Step::Spend(cost) if balance >= cost.milli_tokens() => (balance - cost.milli_tokens(), 1),
        Step::Spend(_) => (balance, 0),
        Step::Balance => (balance, balance),
    }
}

/// Whether some order of the events, in which none goes before one that had ended when it began,
/// gives every event the result it had and leaves `last` tokens.
fn explained(balance: u32, left: &mut Vec<Event>, last: u32) -> bool {
    if left.is_empty() {
        return balance == last;
    }
    let first_end = left.iter().map(|event| event.end).min().unwrap_or(0);
    for index in 0..left.len() {
        let event = left[index];
        let (after, result) = model(balance, event.step);
        if event.begin > first_end || result != event.result {
            continue;
        }
        left.swap_remove(index);
        if explained(after, left, last) {
            return true;
        }
        left.push(event);
        let end = left.len() - 1;
        left.swap(index, end);
    }
    false
}

fn history(budget: &Budget, programs: Vec<Vec<Step>>) -> Vec<Event> {
    let clock = AtomicU64::new(0);
    let start = Barrier::new(programs.len());
    thread::scope(|scope| {
        let (clock, start) = (&clock, &start);
        let threads: Vec<_> = programs
            .into_iter()
            .map(|program| {
                scope.spawn(move || {
                    start.wait();
                    let timed = |step| {
                        let begin = clock.fetch_add(1, Ordering::SeqCst);
                        let result = run(budget, step);
                        let end = clock.fetch_add(1, Ordering::SeqCst);
                        Event { step, begin, end, result }
                    };
                    program.into_iter().map(timed).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn every_history_is_linearizable(
        programs in prop::collection::vec(prop::collection::vec(step(), 1..6), 3),
    ) {
        let budget = budget(70.0, 2);
        let mut events = history(&budget, programs);
        let last = run(&budget, Step::Balance);
        let shown = format!("{events:?}");
        prop_assert!(explained(BURST, &mut events, last), "nothing explains {shown}, {last} left");
    }
}

#[test]
fn the_check_itself_refuses_what_cannot_be() {
    let spend = |begin, end, result| Event { step: Step::Spend(Cost::TIMEOUT), begin, end, result };
    assert!(explained(BURST, &mut vec![spend(0, 3, 1), spend(1, 2, 0)], 0));
    assert!(!explained(BURST, &mut vec![spend(0, 3, 1), spend(1, 2, 1)], 0), "overdrawn");
    assert!(!explained(BURST, &mut vec![spend(0, 1, 0), spend(2, 3, 1)], 0), "refused too early");
}

#[test]
fn no_token_is_lost_or_made_by_threads_that_race() {
    const THREADS: u64 = 4;
    const ROUNDS: u32 = 50_000;
    // Half full, so that neither end of the bucket is ever reached.
    let budget = budget(100.0, 100_000);
    (0..25_000).for_each(|_| budget.reserve(Cost::TIMEOUT).unwrap().spend());
    let (spent, deposits) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let (budget, spent, deposits) = (&budget, &spent, &deposits);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..ROUNDS {
                    let reservation = budget.reserve(Cost::TRANSIENT).unwrap();
                    if random.bool() {
                        reservation.spend();
                        spent.fetch_add(1, Ordering::Relaxed);
                    }
                    // As many deposits as spendings, on average.
                    if random.bool() {
                        budget.deposit();
                        deposits.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (spent, deposits) = (spent.into_inner(), deposits.into_inner());
    assert!(spent > 90_000 && deposits > 90_000);
    assert_eq!(budget.balance(), 50_000.0 + f64::from(deposits) - f64::from(spent));
}

#[test]
fn threads_that_race_for_the_last_tokens_never_get_more_than_there_are() {
    for _ in 0..200 {
        let budget = budget(20.0, 5);
        let start = Barrier::new(4);
        let granted = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..5 {
                        if let Some(reservation) = budget.reserve(Cost::TRANSIENT) {
                            reservation.spend();
                            granted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(granted.into_inner(), 5);
    }
}

/// Polls once, and drops the future if that was not enough.
fn impatient(budget: &Budget) -> bool {
    let mut wait = pin!(budget.wait(Cost::TRANSIENT));
    match wait.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(reservation)) => {
            reservation.spend();
            true
        }
        Poll::Ready(Err(_)) | Poll::Pending => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_waiter_is_forgotten_while_others_come_and_go() {
    const WAITERS: u32 = 400;
    let budget = budget(100.0, 1_000);
    while let Some(reservation) = budget.reserve(Cost::TRANSIENT) {
        reservation.spend();
    }
    let stolen = Arc::new(AtomicU32::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..WAITERS {
        let (mine, theirs, stolen) = (budget.clone(), budget.clone(), stolen.clone());
        tasks.spawn(async move {
            mine.wait(Cost::TRANSIENT).await.unwrap().spend();
        });
        tasks.spawn(async move {
            stolen.fetch_add(u32::from(impatient(&theirs)), Ordering::SeqCst);
            theirs.deposit();
        });
    }
    // Whoever hangs is a lost wakeup; what the impatient took is paid back.
    let all = async {
        let mut paid = 0;
        while !tasks.is_empty() {
            while let Some(done) = tasks.try_join_next() {
                done.unwrap();
            }
            while paid < stolen.load(Ordering::SeqCst) {
                budget.deposit();
                paid += 1;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    assert_eq!((budget.balance(), budget.waiters()), (0.0, 0));
}
