//! The balancers that are put beside each other.

use std::time::Duration;

use buttress_balance::{Adaptive, Health, LeastRequest, PeakEwma, Pick, Random, RoundRobin};

use crate::{
    simulation::{Plan, client::Ours, run, tally::Tally},
    tower::{Clock, Tower},
};

/// How a server is chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Adaptive,
    LeastRequest,
    PeakEwma,
    RoundRobin,
    Random,
    TowerPeakEwma,
    TowerPendingRequests,
}

/// Which servers are left out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ejection {
    None,
    /// nginx's rule with this `fail_timeout`: three failures, no cap, no panic.
    Nginx(Duration),
    /// The defaults of this crate with this `fail_timeout`.
    Ours(Duration),
}

/// The default time of an ejection, in nginx's words and here.
pub(crate) const FAIL_TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const OURS: Ejection = Ejection::Ours(FAIL_TIMEOUT);
pub(crate) const NGINX: Ejection = Ejection::Nginx(FAIL_TIMEOUT);

impl Policy {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::LeastRequest => "least_request",
            Self::PeakEwma => "peak_ewma",
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::TowerPeakEwma => "tower p2c PeakEwma",
            Self::TowerPendingRequests => "tower p2c PendingRequests",
        }
    }
}

impl Ejection {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Nginx(_) => "nginx's",
            Self::Ours(_) => "default",
        }
    }

    fn health(self) -> Health {
        let health = match self {
            Self::None => Ok(Health::new().max_fails(0)),
            Self::Nginx(time) => Health::new().fail_timeout(time).map(Health::nginx_exact),
            Self::Ours(time) => Health::new().fail_timeout(time),
        };
        match health {
            Ok(health) => health,
            Err(error) => unreachable!("the time is above zero: {error}"),
        }
    }
}

/// Runs the plan once for each seed, and adds up what came of it.
pub(crate) fn measure(plan: &Plan<'_>, policy: Policy, ejection: Ejection, seeds: u64) -> Tally {
    let runs: Vec<Tally> = std::thread::scope(|scope| {
        let run = |seed| scope.spawn(move || one(plan, policy, ejection, seed));
        let running: Vec<_> = (1..=seeds).map(run).collect();
        running
            .into_iter()
            .map(|run| run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut whole = Tally::new(plan.servers, plan.clients);
    runs.iter().for_each(|tally| whole.add(tally));
    whole
}

fn one(plan: &Plan<'_>, policy: Policy, ejection: Ejection, seed: u64) -> Tally {
    match policy {
        Policy::Adaptive => ours(plan, Adaptive::new, ejection, seed),
        Policy::LeastRequest => ours(plan, LeastRequest::new, ejection, seed),
        Policy::PeakEwma => ours(plan, PeakEwma::new, ejection, seed),
        Policy::RoundRobin => ours(plan, RoundRobin::new, ejection, seed),
        Policy::Random => ours(plan, Random::new, ejection, seed),
        Policy::TowerPeakEwma | Policy::TowerPendingRequests => towers(plan, policy, seed),
    }
}

fn ours<P: Pick>(plan: &Plan<'_>, policy: fn() -> P, ejection: Ejection, seed: u64) -> Tally {
    let health = ejection.health();
    run(plan, seed, |seed| Ours::new(plan.servers, policy(), health.clone(), seed))
}

fn towers(plan: &Plan<'_>, policy: Policy, seed: u64) -> Tally {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = match runtime.enable_time().start_paused(true).build() {
        Ok(runtime) => runtime,
        Err(error) => unreachable!("a runtime without I/O can be made: {error}"),
    };
    let _inside = runtime.enter();
    let clock = Clock::default();
    if policy == Policy::TowerPeakEwma {
        run(plan, seed, |seed| Tower::peak_ewma(plan.servers, clock.clone(), seed))
    } else {
        run(plan, seed, |seed| Tower::pending_requests(plan.servers, clock.clone(), seed))
    }
}
