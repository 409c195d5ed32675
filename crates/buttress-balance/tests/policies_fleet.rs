//! How the policies share out the work of a fleet that is partly slow or broken, in virtual time.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::expect_used,
    reason = "a simulation: what goes wrong in it fails the test, and its numbers are small"
)]

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use buttress_balance::{
    Adaptive, Ask, Balancer, Endpoint, EndpointSet, Health, Lease, LeastRequest, Moment,
    Observation, Pick, Verdict,
};

/// How a server answers.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    /// In 10 ms on average (exponentially), times this.
    Good(f64),
    /// With an error after 1 ms.
    Broken,
    /// In 10 ms on average, and this share of its answers are errors.
    Flaky(f64),
}

/// Servers with four places each, and independent clients that know only their own calls.
struct Fleet<P: Pick> {
    servers: Vec<Server>,
    /// When each place of each server is free, in microseconds.
    free: Vec<[u64; 4]>,
    clients: Vec<(Balancer<P>, BTreeMap<u64, usize>)>,
    underway: BinaryHeap<Reverse<(u64, u64)>>,
    calls: BTreeMap<u64, Call>,
    now: u64,
    number: u64,
    random: u64,
}

struct Call {
    client: usize,
    lease: Lease,
    server: usize,
    latency: u64,
}

#[derive(Debug, Default)]
struct Tally {
    /// Calls that went to each server.
    calls: Vec<u64>,
    /// Latencies of the good ones, in microseconds.
    latencies: Vec<u64>,
}

impl Tally {
    fn share(&self, server: usize) -> f64 {
        self.calls[server] as f64 / self.calls.iter().sum::<u64>() as f64
    }

    /// In milliseconds.
    fn percentile(&mut self, percent: f64) -> f64 {
        self.latencies.sort_unstable();
        let nth = (self.latencies.len() as f64 * percent / 100.0) as usize;
        self.latencies[nth.min(self.latencies.len() - 1)] as f64 / 1_000.0
    }
}

impl<P: Pick> Fleet<P> {
    fn new(servers: &[Server], clients: usize, policy: impl Fn() -> P, health: &Health) -> Self {
        let client = |seed: usize| {
            let endpoint = |nth| Endpoint::new(format!("http://host{nth}.example")).expect("valid");
            let set = EndpointSet::new((0..servers.len()).map(endpoint)).expect("valid");
            let ids = set.candidates().into_iter().map(|one| one.id().number()).zip(0..).collect();
            (Balancer::new(set, policy(), health.clone()).seeded(seed as u64), ids)
        };
        Self {
            servers: servers.to_vec(),
            free: vec![[0; 4]; servers.len()],
            clients: (0..clients).map(client).collect(),
            underway: BinaryHeap::new(),
            calls: BTreeMap::new(),
            now: 0,
            number: 0,
            random: 0x5eed,
        }
    }

    /// Goes on for `time` with so many calls a second.
    fn run(&mut self, time: Duration, rate: f64) -> Tally {
        let end = self.now + u64::try_from(time.as_micros()).expect("not that long");
        let mut tally = Tally { calls: vec![0; self.servers.len()], latencies: Vec::new() };
        loop {
            let next = self.now + self.exponential(1_000_000.0 / rate);
            if next >= end {
                self.now = end;
                self.complete();
                return tally;
            }
            self.now = next;
            self.complete();
            self.call(&mut tally);
        }
    }

    fn call(&mut self, tally: &mut Tally) {
        let client = self.uniform() as usize % self.clients.len();
        let now = Moment::from_micros(self.now);
        let (balancer, ids) = &mut self.clients[client];
        let lease = balancer.lease(&Ask::new(), now).expect("an endpoint");
        let server = ids[&lease.id().number()];
        tally.calls[server] += 1;
        let done = match self.servers[server] {
            Server::Broken => self.now + 1_000,
            Server::Good(_) | Server::Flaky(_) => {
                let times =
                    if let Server::Good(times) = self.servers[server] { times } else { 1.0 };
                let service = self.exponential(10_000.0 * times);
                let place = self.free[server].iter_mut().min().expect("four places");
                *place = (*place).max(self.now) + service;
                tally.latencies.push(*place - self.now);
                *place
            }
        };
        self.number += 1;
        self.underway.push(Reverse((done, self.number)));
        let latency = done - self.now;
        self.calls.insert(self.number, Call { client, lease, server, latency });
    }

    fn complete(&mut self) {
        while let Some(Reverse((done, number))) = self.underway.peek().copied() {
            if done > self.now {
                return;
            }
            self.underway.pop();
            let Some(mut call) = self.calls.remove(&number) else { continue };
            let broken = match self.servers[call.server] {
                Server::Good(_) => false,
                Server::Broken => true,
                Server::Flaky(share) => (self.uniform() as f64) < share * 2_147_483_648.0,
            };
            let verdict = if broken { Verdict::Failure } else { Verdict::Success };
            let observation =
                Observation::new(verdict).latency(Duration::from_micros(call.latency));
            let now = Moment::from_micros(done);
            self.clients[call.client].0.observe(&mut call.lease, &observation, now);
        }
    }

    fn uniform(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mixed = (self.random ^ (self.random >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed >> 33
    }

    fn exponential(&mut self, mean: f64) -> u64 {
        let unit = (self.uniform() as f64 + 0.5) / 2_147_483_648.0;
        (-unit.ln() * mean) as u64
    }
}

/// 70 % of what so many good servers can do.
fn load(good: usize) -> f64 {
    0.7 * 400.0 * good as f64
}

fn no_ejection() -> Health {
    Health::new().max_fails(0)
}

#[test]
fn a_slow_endpoint_gets_next_to_nothing_and_its_share_back_once_it_is_fast() {
    for clients in [1, 8] {
        let mut servers = [Server::Good(1.0); 10];
        servers[0] = Server::Good(5.0);
        let mut fleet = Fleet::new(&servers, clients, Adaptive::new, &no_ejection());
        fleet.run(Duration::from_secs(5), load(9));
        let slow = fleet.run(Duration::from_secs(30), load(9));
        assert!(slow.share(0) <= 0.015, "{clients}: {}", slow.share(0));

        fleet.servers[0] = Server::Good(1.0);
        fleet.run(Duration::from_secs(25), load(9));
        let fast = fleet.run(Duration::from_secs(5), load(9));
        assert!(fast.share(0) >= 0.08, "{clients}: {}", fast.share(0));
    }
}

#[test]
fn a_slow_endpoint_is_tried_again_even_when_there_is_little_to_do() {
    let mut servers = [Server::Good(1.0); 10];
    servers[0] = Server::Good(5.0);
    let mut fleet = Fleet::new(&servers, 1, Adaptive::new, &no_ejection());
    fleet.run(Duration::from_secs(5), 100.0);
    let slow = fleet.run(Duration::from_secs(60), 100.0);
    assert!(slow.share(0) > 0.0 && slow.share(0) <= 0.015, "{}", slow.share(0));
    fleet.servers[0] = Server::Good(1.0);
    fleet.run(Duration::from_secs(25), 100.0);
    let fast = fleet.run(Duration::from_secs(30), 100.0);
    assert!(fast.share(0) >= 0.05, "{}", fast.share(0));
}

#[test]
fn an_endpoint_that_fails_fast_is_shunned_without_any_ejection() {
    for count in [2, 3, 10, 50] {
        let mut servers = vec![Server::Good(1.0); count];
        servers[0] = Server::Broken;
        for clients in [1, 8] {
            let mut fleet = Fleet::new(&servers, clients, Adaptive::new, &no_ejection());
            fleet.run(Duration::from_secs(2), load(count - 1));
            let tally = fleet.run(Duration::from_secs(20), load(count - 1));
            assert!(tally.share(0) <= 0.03, "{count}, {clients}: {}", tally.share(0));
        }
    }
}

#[test]
fn with_ejection_a_broken_endpoint_costs_three_failures_and_a_probe_every_half_minute() {
    for count in [2, 3, 10, 50] {
        let mut servers = vec![Server::Good(1.0); count];
        servers[0] = Server::Broken;
        let health = Health::new().no_jitter();
        let mut fleet = Fleet::new(&servers, 1, Adaptive::new, &health);
        let tally = fleet.run(Duration::from_secs(29), load(count - 1));
        assert!(tally.calls[0] <= 4, "{count}: {}", tally.calls[0]);
    }
}

#[test]
fn a_newcomer_gets_calls_and_is_not_flooded() {
    let servers = [Server::Good(1.0); 10];
    let mut fleet = Fleet::new(&servers, 1, Adaptive::new, &no_ejection());
    fleet.run(Duration::from_secs(5), load(10));
    let set = fleet.clients[0].0.set().clone();
    let before = set.candidates()[0].clone();
    set.remove(before.id());
    let id = set.insert(before.endpoint().clone());
    fleet.clients[0].1.insert(id.number(), 0);
    let tally = fleet.run(Duration::from_millis(100), load(10));
    assert!((0.02..0.25).contains(&tally.share(0)), "{}", tally.share(0));
}

#[test]
fn latency_matters_where_least_request_sees_little() {
    let mut servers = [Server::Good(1.0); 10];
    servers[0] = Server::Good(5.0);
    let mut adaptive = Fleet::new(&servers, 8, Adaptive::new, &no_ejection());
    let mut least = Fleet::new(&servers, 8, LeastRequest::new, &no_ejection());
    let (mut adaptive, mut least) = (
        adaptive.run(Duration::from_secs(20), load(9)),
        least.run(Duration::from_secs(20), load(9)),
    );
    assert!(adaptive.percentile(99.0) < 55.0);
    assert!(adaptive.percentile(99.9) < 120.0);
    assert!(adaptive.percentile(99.0) < least.percentile(99.0));
}

#[test]
fn errors_that_all_have_alike_cost_no_latency() {
    for share in [0.000_01, 0.001, 0.02, 0.05] {
        let servers = [Server::Flaky(share); 10];
        let mut adaptive = Fleet::new(&servers, 8, Adaptive::new, &no_ejection());
        let mut least = Fleet::new(&servers, 8, LeastRequest::new, &no_ejection());
        let time = Duration::from_secs(20);
        let (mut adaptive, mut least) = (adaptive.run(time, load(10)), least.run(time, load(10)));
        let (adaptive, least) = (adaptive.percentile(99.0), least.percentile(99.0));
        assert!(adaptive <= least * 1.1, "{share}: {adaptive} ms, {least} ms");
    }
}
