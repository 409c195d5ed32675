//! The gate under every interleaving that loom can find: never more in flight than the limit, and
//! nobody waits while a place is free.
//!
//! The files are taken in by path and stand on loom's primitives instead of the standard ones, so
//! that no `--cfg loom` is needed, which would change tokio and other dependencies as well.

#[path = "../src/concurrency/gate.rs"]
#[allow(dead_code, reason = "not every step has a model of its own")]
mod gate;
#[path = "../src/concurrency/line.rs"]
#[allow(dead_code, reason = "not every step has a model of its own")]
mod line;
#[path = "../src/concurrency/word.rs"]
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
    task::{Poll, Wake, Waker},
};

use loom::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use self::{
    gate::{Gate, Joined},
    line::Ticket,
};

struct Flag(AtomicUsize);

impl Wake for Flag {
    fn wake(self: StdArc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn flag() -> (StdArc<Flag>, Waker) {
    let flag = StdArc::new(Flag(AtomicUsize::new(0)));
    (flag.clone(), Waker::from(flag))
}

fn woken(flag: &Flag) -> bool {
    flag.0.load(Ordering::SeqCst) > 0
}

fn join(gate: &Gate, rank: u64) -> Option<Ticket> {
    match gate.join(rank, 8, u64::MAX, 0, &mut None) {
        Joined::Entered => None,
        Joined::Waiting(ticket) => Some(ticket),
        refused => panic!("{refused:?}"),
    }
}

const ALL: fn(u32) -> u32 = |limit| limit;

#[test]
fn who_waits_is_let_in_by_who_leaves() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(1));
        assert!(gate.try_enter(ALL));
        let leaver = {
            let gate = gate.clone();
            thread::spawn(move || gate.exit(|| 0))
        };
        let (flag, waker) = flag();
        let ticket = join(&gate, 0);
        let at_once = ticket.is_none_or(|ticket| gate.poll(ticket, &waker).is_ready());
        leaver.join().unwrap();
        if !at_once {
            assert!(woken(&flag), "nobody else would wake it");
            assert_eq!(gate.poll(ticket.unwrap(), &waker), Poll::Ready(true));
        }
        assert_eq!(gate.look().in_flight(), 1);
        assert!(!gate.look().has_waiting());
    });
}

#[test]
fn two_never_hold_the_one_place_and_the_second_comes_to_it() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(1));
        let inside = Arc::new(AtomicUsize::new(0));
        let visit = |gate: &Gate, inside: &AtomicUsize| {
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "alone");
            inside.fetch_sub(1, Ordering::SeqCst);
            gate.exit(|| 0);
        };
        let other = {
            let (gate, inside) = (gate.clone(), inside.clone());
            thread::spawn(move || {
                if gate.try_enter(ALL) {
                    visit(&gate, &inside);
                }
            })
        };
        let (flag, waker) = flag();
        let ticket = join(&gate, 0);
        let entered = ticket.is_none_or(|ticket| gate.poll(ticket, &waker).is_ready());
        if entered {
            visit(&gate, &inside);
        }
        other.join().unwrap();
        if !entered {
            assert!(woken(&flag));
            assert_eq!(gate.poll(ticket.unwrap(), &waker), Poll::Ready(true));
            visit(&gate, &inside);
        }
        assert_eq!(gate.look().in_flight(), 0);
    });
}

#[test]
fn a_place_given_to_one_who_goes_away_goes_to_the_next() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(1));
        assert!(gate.try_enter(ALL));
        let first = join(&gate, 0).unwrap();
        let second = join(&gate, 0).unwrap();
        let (flag, waker) = flag();
        assert!(gate.poll(second, &waker).is_pending());
        let leaver = {
            let gate = gate.clone();
            thread::spawn(move || gate.exit(|| 0))
        };
        gate.leave(first, || 0);
        leaver.join().unwrap();
        assert!(woken(&flag));
        assert_eq!(gate.poll(second, &waker), Poll::Ready(true));
        assert_eq!(gate.look().in_flight(), 1);
        assert!(!gate.look().has_waiting());
    });
}

#[test]
fn a_higher_limit_and_one_who_leaves_let_in_two() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(1));
        assert!(gate.try_enter(ALL));
        let tickets = [join(&gate, 0).unwrap(), join(&gate, 0).unwrap()];
        let leaver = {
            let gate = gate.clone();
            thread::spawn(move || gate.exit(|| 0))
        };
        gate.set_limit(2, || 0);
        leaver.join().unwrap();
        for ticket in tickets {
            assert_eq!(gate.poll(ticket, Waker::noop()), Poll::Ready(true));
        }
        assert_eq!(gate.look().in_flight(), 2);
    });
}

#[test]
fn a_lower_limit_holds_from_the_next_one_on() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(2));
        assert!(gate.try_enter(ALL) && gate.try_enter(ALL));
        let lowers = {
            let gate = gate.clone();
            thread::spawn(move || gate.set_limit(1, || 0))
        };
        let ticket = join(&gate, 0).unwrap();
        gate.exit(|| 0);
        assert_eq!(lowers.join().unwrap(), 2);
        let admitted = gate.poll(ticket, Waker::noop()).is_ready();
        // It was let in before the limit was lowered, or it waits: one is in flight and may be.
        assert_eq!(gate.look().in_flight(), if admitted { 2 } else { 1 });
        gate.exit(|| 0);
        assert!(admitted || gate.poll(ticket, Waker::noop()).is_ready());
    });
}
