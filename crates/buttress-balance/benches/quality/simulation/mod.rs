//! Clients, servers and a clock that jumps from event to event: nothing waits, and a seed decides all.
//!
//! Calls arrive as a Poisson process at clients that know nothing of each other. A server has some
//! slots and a queue, first come first served; service times are exponential. A call that takes too
//! long is given up, which frees its place at once. There is no network.

pub(crate) mod client;
pub(crate) mod tally;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    time::Duration,
};

use buttress_balance::Moment;
use buttress_core::Attempts;

use self::{
    client::{Client, Ended},
    tally::Tally,
};

/// How long a failing server takes to say so.
const FAILS_IN: Duration = Duration::from_millis(1);
/// How often it is counted who is ejected.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What happens.
pub(crate) struct Plan<'a> {
    pub(crate) servers: usize,
    pub(crate) slots: usize,
    /// How a server behaves so long after the measurement began; `None` is before it.
    pub(crate) behaviour: &'a (dyn Fn(usize, Option<Duration>) -> Behaviour + Sync),
    /// Calls a second, at all clients together.
    pub(crate) rate: f64,
    pub(crate) clients: usize,
    /// When a call is given up.
    pub(crate) timeout: Duration,
    /// How often a call may be sent, each time to another server.
    pub(crate) tries: u32,
    /// How long it goes before something is measured.
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
}

/// How a server answers the calls that it begins with now.
#[derive(Clone, Copy)]
pub(crate) struct Behaviour {
    pub(crate) mean: Duration,
    /// The share of calls that get a quick 503.
    pub(crate) fails: f64,
}

impl Behaviour {
    pub(crate) const fn good(mean: Duration) -> Self {
        Self { mean, fails: 0.0 }
    }
}

/// Runs `plan` with clients that `make` makes, given their seeds.
pub(crate) fn run<C: Client>(plan: &Plan<'_>, seed: u64, make: impl FnMut(u64) -> C) -> Tally {
    // What is left to chance elsewhere: the length of an ejection, the first turn.
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let clients: Vec<C> =
        std::iter::repeat_with(|| random.u64(..)).take(plan.clients).map(make).collect();
    let servers = (0..plan.servers).map(|_| Server::default()).collect();
    let mut world = World {
        plan,
        random,
        now: 0,
        clients,
        servers,
        calls: HashMap::new(),
        events: BinaryHeap::new(),
        made: 0,
        tally: Tally::new(plan.servers, plan.clients),
    };
    world.run();
    world.tally
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    Done(u64),
    GivenUp(u64),
    Look,
}

#[derive(Default)]
struct Server {
    busy: usize,
    /// Those that were given up are still in it.
    queue: VecDeque<u64>,
}

struct Call<P> {
    client: usize,
    server: usize,
    place: P,
    arrived: u64,
    sent: u64,
    in_service: bool,
    fails: bool,
    attempts: Option<Attempts>,
}

struct World<'a, C: Client> {
    plan: &'a Plan<'a>,
    random: fastrand::Rng,
    /// Microseconds.
    now: u64,
    clients: Vec<C>,
    servers: Vec<Server>,
    calls: HashMap<u64, Call<C::Place>>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    made: u64,
    tally: Tally,
}

impl<C: Client> World<'_, C> {
    fn run(&mut self) {
        let end = micros(self.plan.warm_up + self.plan.length);
        self.after(Duration::ZERO, Event::Arrives);
        self.after(self.plan.warm_up, Event::Look);
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at >= end {
                break;
            }
            self.now = at;
            match event {
                Event::Arrives => self.arrive(),
                Event::Done(call) => self.finish(call),
                Event::GivenUp(call) => self.give_up(call),
                Event::Look => self.look(),
            }
        }
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.made += 1;
        self.events.push(Reverse((self.now + micros(wait), self.made, event)));
    }

    /// How long it has been measured.
    fn measured(&self) -> Option<Duration> {
        Duration::from_micros(self.now).checked_sub(self.plan.warm_up)
    }

    fn arrive(&mut self) {
        let wait = self.exponential(Duration::from_secs(1)).div_f64(self.plan.rate);
        self.after(wait, Event::Arrives);
        let client = self.random.usize(..self.clients.len());
        let attempts = (self.plan.tries > 1).then(|| Attempts::first_of(self.plan.tries));
        let sent = self.clients[client].send(attempts.as_ref(), Moment::from_micros(self.now));
        let Some((server, place)) = sent else {
            if self.measured().is_some() {
                self.tally.refused(client);
            }
            return;
        };
        let (arrived, sent) = (self.now, self.now);
        let (in_service, fails) = (false, false);
        let call = Call { client, server, place, arrived, sent, in_service, fails, attempts };
        self.made += 1;
        let number = self.made;
        self.calls.insert(number, call);
        self.after(self.plan.timeout, Event::GivenUp(number));
        self.enqueue(server, number);
    }

    fn enqueue(&mut self, server: usize, call: u64) {
        if let Some(measured) = self.measured() {
            self.tally.sent(server, measured);
        }
        self.servers[server].queue.push_back(call);
        self.serve(server);
    }

    fn serve(&mut self, server: usize) {
        while self.servers[server].busy < self.plan.slots {
            let Some(number) = self.servers[server].queue.pop_front() else { return };
            let behaviour = (self.plan.behaviour)(server, self.measured());
            let fails = self.random.f64() < behaviour.fails;
            let time = if fails { FAILS_IN } else { self.exponential(behaviour.mean) };
            let Some(call) = self.calls.get_mut(&number) else { continue };
            (call.in_service, call.fails) = (true, fails);
            self.servers[server].busy += 1;
            self.after(time, Event::Done(number));
        }
    }

    fn finish(&mut self, number: u64) {
        let Some(call) = self.calls.remove(&number) else { return };
        let from = call.server;
        self.servers[from].busy -= 1;
        let now = Moment::from_micros(self.now);
        let ended = if call.fails { Ended::Failed } else { Ended::Answered };
        let took = Duration::from_micros(self.now - call.sent);
        self.clients[call.client].settle(call.place, ended, took, now);
        let again =
            call.attempts.as_ref().filter(|attempts| call.fails && attempts.begin().is_some());
        let again = again.and_then(|tried| self.clients[call.client].send(Some(tried), now));
        if let Some((server, place)) = again {
            let (sent, in_service) = (self.now, false);
            self.calls.insert(number, Call { server, place, sent, in_service, ..call });
            self.enqueue(server, number);
        } else {
            let whole = Duration::from_micros(self.now - call.arrived);
            self.count(call.client, call.arrived, ended, whole);
        }
        self.serve(from);
    }

    fn give_up(&mut self, number: u64) {
        let Some(call) = self.calls.remove(&number) else { return };
        let now = Moment::from_micros(self.now);
        let took = Duration::from_micros(self.now - call.sent);
        self.clients[call.client].settle(call.place, Ended::GivenUp, took, now);
        self.count(call.client, call.arrived, Ended::GivenUp, took);
        if call.in_service {
            self.servers[call.server].busy -= 1;
            self.serve(call.server);
        }
    }

    /// Calls that arrived before it was measured are not part of it.
    fn count(&mut self, client: usize, arrived: u64, ended: Ended, took: Duration) {
        if arrived >= micros(self.plan.warm_up) {
            self.tally.ended(client, ended, took);
        }
    }

    fn look(&mut self) {
        let now = Moment::from_micros(self.now);
        let ejected = self.clients.iter().map(|client| client.ejected(now)).sum();
        self.tally.ejected(ejected, self.clients.len());
        self.after(LOOK_EVERY, Event::Look);
    }

    fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.random.f64()).ln())
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
