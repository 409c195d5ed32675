//! Threads that choose while a set is replaced under them.

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use buttress_balance::{Ask, Balancer, Endpoint, EndpointSet, Health, LeastRequest};
use common::{endpoint, in_flight};

/// How many endpoints the set has.
const MEMBERS: u64 = 5;
const EDITS: u64 = 4_000;
const THREADS: usize = 8;

/// The set of a version: each adds an endpoint and removes the oldest one, so that the numbers of
/// version `v` are `v + 1` to `v + MEMBERS`. All have one zone, whose holders can be counted.
fn members(version: u64, zone: &Arc<str>) -> impl Iterator<Item = Endpoint> {
    (version..version + MEMBERS).map(|n| endpoint(&format!("h{n}")).zone(Arc::clone(zone)))
}

#[test]
fn a_choice_is_a_member_before_or_after_the_edit_that_goes_on() {
    let zone: Arc<str> = "z".into();
    let set = EndpointSet::new(members(0, &zone)).unwrap();
    let balancer = Balancer::new(set.clone(), LeastRequest::new(), Health::new());
    let (version, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let choosing: Vec<_> = (0..THREADS)
            .map(|_| {
                let (mut balancer, set) = (balancer.clone(), &set);
                let (version, stop) = (&version, &stop);
                scope.spawn(move || {
                    let mut choices = 0_u64;
                    while !stop.load(Ordering::SeqCst) {
                        let before = version.load(Ordering::SeqCst);
                        let lease = balancer.lease(&Ask::new(), set.now()).unwrap();
                        // The edit that leads to the next version may be under way, or done but
                        // for the count.
                        let after = version.load(Ordering::SeqCst) + 1;
                        let numbers = before + 1..=after + MEMBERS;
                        assert!(numbers.contains(&lease.id().number()), "{numbers:?} {lease:?}");
                        choices += 1;
                    }
                    choices
                })
            })
            .collect();
        let most = (1..=EDITS).map(|next| {
            set.replace_all(members(next, &zone)).unwrap();
            version.store(next, Ordering::SeqCst);
            Arc::strong_count(&zone)
        });
        let most = most.max();
        stop.store(true, Ordering::SeqCst);
        for thread in choosing {
            assert!(thread.join().unwrap() > 0);
        }
        // The set, and a table for each thread, which holds what was there when it last looked.
        let bound = 4 * (THREADS + 2) * usize::try_from(MEMBERS).unwrap();
        assert!(most.is_some_and(|most| most < bound), "{most:?} endpoints are still there");
    });
    let names: Vec<_> = set.snapshot().into_iter().map(|endpoint| endpoint.name).collect();
    let last: Vec<_> = members(EDITS, &zone).map(|endpoint| endpoint.to_string()).collect();
    assert_eq!(names, last, "no edit was lost");
    assert_eq!(in_flight(&set), 0);
    drop((balancer, set));
    assert_eq!(Arc::strong_count(&zone), 1, "nothing is left of any of them");
}
