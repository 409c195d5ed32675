//! The line of those who wait and the count of those in flight, under every interleaving that loom
//! can find: no place stays free while somebody waits for it.
//!
//! As in `health_loom.rs`, the files are taken in by path and stand on loom's primitives.

#[path = "../src/load.rs"]
#[allow(dead_code, reason = "not every step has a model of its own")]
mod load;
#[path = "../src/queue.rs"]
#[allow(dead_code, reason = "not every step has a model of its own")]
mod queue;

/// loom takes a sequentially consistent access for an acquiring and releasing one, which the
/// handshake between the line and the count does not get by with; its fences are the real thing.
mod sync {
    pub(super) use std::sync::PoisonError;

    use loom::sync::atomic::{self, fence};
    pub(super) use loom::sync::{Mutex, MutexGuard, atomic::Ordering};

    #[derive(Debug, Default)]
    pub(super) struct AtomicUsize(atomic::AtomicUsize);

    impl AtomicUsize {
        pub(super) fn load(&self, order: Ordering) -> usize {
            fence(Ordering::SeqCst);
            self.0.load(order)
        }

        pub(super) fn store(&self, value: usize, order: Ordering) {
            self.0.store(value, order);
            fence(Ordering::SeqCst);
        }
    }

    #[derive(Debug)]
    pub(super) struct AtomicU64(atomic::AtomicU64);

    impl AtomicU64 {
        pub(super) fn new(value: u64) -> Self {
            Self(atomic::AtomicU64::new(value))
        }

        pub(super) fn load(&self, order: Ordering) -> u64 {
            fence(Ordering::SeqCst);
            self.0.load(order)
        }

        pub(super) fn compare_exchange_weak(
            &self,
            old: u64,
            new: u64,
            done: Ordering,
            not: Ordering,
        ) -> Result<u64, u64> {
            self.0.compare_exchange_weak(old, new, done, not)
        }

        pub(super) fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
            let before = self.0.fetch_sub(value, order);
            fence(Ordering::SeqCst);
            before
        }
    }
}

use std::{sync::Arc as Shared, task::Wake};

use loom::{
    sync::{Arc, Notify},
    thread,
};

use self::{load::Load, queue::Line};

#[derive(Default)]
struct Called(Notify);

impl Wake for Called {
    fn wake(self: Shared<Self>) {
        self.0.notify();
    }
}

struct Endpoints {
    line: Line,
    places: [Load; 2],
}

impl Endpoints {
    fn full() -> Arc<Self> {
        let places = [Load::new(), Load::new()];
        places.iter().for_each(|place| assert!(place.take(1)));
        Arc::new(Self { line: Line::default(), places })
    }

    /// As the end of a call.
    fn release(&self, place: usize) {
        self.places[place].release();
        self.line.released();
    }

    /// As a call that waits until it has one of `usable`. It ends only if whoever makes a place lets
    /// it know.
    fn wait(&self, since: u64, usable: &[usize]) -> usize {
        let called = Shared::new(Called::default());
        let waker = Shared::clone(&called).into();
        let Some(ticket) = self.line.join(9, since) else { unreachable!("there is room for nine") };
        loop {
            if self.line.poll(ticket, &waker) {
                if let Some(&got) = usable.iter().find(|&&place| self.places[place].take(1)) {
                    self.line.leave(ticket);
                    return got;
                }
                if self.places.iter().any(|place| place.in_flight_now() < 1) {
                    self.line.pass(ticket);
                }
            }
            called.0.wait();
        }
    }
}

/// Three threads have too many interleavings to see them all; three preemptions find most that is wrong.
fn bounded(check: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(check);
}

#[test]
fn whoever_waits_gets_the_place_that_a_call_leaves() {
    loom::model(|| {
        let endpoints = Endpoints::full();
        let waits = {
            let endpoints = Arc::clone(&endpoints);
            thread::spawn(move || endpoints.wait(0, &[0]))
        };
        endpoints.release(0);
        assert_eq!(waits.join().unwrap(), 0);
        assert_eq!(endpoints.line.len(), 0);
    });
}

#[test]
fn two_who_wait_get_the_two_places() {
    bounded(|| {
        let endpoints = Endpoints::full();
        let waits: Vec<_> = (0..2)
            .map(|since| {
                let endpoints = Arc::clone(&endpoints);
                thread::spawn(move || endpoints.wait(since, &[0, 1]))
            })
            .collect();
        endpoints.release(0);
        endpoints.release(1);
        let mut got: Vec<_> = waits.into_iter().map(|waits| waits.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [0, 1]);
    });
}

#[test]
fn a_place_of_no_use_to_the_head_goes_to_the_next() {
    bounded(|| {
        let endpoints = Endpoints::full();
        let choosy = {
            let endpoints = Arc::clone(&endpoints);
            thread::spawn(move || endpoints.wait(0, &[1]))
        };
        let any = {
            let endpoints = Arc::clone(&endpoints);
            thread::spawn(move || {
                let got = endpoints.wait(1, &[0]);
                endpoints.release(1);
                got
            })
        };
        endpoints.release(0);
        assert_eq!(any.join().unwrap(), 0);
        assert_eq!(choosy.join().unwrap(), 1);
    });
}
