//! What every policy keeps to: fit endpoints only, weights, chance among equals, slow start.

#![expect(clippy::expect_used, reason = "what goes wrong in a test's own functions fails the test")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use buttress_balance::{
    Adaptive, Ask, Balancer, Candidate, Endpoint, EndpointSet, Health, Lease, LeastRequest, Moment,
    Observation, PeakEwma, Pick, PickContext, Random, Rendezvous, RingHash, RoundRobin,
    Unavailable, Verdict, key,
};
use buttress_core::Attempts;
use proptest::prelude::*;

fn set_of(weights: &[u32]) -> EndpointSet {
    let endpoints = weights.iter().enumerate().map(|(nth, weight)| {
        Endpoint::new(format!("http://host{nth}.example"))
            .and_then(|endpoint| endpoint.weight(*weight))
            .expect("a valid endpoint")
    });
    EndpointSet::new(endpoints).expect("a valid set")
}

fn good(latency: Duration) -> Observation {
    Observation::new(Verdict::Success).latency(latency)
}

/// Who is chosen how often in `picks` calls, one after the other.
fn counts<P: Pick>(policy: P, set: &EndpointSet, picks: u64) -> Vec<u64> {
    let ids: Vec<_> = set.candidates().iter().map(Candidate::id).collect();
    let mut balancer = Balancer::new(set.clone(), policy, Health::new()).seeded(7);
    let mut counts = vec![0; ids.len()];
    for pick in 0..picks {
        let ask = Ask::new().key(Some(pick.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let lease = balancer.lease(&ask, Moment::from_millis(1)).expect("an endpoint");
        counts[ids.iter().position(|id| *id == lease.id()).expect("a member")] += 1;
    }
    counts
}

/// The sum of squared deviations, each over what was expected.
fn chi_square(counts: &[u64], weights: &[u32]) -> f64 {
    let total: u64 = counts.iter().sum();
    let whole: u32 = weights.iter().sum();
    let term = |(count, weight): (&u64, &u32)| {
        let expected = total as f64 * f64::from(*weight) / f64::from(whole);
        (*count as f64 - expected).powi(2) / expected
    };
    counts.iter().zip(weights).map(term).sum()
}

/// Far beyond chance for `freedom` degrees: about one run in a million is above.
fn limit(freedom: usize) -> f64 {
    let freedom = freedom as f64;
    // Wilson and Hilferty's approximation, 4.75 deviations out.
    freedom * (1.0 - 2.0 / (9.0 * freedom) + 4.75 * (2.0 / (9.0 * freedom)).sqrt()).powi(3)
}

#[test]
fn chance_decides_evenly_among_equals() {
    for count in [2, 3, 10, 16, 17, 64, 100] {
        let weights = vec![1; count];
        let set = set_of(&weights);
        let picks = 2_000 * count as u64;
        for counts in [
            counts(LeastRequest::new(), &set, picks),
            counts(Adaptive::new(), &set, picks),
            counts(PeakEwma::new(), &set, picks),
            counts(Random::new(), &set, picks),
        ] {
            let chi_square = chi_square(&counts, &weights);
            assert!(chi_square < limit(count - 1), "{count}: {chi_square} {counts:?}");
        }
    }
}

#[test]
fn idle_endpoints_are_chosen_as_often_as_they_weigh() {
    let large: Vec<u32> = (0..100).map(|nth| 1 + nth % 9).collect();
    for weights in [vec![5, 1, 1], vec![1, 2, 3, 4], vec![65_535, 655], large] {
        let set = set_of(&weights);
        let picks = 40_000;
        for (policy, counts) in [
            ("least_request", counts(LeastRequest::new(), &set, picks)),
            ("adaptive", counts(Adaptive::new(), &set, picks)),
            ("peak_ewma", counts(PeakEwma::new(), &set, picks)),
            ("random", counts(Random::new(), &set, picks)),
            ("rendezvous", counts(Rendezvous::new(key::extension()), &set, picks)),
        ] {
            let chi_square = chi_square(&counts, &weights);
            assert!(chi_square < limit(weights.len() - 1), "{policy}: {chi_square} {counts:?}");
        }
    }
}

#[test]
fn least_request_fills_endpoints_as_they_weigh() {
    let set = set_of(&[6, 3, 1]);
    let mut balancer = Balancer::new(set.clone(), LeastRequest::new(), Health::new()).seeded(1);
    let leases: Vec<Lease> =
        (0..100).map(|_| balancer.lease(&Ask::new(), Moment::from_millis(1)).unwrap()).collect();
    let in_flight: Vec<u32> = set.candidates().iter().map(Candidate::in_flight).collect();
    for (in_flight, expected) in in_flight.iter().zip([60_u32, 30, 10]) {
        assert!(in_flight.abs_diff(expected) <= 2, "{in_flight} of {expected}");
    }
    drop(leases);
}

#[test]
fn two_choices_are_two_endpoints() {
    let set = set_of(&[1, 1]);
    let policy = LeastRequest::new().full_scan(0).unwrap();
    let mut balancer = Balancer::new(set, policy, Health::new()).seeded(3);
    let busy = balancer.lease(&Ask::new(), Moment::from_millis(1)).unwrap();
    for _ in 0..10_000 {
        let other = balancer.lease(&Ask::new(), Moment::from_millis(1)).unwrap();
        // Drawn together with the idle one, the busy one never wins.
        assert_ne!(other.id(), busy.id());
    }
}

#[test]
fn round_robin_counts_exactly_from_eight_threads() {
    for weights in [vec![5, 1, 1], vec![1, 1, 1], vec![7, 3, 2, 65_535, 2]] {
        let set = set_of(&weights);
        let cycle: u64 = weights.iter().copied().map(u64::from).sum();
        let cycles = (8 * 1_000_u64).div_ceil(cycle).next_multiple_of(8);
        let balancer = Balancer::new(set.clone(), RoundRobin::new(), Health::new());
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let mut balancer = balancer.clone();
                std::thread::spawn(move || {
                    for _ in 0..cycles * cycle / 8 {
                        drop(balancer.lease(&Ask::new(), Moment::from_millis(1)).unwrap());
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        for (candidate, weight) in set.candidates().iter().zip(&weights) {
            assert_eq!(candidate.picks(), cycles * u64::from(*weight), "{weights:?}");
        }
    }
}

#[test]
fn round_robin_spreads_five_one_one_and_begins_where_chance_has_it() {
    let set = set_of(&[5, 1, 1]);
    let mut beginnings = BTreeMap::<Vec<u64>, u32>::new();
    for _ in 0..200 {
        let mut balancer = Balancer::new(set.clone(), RoundRobin::new(), Health::new());
        let mut next = || balancer.lease(&Ask::new(), Moment::from_millis(1)).unwrap().id();
        let cycle: Vec<u64> = (0..7).map(|_| next().number()).collect();
        let longest = cycle.chunk_by(|a, b| a == b).map(<[u64]>::len).max();
        assert!(longest <= Some(2), "{cycle:?}");
        *beginnings.entry(cycle).or_default() += 1;
    }
    assert_eq!(beginnings.len(), 2, "{beginnings:?}");
}

#[test]
fn round_robin_begins_anywhere_among_equals() {
    let set = set_of(&[1; 5]);
    let first = |_| {
        let mut balancer = Balancer::new(set.clone(), RoundRobin::new(), Health::new());
        balancer.lease(&Ask::new(), Moment::from_millis(1)).unwrap().id().number()
    };
    let firsts: std::collections::BTreeSet<u64> = (0..200).map(first).collect();
    assert_eq!(firsts.len(), 5);
}

/// Runs `check` with each policy.
macro_rules! with_each_policy {
    ($check:ident($($argument:expr),*)) => {
        $check("adaptive", Adaptive::new(), $($argument),*);
        $check("adaptive, drawn", Adaptive::new().full_scan(0).unwrap(), $($argument),*);
        $check("least_request", LeastRequest::new(), $($argument),*);
        $check("least_request, drawn", LeastRequest::new().full_scan(0).unwrap(), $($argument),*);
        $check("peak_ewma", PeakEwma::new(), $($argument),*);
        $check("round_robin", RoundRobin::new(), $($argument),*);
        $check("random", Random::new(), $($argument),*);
        $check("ring_hash", RingHash::new(key::extension()), $($argument),*);
        $check(
            "ring_hash, bounded",
            RingHash::new(key::extension()).bounded_load(1.0).unwrap(),
            $($argument),*
        );
        $check("rendezvous", Rendezvous::new(key::extension()), $($argument),*);
        $check(
            "rendezvous, bounded",
            Rendezvous::new(key::extension()).bounded_load(1.0).unwrap(),
            $($argument),*
        );
    };
}

fn avoids_the_tried<P: Pick>(name: &str, policy: P, weights: &[u32]) {
    let set = set_of(weights);
    let mut balancer = Balancer::new(set, policy, Health::new()).seeded(5);
    let attempts = Attempts::first_of(1_000);
    for nth in 0..weights.len() {
        let ask = Ask::new().tried(&attempts).key(Some(nth as u64));
        let lease = balancer.lease(&ask, Moment::from_millis(1)).expect("one is left");
        let id = lease.id().number();
        assert!(!attempts.has_tried(id), "{name}");
        attempts.note_endpoint(id);
    }
    let ask = Ask::new().tried(&attempts).key(Some(1));
    let none = balancer.lease(&ask, Moment::from_millis(1)).map(|lease| lease.id());
    assert_eq!(none, Err(Unavailable::Tried), "{name}");
}

#[test]
fn no_policy_chooses_what_was_tried_while_another_is_left() {
    with_each_policy!(avoids_the_tried(&[1; 3]));
    with_each_policy!(avoids_the_tried(&[65_535, 1, 1, 300]));
    // `Attempts` remembers so many.
    with_each_policy!(avoids_the_tried(&[1; 64]));
}

fn fills_up<P: Pick>(name: &str, policy: P, count: usize) {
    let endpoint = |nth| {
        let endpoint = Endpoint::new(format!("http://host{nth}.example"));
        endpoint.and_then(|endpoint| endpoint.max_in_flight(2)).expect("a valid endpoint")
    };
    let set = EndpointSet::new((0..count).map(endpoint)).expect("a valid set");
    let mut balancer = Balancer::new(set.clone(), policy, Health::new()).seeded(5);
    let mut lease = |nth| balancer.lease(&Ask::new().key(Some(nth)), Moment::from_millis(1));
    let leases: Result<Vec<Lease>, _> = (0..count as u64 * 2).map(&mut lease).collect();
    assert!(leases.is_ok(), "{name}");
    assert_eq!(lease(0).map(|lease| lease.id()), Err(Unavailable::Full), "{name}");
    assert!(set.candidates().iter().all(|candidate| candidate.in_flight() == 2), "{name}");
}

#[test]
fn every_policy_finds_the_last_free_place() {
    with_each_policy!(fills_up(3));
    with_each_policy!(fills_up(70));
}

fn starts_slowly<P: Pick>(name: &str, policy: P, now: Moment, least: u64, most: u64) {
    let set = set_of(&[1; 4]);
    let health = Health::new().slow_start(Duration::from_secs(10)).no_jitter();
    let mut balancer = Balancer::new(set.clone(), policy, health).seeded(11);
    // The first one is ejected, and comes back through one call that tries it.
    let id = set.candidates()[0].id();
    let tried = Attempts::first_of(1);
    set.candidates()[1..].iter().for_each(|other| tried.note_endpoint(other.id().number()));
    for _ in 0..3 {
        let ask = Ask::new().tried(&tried);
        let mut lease = balancer.lease(&ask, Moment::from_millis(1)).expect("the first one");
        balancer.observe(&mut lease, &Observation::new(Verdict::Failure), Moment::from_millis(2));
    }
    let back = Moment::from_millis(40_000);
    let mut lease = balancer.lease(&Ask::new().key(Some(1)), back).expect("the first one");
    assert!(lease.is_probe() && lease.id() == id, "{name}");
    balancer.observe(&mut lease, &good(Duration::from_millis(1)), back);
    drop(lease);
    let before = set.candidates()[0].picks();
    for call in 0..4_000_u64 {
        let ask = Ask::new().key(Some(call.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        drop(balancer.lease(&ask, now).expect("an endpoint"));
    }
    let picks = set.candidates()[0].picks() - before;
    assert!((least..=most).contains(&picks), "{name}: {picks} at {now:?}");
}

#[test]
fn every_policy_lets_an_endpoint_come_to_its_full_share_slowly() {
    // A fifth of a fourth of 4,000 calls after two seconds, all of its share in the end.
    with_each_policy!(starts_slowly(Moment::from_millis(42_000), 120, 320));
    with_each_policy!(starts_slowly(Moment::from_millis(60_000), 700, 1_300));
}

#[test]
fn peak_ewma_shuns_the_slow() {
    let set = set_of(&[1; 3]);
    let mut balancer = Balancer::new(set.clone(), PeakEwma::new(), Health::new()).seeded(3);
    let slow = set.candidates()[0].id();
    for call in 0..3_000 {
        let now = Moment::from_millis(call);
        let mut lease = balancer.lease(&Ask::new(), now).unwrap();
        let latency = if lease.id() == slow { 500 } else { 10 };
        balancer.observe(&mut lease, &good(Duration::from_millis(latency)), now);
    }
    assert!(set.candidates()[0].picks() < 10, "{}", set.candidates()[0].picks());
}

#[test]
fn fast_failures_do_not_make_peak_ewma_think_an_endpoint_fast_and_slow_ones_make_it_slow() {
    let set = set_of(&[1]);
    let policy = PeakEwma::new();
    let candidates = set.candidates();
    let failed = |millis| Observation::new(Verdict::Failure).latency(Duration::from_millis(millis));
    policy.observe(&candidates[0], &failed(1), Moment::from_millis(1));
    assert_eq!(candidates[0].peak().value(), None);
    policy.observe(&candidates[0], &good(Duration::from_millis(50)), Moment::from_millis(2));
    policy.observe(&candidates[0], &failed(1), Moment::from_millis(3));
    assert_eq!(candidates[0].peak().value(), Some(0.05));
    policy.observe(&candidates[0], &failed(2_000), Moment::from_millis(4));
    assert_eq!(candidates[0].peak().value(), Some(2.0));
}

#[test]
fn a_choice_allocates_nothing() {
    let set = set_of(&[3, 2, 1, 1, 1]);
    let candidates = set.candidates();
    #[expect(clippy::needless_pass_by_value, reason = "called like the other checks")]
    fn check<P: Pick>(name: &str, policy: P, candidates: &[Candidate]) {
        let table = policy.table(candidates);
        let cx = PickContext::new(candidates, Moment::from_millis(1), 9).with_key(Some(77));
        let info = allocation_counter::measure(|| {
            (0..100).for_each(|_| assert!(policy.pick(&table, &cx).is_some()));
        });
        assert_eq!(info.count_total, 0, "{name}");
    }
    with_each_policy!(check(&candidates));
}

fn survives<P: Pick>(name: &str, policy: P, set: &EndpointSet, steps: &[(u64, u64, u8)]) {
    let mut balancer = Balancer::new(set.clone(), policy, Health::new()).seeded(1);
    let mut leases = Vec::new();
    for (micros, latency, act) in steps {
        let now = Moment::from_micros(*micros);
        let ask = Ask::new().key((act % 2 == 0).then_some(*micros));
        let mut lease = balancer.lease(&ask, now).unwrap_or_else(|none| panic!("{name}: {none}"));
        let verdict = match act % 4 {
            0 => Verdict::Failure,
            1 => Verdict::Soft,
            _ => Verdict::Success,
        };
        let observation = Observation::new(verdict).latency(Duration::from_micros(*latency));
        balancer.observe(&mut lease, &observation, now);
        leases.push(lease);
        if act % 3 == 0 {
            leases.clear();
        }
    }
    let latencies = set.candidates().into_iter().filter_map(|one| one.peak().value());
    latencies.for_each(|latency| assert!(latency.is_finite(), "{name}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn no_weights_latencies_or_clocks_break_a_policy(
        weights in prop::collection::vec(prop_oneof![1_u32..10, 60_000_u32..=65_535], 1..80),
        steps in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u8>()), 1..60),
    ) {
        let set = set_of(&weights);
        with_each_policy!(survives(&set, &steps));
    }
}

#[test]
fn policies_can_be_shared() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(&Arc::new(Adaptive::new()));
    shared(&RingHash::new(key::path()));
    shared(&Rendezvous::new(key::with(|_: &http::Request<()>| Some(1))));
}
