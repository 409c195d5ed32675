//! One call at the balancer: choose and count, judge, and count down.

use std::{cell::RefCell, io, time::Duration};

use buttress_balance::{
    Adaptive, Ask, Balancer, Endpoint, EndpointSet, Health, Lease, LeastRequest, Moment,
    Observation, PeakEwma, Pick, Random, Rendezvous, RingHash, RoundRobin, Unavailable, Verdict,
    key,
};
use buttress_testkit::Bench;

use crate::{
    judge,
    peers::{Tower, peak_ewma, pending_requests},
};

const LATENCY: Duration = Duration::from_millis(10);
/// Calls of one client at a few thousand calls a second.
const BETWEEN: u64 = 300;

pub(crate) fn endpoints(count: usize) -> EndpointSet {
    let endpoint = |number| {
        let Ok(endpoint) = Endpoint::new(format!("http://server-{number:04}.example")) else {
            unreachable!("the address is well formed");
        };
        endpoint
    };
    let Ok(set) = EndpointSet::new((0..count).map(endpoint)) else {
        unreachable!("the endpoints are distinct");
    };
    set
}

/// A balancer, and calls that are in flight elsewhere meanwhile.
struct Busy<P: Pick> {
    balancer: Balancer<P>,
    now: u64,
    key: Option<u64>,
    others: RefCell<Vec<Lease>>,
}

impl<P: Pick> Busy<P> {
    /// Every endpoint has answered, with latencies that differ, and has some calls in flight.
    fn new(count: usize, policy: P) -> Self {
        let set = endpoints(count);
        let balancer = Balancer::new(set, policy, Health::new()).seeded(7);
        let mut busy = Self { balancer, now: 1_000_000, key: None, others: RefCell::default() };
        // Others at first, so that every one has been chosen.
        for round in 0..40_u32 {
            let mut leases: Vec<_> = (0..count).filter_map(|_| busy.lease().ok()).collect();
            for (place, lease) in (0_u32..).zip(&mut leases) {
                let took = LATENCY + Duration::from_micros(100) * (place % 7 + round % 5);
                busy.tell(lease, Verdict::Success, took);
            }
        }
        let held = (0..2 * count).filter_map(|_| busy.lease().ok()).collect();
        busy.others = RefCell::new(held);
        busy
    }

    fn keyed(mut self) -> Self {
        self.key = Some(0);
        self
    }

    /// Everybody has failed once: a success rate is to be worked out for each.
    fn blemished(mut self) -> Self {
        let count = self.balancer.set().len();
        for _ in 0..count * 4 {
            if let Ok(mut lease) = self.lease() {
                self.tell(&mut lease, Verdict::Failure, LATENCY);
            }
        }
        self
    }

    fn lease(&mut self) -> Result<Lease, Unavailable> {
        self.now += BETWEEN;
        self.key = self.key.map(|key| key.wrapping_add(0x9e37_79b9_7f4a_7c15));
        self.balancer.lease(&Ask::new().key(self.key), Moment::from_micros(self.now))
    }

    fn tell(&self, lease: &mut Lease, verdict: Verdict, took: Duration) {
        let observation = Observation::new(verdict).latency(took);
        self.balancer.observe(lease, &observation, Moment::from_micros(self.now));
    }

    /// A call, whole.
    fn call(&mut self) {
        let lease = self.lease();
        let Ok(mut lease) = lease else { unreachable!("every endpoint is fit") };
        self.tell(&mut lease, Verdict::Success, LATENCY);
    }

    /// A call, with the clock read when it begins and when it ends, as the layer does.
    fn call_by_clock(&mut self) {
        let begun = self.balancer.set().now();
        let Ok(mut lease) = self.balancer.lease(&Ask::new(), begun) else {
            unreachable!("every endpoint is fit");
        };
        let ended = self.balancer.set().now();
        let observation = Observation::new(Verdict::Success).latency(ended.since(begun));
        self.balancer.observe(&mut lease, &observation, ended);
    }
}

/// Nanoseconds and allocations that the two main policies may take among so many endpoints.
fn bars(count: usize) -> &'static [(&'static str, f64, f64)] {
    match count {
        ..=16 => &[("least_request", 60.0, 0.0), ("adaptive", 120.0, 0.0)],
        1_000 => &[("least_request", 60.0, 0.0), ("adaptive", 60.0, 0.0)],
        _ => &[],
    }
}

const TOWER: &str = "tower p2c, PendingRequests";

/// The two main policies by themselves: what a thousand endpoints of many more policies are known by
/// does not fit into the caches of a processor at once.
pub(crate) fn run(count: usize) -> io::Result<bool> {
    let mut least = Busy::new(count, LeastRequest::new());
    let mut adaptive = Busy::new(count, Adaptive::new());
    let mut tower = Tower::new(count, pending_requests);
    let summary = Bench::new(format!("choose, count, judge, count down: {count} endpoints"))
        .case("least_request", || least.call())
        .case("adaptive", || adaptive.call())
        .case(TOWER, || tower.call())
        .baseline(TOWER)
        .rounds(300)
        .run()?;
    let met = judge(&summary, bars(count))?;
    others(count)?;
    Ok(met)
}

fn others(count: usize) -> io::Result<()> {
    let mut blemished = Busy::new(count, Adaptive::new()).blemished();
    let mut peak = Busy::new(count, PeakEwma::new());
    let mut turns = Busy::new(count, RoundRobin::new());
    let mut random = Busy::new(count, Random::new());
    let mut ring = Busy::new(count, RingHash::new(key::path())).keyed();
    let mut rendezvous = Busy::new(count, Rendezvous::new(key::path())).keyed();
    let mut pending_requests = Tower::new(count, pending_requests);
    let mut peak_ewma = Tower::new(count, peak_ewma);
    Bench::new(format!("the same, the other policies: {count} endpoints"))
        .case("adaptive, after failures", || blemished.call())
        .case("peak_ewma", || peak.call())
        .case("round_robin", || turns.call())
        .case("random", || random.call())
        .case("ring_hash", || ring.call())
        .case("rendezvous", || rendezvous.call())
        .case(TOWER, || pending_requests.call())
        .case("tower p2c, PeakEwma", || peak_ewma.call())
        .baseline(TOWER)
        .rounds(200)
        .run()
        .map(drop)
}

/// The same, and what the time of day costs: the layer asks twice a call.
pub(crate) fn clocks() -> io::Result<()> {
    let set = endpoints(1);
    let mut least = Busy::new(10, LeastRequest::new());
    let mut adaptive = Busy::new(10, Adaptive::new());
    let summary = Bench::new("with tokio's clock: 10 endpoints")
        .case("the clock alone, once", || set.now())
        .case("least_request", || least.call_by_clock())
        .case("adaptive", || adaptive.call_by_clock())
        .rounds(300)
        .run()?;
    judge(&summary, &[]).map(drop)
}
