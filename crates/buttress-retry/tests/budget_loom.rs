//! The budget's bucket and queue under every interleaving that loom can find.
//!
//! The files are taken in by path and stand on loom's primitives instead of the standard ones, so
//! that no `--cfg loom` is needed, which would change tokio and other dependencies as well.

#[path = "../src/budget/bucket.rs"]
#[allow(dead_code, reason = "not every step has a model of its own")]
mod bucket;
#[path = "../src/budget/queue.rs"]
#[allow(dead_code, reason = "not every step has a model of its own")]
mod queue;
#[path = "../src/budget/terms.rs"]
#[allow(dead_code, reason = "not every rule has a model of its own")]
mod terms;
#[path = "../src/budget/word.rs"]
#[allow(dead_code, reason = "not every step has a model of its own")]
mod word;

mod sync {
    pub(super) use loom::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };
}

use std::{
    sync::Arc as StdArc,
    task::{Wake, Waker},
};

use loom::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use self::{
    bucket::Bucket,
    queue::{Queue, Turn},
    terms::{Floor, Rule, TOKEN, Terms},
};

fn terms(tokens: u64) -> Terms {
    Terms { rule: Rule::Spend, capacity: tokens * TOKEN, per_success: TOKEN, floor: Floor::NONE }
}

/// A budget of one token that is spent.
fn empty_queue() -> Queue {
    let terms = terms(1);
    let queue = Queue::new(terms, 8);
    assert!(queue.take(0, terms.claim(TOKEN)));
    queue
}

/// A waker that remembers being called.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: StdArc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Flag {
    fn new() -> StdArc<Self> {
        StdArc::new(Self(AtomicBool::new(false)))
    }

    fn raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn threads_never_take_more_than_there_is() {
    loom::model(|| {
        let terms = terms(2);
        let bucket = Arc::new(Bucket::new(terms));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let bucket = bucket.clone();
                thread::spawn(move || (0..2).filter(|_| bucket.take(0, terms.claim(TOKEN))).count())
            })
            .collect();
        let mine = usize::from(bucket.take(0, terms.claim(TOKEN)));
        let theirs: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(mine + theirs, 2);
        assert_eq!(bucket.balance(0), 0);
    });
}

#[test]
fn a_refund_returns_exactly_what_was_taken() {
    loom::model(|| {
        let terms = terms(4);
        let bucket = Arc::new(Bucket::new(terms));
        bucket.debit(3 * TOKEN);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let bucket = bucket.clone();
                thread::spawn(move || {
                    let claim = terms.claim(TOKEN);
                    if bucket.take(0, claim) {
                        bucket.credit(claim.take);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(bucket.balance(0), TOKEN);
    });
}

#[test]
fn deposits_at_the_cap_are_lost_and_below_it_are_kept() {
    loom::model(|| {
        let terms = terms(2);
        let bucket = Arc::new(Bucket::new(terms));
        assert!(bucket.take(0, terms.claim(TOKEN)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let bucket = bucket.clone();
                thread::spawn(move || bucket.credit(TOKEN / 2))
            })
            .collect();
        bucket.credit(TOKEN / 2);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(bucket.balance(0), 2 * TOKEN, "half a token of the three halves is lost");
    });
}

#[test]
fn a_deposit_beside_a_withdrawal_is_never_overwritten() {
    loom::model(|| {
        let terms = terms(3);
        let bucket = Arc::new(Bucket::new(terms));
        bucket.debit(2 * TOKEN);
        let (one, two) = (bucket.clone(), bucket.clone());
        let adds = thread::spawn(move || one.credit(TOKEN));
        let removes = thread::spawn(move || two.debit(TOKEN));
        adds.join().unwrap();
        removes.join().unwrap();
        assert_eq!(bucket.balance(0), TOKEN);
    });
}

#[test]
fn a_span_of_time_is_refilled_once_whoever_sees_it_first() {
    loom::model(|| {
        let terms = Terms { floor: Floor::new(TOKEN, 1_000), ..terms(4) };
        let bucket = Arc::new(Bucket::new(terms));
        assert!(bucket.take(0, terms.claim(4 * TOKEN)));
        // The second thread's clock is behind.
        let threads: Vec<_> = [2_000, 1_999]
            .map(|now| {
                let bucket = bucket.clone();
                thread::spawn(move || {
                    (0..2).filter(|_| bucket.take(now, terms.claim(TOKEN))).count()
                })
            })
            .into_iter()
            .collect();
        let taken: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert!((1..=2).contains(&taken), "{taken} of 2 tokens");
        let left = bucket.balance(2_000);
        assert_eq!(taken as u64 * TOKEN + left, 2 * TOKEN);
    });
}

/// One waiter that polls with each of `wakers` in turn, beside one deposit.
fn wait_beside_a_deposit(wakers: usize) {
    loom::model(move || {
        let queue = Arc::new(empty_queue());
        let depositor = {
            let queue = queue.clone();
            thread::spawn(move || queue.credit(TOKEN))
        };
        let claim = queue.terms().claim(TOKEN);
        let (mut ticket, mut turn) = (None, Turn::Later(None));
        let mut last = Flag::new();
        for _ in 0..wakers {
            if turn != Turn::Granted {
                last = Flag::new();
                turn = queue.poll(&mut ticket, claim, 0, &Waker::from(last.clone()));
            }
        }
        assert!(depositor.join().is_ok());
        if turn != Turn::Granted {
            assert!(last.raised(), "the wakeup is lost");
            turn = queue.poll(&mut ticket, claim, 0, Waker::noop());
        }
        assert_eq!(turn, Turn::Granted);
        assert_eq!((queue.waiters(), queue.balance(0)), (0, 0));
    });
}

#[test]
fn a_deposit_always_reaches_the_head_of_the_line() {
    wait_beside_a_deposit(1);
}

#[test]
fn a_deposit_wakes_the_task_that_polled_last() {
    wait_beside_a_deposit(2);
}

#[test]
fn a_head_that_goes_away_during_a_deposit_leaves_the_token_to_the_next() {
    loom::model(|| {
        let queue = Arc::new(empty_queue());
        let claim = queue.terms().claim(TOKEN);
        let (first, second) = (Flag::new(), Flag::new());
        let (mut head, mut next) = (None, None);
        let _ = queue.poll(&mut head, claim, 0, &Waker::from(first));
        let _ = queue.poll(&mut next, claim, 0, &Waker::from(second.clone()));
        let depositor = {
            let queue = queue.clone();
            thread::spawn(move || queue.credit(TOKEN))
        };
        queue.leave(head.unwrap());
        depositor.join().unwrap();
        assert!(second.raised());
        let turn = queue.poll(&mut next, claim, 0, &Waker::noop().clone());
        assert_eq!(turn, Turn::Granted);
        assert!(!queue.take(0, claim));
    });
}

#[test]
fn a_newcomer_never_takes_the_token_of_one_who_waits() {
    loom::model(|| {
        let queue = Arc::new(empty_queue());
        let claim = queue.terms().claim(TOKEN);
        let (flag, mut ticket) = (Flag::new(), None);
        let waker = Waker::from(flag.clone());
        let _ = queue.poll(&mut ticket, claim, 0, &waker);
        let newcomer = {
            let queue = queue.clone();
            thread::spawn(move || queue.take(0, claim))
        };
        queue.credit(TOKEN);
        assert!(flag.raised());
        let turn = queue.poll(&mut ticket, claim, 0, &waker);
        assert_eq!(turn, Turn::Granted);
        assert!(!newcomer.join().unwrap());
    });
}

#[test]
fn the_line_opens_again_once_the_last_one_leaves() {
    loom::model(|| {
        let queue = Arc::new(empty_queue());
        let claim = queue.terms().claim(TOKEN);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || {
                    let mut ticket = None;
                    let _ = queue.poll(&mut ticket, claim, 0, Waker::noop());
                    queue.leave(ticket.unwrap());
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        queue.credit(TOKEN);
        assert!(queue.take(0, claim));
    });
}
