//! How far retries under a budget can multiply the load.

use std::time::Duration;

use buttress_retry::{Budget, Cost};
use tokio::time::advance;

/// Load that the retries of a client made.
#[derive(Debug, Default)]
struct Tally {
    calls: u32,
    attempts: u32,
    successes: u32,
}

impl Tally {
    fn amplification(&self) -> f64 {
        f64::from(self.attempts) / f64::from(self.calls)
    }

    /// One call of at most four attempts, each of which fails with `failure` in a hundred.
    fn call(&mut self, budget: &Budget, failure: u32, random: &mut fastrand::Rng) {
        self.calls += 1;
        for attempt in 1..=4 {
            self.attempts += 1;
            if random.u32(0..100) >= failure {
                self.successes += 1;
                budget.deposit();
                return;
            }
            budget.record_failure(Cost::TRANSIENT);
            if attempt == 4 {
                return;
            }
            let Some(reservation) = budget.reserve(Cost::TRANSIENT) else {
                return;
            };
            reservation.spend();
        }
    }
}

fn simulate(budget: &Budget, failure: u32) -> Tally {
    let mut random = fastrand::Rng::with_seed(u64::from(failure));
    let mut tally = Tally::default();
    for _ in 0..20_000 {
        tally.call(budget, failure, &mut random);
    }
    tally
}

#[tokio::test(start_paused = true)]
async fn amplification_stays_within_its_bound_at_every_failure_rate() {
    for (failure, bound) in [(10, 1.25), (30, 1.25), (50, 1.25), (75, 1.15), (100, 1.05)] {
        let free = simulate(&Budget::unlimited(), failure).amplification();
        let tally = simulate(&Budget::default(), failure);
        let kept = tally.amplification();
        assert!(kept <= bound, "{failure} %: {kept} is above {bound}");
        assert!(failure == 10 || free > bound, "{failure} %: {free} is no test");
        assert!(kept > 1.0, "{failure} %: the budget must not forbid all retries");
        let retries = tally.attempts - tally.calls;
        assert!(retries <= 100 + tally.successes / 5, "{failure} %: {tally:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rare_failures_are_retried_as_if_there_were_no_budget() {
    let free = simulate(&Budget::unlimited(), 10);
    let kept = simulate(&Budget::default(), 10);
    assert_eq!(free.attempts, kept.attempts);
}

#[tokio::test(start_paused = true)]
async fn a_grpc_budget_amplifies_least() {
    for failure in [10, 30, 50, 75, 100] {
        let kept = simulate(&Budget::grpc(10, 0.1).unwrap(), failure).amplification();
        assert!(kept <= 1.05, "{failure} %: {kept}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_lasting_outage_the_floor_alone_remains() {
    let budget = Budget::default();
    let mut random = fastrand::Rng::with_seed(1);
    let mut tally = Tally::default();
    // A hundred calls a second for two hundred seconds, all of which fail.
    for _ in 0..20_000 {
        advance(Duration::from_millis(10)).await;
        tally.call(&budget, 100, &mut random);
    }
    let retries = tally.attempts - tally.calls;
    assert!((2_090..=2_100).contains(&retries), "100 + 10 a second: {retries}");
}
