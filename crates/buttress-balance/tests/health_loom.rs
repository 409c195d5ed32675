//! The health word, the probe and the in-flight count under every interleaving that loom can find.
//!
//! The files are taken in by path and stand on loom's primitives instead of the standard ones, so
//! that no `--cfg loom` is needed, which would change tokio and other dependencies as well.

#[path = "../src/health/cell.rs"]
#[allow(dead_code, reason = "not every step has a model of its own")]
mod cell;
#[path = "../src/load.rs"]
#[allow(dead_code, reason = "not every step has a model of its own")]
mod load;
#[path = "../src/health/word.rs"]
#[allow(dead_code, reason = "not every step has a model of its own")]
mod word;

mod sync {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
}

use loom::{sync::Arc, thread};

use self::{
    cell::{Cell, Failed, Succeeded},
    load::Load,
    word::State,
};

const BASE: u64 = 1_000;

fn ejected() -> Arc<Cell> {
    let cell = Cell::new(0);
    assert_eq!(cell.eject(0, 0, BASE, |count| count * BASE), Some(BASE));
    Arc::new(cell)
}

#[test]
fn one_of_several_callers_tries_an_endpoint_that_is_due() {
    loom::model(|| {
        let cell = ejected();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let cell = cell.clone();
                thread::spawn(move || cell.probe(BASE, BASE).is_some())
            })
            .collect();
        let mine = cell.probe(BASE, BASE).is_some();
        let theirs = threads.into_iter().map(|t| t.join().unwrap());
        let won = theirs.filter(|&won| won).count() + usize::from(mine);
        assert_eq!(won, 1);
    });
}

#[test]
fn a_probe_that_is_given_back_can_be_taken_again_and_only_by_one() {
    loom::model(|| {
        let cell = ejected();
        let epoch = cell.probe(BASE, BASE).unwrap();
        let taker = {
            let cell = cell.clone();
            thread::spawn(move || cell.probe(BASE, BASE))
        };
        assert!(cell.give_back(epoch));
        let mine = cell.probe(BASE, BASE);
        let theirs = taker.join().unwrap();
        assert!(mine.is_some() != theirs.is_some(), "{mine:?} {theirs:?}");
        assert_eq!(cell.word().state, State::Probed);
        assert!(!cell.give_back(epoch), "the first one is over");
    });
}

#[test]
fn a_success_beside_failures_never_loses_an_ejection_nor_lifts_it() {
    loom::model(|| {
        let cell = Arc::new(Cell::new(0));
        let failing = {
            let cell = cell.clone();
            thread::spawn(move || {
                let mut out = None;
                for _ in 0..2 {
                    if cell.fail(0) == Failed::Run(2) {
                        out = cell.eject(0, 5, BASE, |count| count * BASE);
                    }
                }
                out
            })
        };
        let succeeded = cell.succeed(0, 5);
        let out = failing.join().unwrap();
        assert_ne!(succeeded, Succeeded::Readmitted);
        let state = cell.word().state;
        assert_eq!(state == State::Ejected, out.is_some());
    });
}

#[test]
fn a_probe_that_ends_beside_late_answers_ends_as_it_said() {
    for good in [true, false] {
        loom::model(move || {
            let cell = ejected();
            let epoch = cell.probe(BASE, BASE).unwrap();
            let late = {
                let cell = cell.clone();
                thread::spawn(move || (cell.fail(0), cell.succeed(0, BASE)))
            };
            if good {
                assert_eq!(cell.succeed(epoch, BASE), Succeeded::Readmitted);
            } else {
                assert_eq!(cell.fail(epoch), Failed::Probe);
                assert_eq!(cell.eject(epoch, BASE, BASE, |count| count * BASE), Some(2 * BASE));
            }
            assert_eq!(late.join().unwrap(), (Failed::Stale, Succeeded::Unchanged));
            assert_eq!(cell.in_use(), good);
        });
    }
}

#[test]
fn two_that_find_the_run_long_enough_eject_once() {
    loom::model(|| {
        let cell = Arc::new(Cell::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let cell = cell.clone();
                thread::spawn(move || cell.eject(0, 0, BASE, |count| count * BASE).is_some())
            })
            .collect();
        let ejections = threads.into_iter().map(|t| t.join().unwrap()).filter(|&out| out);
        assert_eq!(ejections.count(), 1);
        assert_eq!((cell.word().count, cell.due_in(0, BASE)), (1, Some(BASE)));
    });
}

#[test]
fn no_more_than_the_limit_are_in_flight_and_all_are_given_back() {
    loom::model(|| {
        let load = Arc::new(Load::new());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let load = load.clone();
                thread::spawn(move || {
                    let taken = load.take(1);
                    if taken {
                        assert_eq!(load.in_flight(), 1);
                        load.release();
                    }
                    taken
                })
            })
            .collect();
        let taken = threads.into_iter().map(|t| t.join().unwrap()).filter(|&taken| taken).count();
        assert!(taken >= 1);
        assert_eq!((load.in_flight(), load.picks()), (0, taken as u64));
    });
}
