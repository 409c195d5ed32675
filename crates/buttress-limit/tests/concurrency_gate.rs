//! Permits by hand: never more than the limit, in order, and none lost, whatever is cancelled and
//! however the limit changes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use buttress_limit::{
    Concurrency, Overloaded,
    concurrency::{Limit, OverloadedKind, Permit, Priority, Wait},
};
use proptest::prelude::*;

fn fixed(limit: usize) -> Concurrency {
    Concurrency::new(Limit::fixed(limit).unwrap())
}

fn patient() -> Wait {
    Wait::fifo().max(Duration::from_secs(3600)).max_queue(10_000)
}

type Waiting = Pin<Box<dyn Future<Output = Result<Permit, Overloaded>>>>;

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A waiter that is polled once at first, and after that only when it was woken.
struct Waiter {
    future: Waiting,
    woken: Arc<Woken>,
}

impl Waiter {
    fn new(limit: &Concurrency) -> Self {
        let limit = limit.clone();
        let future = Box::pin(async move { limit.acquire(patient()).await });
        Self { future, woken: Arc::new(Woken(AtomicBool::new(true))) }
    }

    fn poll(&mut self) -> Option<Permit> {
        if !self.woken.0.swap(false, Ordering::SeqCst) {
            return None;
        }
        let waker = Waker::from(self.woken.clone());
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => Some(result.unwrap()),
            Poll::Pending => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Try,
    Wait,
    /// Lets the waiters that were woken look.
    Look,
    Release(usize),
    Cancel(usize),
    Resize(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Try),
        4 => Just(Step::Wait),
        3 => Just(Step::Look),
        4 => (0..16_usize).prop_map(Step::Release),
        2 => (0..16_usize).prop_map(Step::Cancel),
        1 => (1..6_usize).prop_map(Step::Resize),
    ]
}

proptest! {
    /// A model with a queue and a count says what must be so after each step.
    #[test]
    fn permits_follow_the_model_whatever_happens(steps in prop::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        let _inside = runtime.enter();
        let (limit, mut most) = (fixed(2), 2_usize);
        let mut held: Vec<Permit> = Vec::new();
        let mut line: VecDeque<Waiter> = VecDeque::new();
        for step in steps {
            let before = limit.snapshot().in_flight;
            match step {
                Step::Try => held.extend(limit.try_acquire().ok()),
                Step::Wait => {
                    let mut waiter = Waiter::new(&limit);
                    match waiter.poll() {
                        Some(permit) => held.push(permit),
                        None => line.push_back(waiter),
                    }
                }
                Step::Release(at) if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                Step::Cancel(at) if !line.is_empty() => drop(line.remove(at % line.len())),
                Step::Resize(to) => {
                    limit.set_limit(to).unwrap();
                    most = to;
                }
                Step::Look | Step::Release(_) | Step::Cancel(_) => {}
            }
            let seen = limit.snapshot();
            let waits = |waiter: &Waiter| !waiter.woken.0.load(Ordering::SeqCst);
            // Those that were woken have their place, and are the first in line.
            let waiting = line.iter().filter(|waiter| waits(waiter)).count();
            prop_assert!(line.iter().skip_while(|waiter| !waits(waiter)).all(waits), "in order");
            prop_assert_eq!(seen.waiting, waiting);
            prop_assert_eq!(seen.in_flight as usize, held.len() + line.len() - waiting);
            prop_assert!(seen.in_flight <= before || seen.in_flight as usize <= most);
            prop_assert!(waiting == 0 || seen.in_flight as usize >= most, "a place is free");
            if let Step::Look = step {
                while let Some(permit) = line.front_mut().and_then(Waiter::poll) {
                    line.pop_front();
                    held.push(permit);
                }
            }
        }
        drop(line);
        drop(held);
        let seen = limit.snapshot();
        prop_assert_eq!((seen.in_flight, seen.waiting), (0, 0));
    }
}

/// Real threads, a limit that changes, waiters that give up: the count that the callers keep
/// themselves never passes the highest limit, and every one of them comes to its end.
#[test]
fn under_threads_no_more_are_inside_than_may_be_and_nobody_is_forgotten() {
    const MOST: usize = 5;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let limit = fixed(MOST);
    let inside = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        let calls: Vec<_> = (0..3_000_u64)
            .map(|number| {
                let (limit, inside) = (limit.clone(), inside.clone());
                tokio::spawn(async move {
                    let mut random = fastrand::Rng::with_seed(number);
                    let mut waiting = Box::pin(limit.acquire(patient()));
                    if random.u8(..4) == 0 {
                        // One that gives up: polled once or twice, then dropped.
                        let _ = tokio::time::timeout(Duration::ZERO, &mut waiting).await;
                        return;
                    }
                    let permit = waiting.await.unwrap();
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < MOST);
                    for _ in 0..random.u8(..3) {
                        tokio::task::yield_now().await;
                    }
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                })
            })
            .collect();
        let resizer = tokio::spawn({
            let limit = limit.clone();
            async move {
                let mut random = fastrand::Rng::with_seed(7);
                for _ in 0..500 {
                    limit.set_limit(random.usize(1..=MOST)).unwrap();
                    tokio::task::yield_now().await;
                }
                limit.set_limit(MOST).unwrap();
            }
        });
        let all = async {
            for call in calls {
                call.await.unwrap();
            }
            resizer.await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("a wakeup was lost");
    });
    let seen = limit.snapshot();
    assert_eq!((seen.in_flight, seen.waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_line_refuses_at_once_and_a_wait_ends_when_it_may() {
    let limit = fixed(1);
    let _held = limit.try_acquire().unwrap();
    let wait = Wait::fifo().max(Duration::from_millis(700)).max_queue(1);
    let waiter = tokio::spawn({
        let limit = limit.clone();
        async move { limit.acquire(wait).await }
    });
    tokio::task::yield_now().await;
    let full = limit.acquire(wait).await.unwrap_err();
    assert_eq!(full.kind(), OverloadedKind::QueueFull);
    assert_eq!(full.waited(), Duration::ZERO);
    let late = waiter.await.unwrap().unwrap_err();
    assert_eq!(late.kind(), OverloadedKind::WaitedTooLong);
    assert_eq!(late.waited(), Duration::from_millis(700));
    assert_eq!(limit.snapshot().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_known_to_be_hopeless_is_refused_at_once() {
    let limit = fixed(1);
    // Calls of two seconds, one after the other, with a line behind them.
    let wait = Wait::fifo().max(Duration::from_secs(60));
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let limit = limit.clone();
            tokio::spawn(async move {
                let permit = limit.acquire(wait).await.unwrap();
                tokio::time::sleep(Duration::from_secs(2)).await;
                drop(permit);
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    // Two places have come free, two seconds apart; two wait. A third would wait for 6 seconds.
    let before = tokio::time::Instant::now();
    let short = Wait::fifo().max(Duration::from_secs(5));
    let refused = limit.acquire(short).await.unwrap_err();
    assert_eq!(refused.kind(), OverloadedKind::Hopeless);
    assert_eq!(refused.retry_after(), Duration::from_secs(6));
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert!(limit.acquire(Wait::fifo().max(Duration::from_secs(7))).await.is_ok());
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_slow_long_ago_makes_no_wait_hopeless() {
    let limit = fixed(1);
    let wait = Wait::fifo().max(Duration::from_secs(3600));
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let limit = limit.clone();
            tokio::spawn(async move {
                let permit = limit.acquire(wait).await.unwrap();
                tokio::time::sleep(Duration::from_secs(20)).await;
                drop(permit);
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let held = limit.try_acquire().unwrap();
    let waiter = tokio::spawn({
        let limit = limit.clone();
        async move { limit.acquire(Wait::fifo().max(Duration::from_secs(1))).await }
    });
    tokio::task::yield_now().await;
    drop(held);
    assert!(waiter.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_higher_priority_goes_first_and_a_lower_one_is_not_starved() {
    let limit = Concurrency::<&str>::per_key(Limit::fixed(1).unwrap(), 4).unwrap();
    let held = limit.try_acquire_for(&"a").unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let wait = patient().ageing(Duration::from_secs(1));
    let mut calls = Vec::new();
    for (name, class, pause) in
        [("low", 2, 0), ("first", 0, 100), ("middle", 1, 100), ("first again", 0, 2_500)]
    {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let (limit, order) = (limit.clone(), order.clone());
        calls.push(tokio::spawn(async move {
            let permit = limit.acquire_for(&"a", wait, Priority::new(class)).await.unwrap();
            order.lock().unwrap().push(name);
            drop(permit);
        }));
        tokio::task::yield_now().await;
    }
    drop(held);
    for call in calls {
        call.await.unwrap();
    }
    // The low one counts as come at 2.0 s, the middle one at 1.2 s, the last one came at 2.7 s.
    assert_eq!(*order.lock().unwrap(), ["first", "middle", "low", "first again"]);
}

#[tokio::test(start_paused = true)]
async fn in_a_full_line_one_who_goes_first_takes_the_place_of_the_last() {
    let limit = fixed(1);
    let held = limit.try_acquire().unwrap();
    let wait = patient().max_queue(2);
    let join = |class| {
        let limit = limit.clone();
        tokio::spawn(async move { limit.acquire_for(&(), wait, Priority::new(class)).await })
    };
    let (kept, displaced) = (join(1), join(2));
    tokio::task::yield_now().await;
    let urgent = join(0);
    let refused = displaced.await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), OverloadedKind::QueueFull);
    drop(held);
    drop(urgent.await.unwrap().unwrap());
    drop(kept.await.unwrap().unwrap());
    assert_eq!(limit.snapshot().in_flight, 0);
}

#[test]
fn keys_are_counted_apart_and_are_bounded() {
    let limit = Concurrency::<u32>::per_key(Limit::fixed(1).unwrap(), 3).unwrap();
    let held: Vec<_> = (0..3).map(|key| limit.try_acquire_for(&key).unwrap()).collect();
    assert_eq!(limit.try_acquire_for(&0).unwrap_err().kind(), OverloadedKind::Full);
    assert_eq!(limit.try_acquire_for(&3).unwrap_err().kind(), OverloadedKind::TooManyKeys);
    drop(held);
    for key in 0..1_000 {
        assert!(limit.try_acquire_for(&key).is_ok());
        assert!(limit.keys() <= 3);
    }
}

#[test]
fn a_key_with_calls_under_way_is_not_forgotten_for_others() {
    let limit = Concurrency::<u32>::per_key(Limit::fixed(1).unwrap(), 4).unwrap();
    let _held = limit.try_acquire_for(&0).unwrap();
    for key in 1..10_000 {
        assert!(limit.try_acquire_for(&key).is_ok());
    }
    assert_eq!(limit.try_acquire_for(&0).unwrap_err().kind(), OverloadedKind::Full);
}

#[test]
fn a_new_limit_holds_for_every_key() {
    let limit = Concurrency::<u32>::per_key(Limit::fixed(1).unwrap(), 8).unwrap();
    let _held = limit.try_acquire_for(&0).unwrap();
    limit.set_limit(2).unwrap();
    assert!(limit.try_acquire_for(&0).is_ok());
    assert_eq!(limit.snapshot_of(&5).limit, 2);
    limit.set_limit(1).unwrap();
    assert_eq!(limit.try_acquire_for(&0).unwrap_err().kind(), OverloadedKind::Full);
}

#[test]
fn a_limit_of_none_and_one_too_high_are_refused_by_name() {
    let error = Limit::fixed(0).unwrap_err();
    assert_eq!(error.setting(), "concurrency.limit");
    assert!(Limit::fixed(1 << 31).is_err());
    assert!(fixed(1).set_limit(0).is_err());
    assert!(Concurrency::<u32>::per_key(Limit::fixed(1).unwrap(), 0).is_err());
}
