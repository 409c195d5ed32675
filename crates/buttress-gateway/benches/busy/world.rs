//! Three endpoints that fall busy, and those who call them.

use std::{
    fmt,
    future::Future,
    io,
    ops::AddAssign,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_gateway::rehearse::{
    BusySpells, Draws, Gate, Parameters, ServerParameters, ServiceTime, Stream, Usage,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

const ENDPOINTS: u64 = 3;

/// A way for a call to get to the endpoints.
pub(crate) trait Way: Clone + Send + Sync + 'static {
    /// Whether it was answered.
    fn call(&self) -> impl Future<Output = bool> + Send;
}

/// One endpoint, as those of the rehearsal without their sockets.
#[derive(Debug)]
pub(crate) struct Endpoint {
    server: ServerParameters,
    gate: Arc<Gate>,
    service: ServiceTime,
    draws: Mutex<Draws>,
    requests: AtomicU64,
}

impl Endpoint {
    fn new(server: ServerParameters, number: u64, seed: u64) -> io::Result<Self> {
        Ok(Self {
            gate: Gate::new(server.slots, server.queue),
            service: ServiceTime::new(server.service_mean, server.service_variation)?,
            draws: Mutex::new(Draws::new(seed, Stream::Service(number))),
            server,
            requests: AtomicU64::new(0),
        })
    }

    /// Whether it answers; if not, it is too busy.
    pub(crate) async fn answers(&self) -> bool {
        self.requests.fetch_add(1, Ordering::Relaxed);
        sleep(self.server.network_delay).await;
        let Some(ticket) = self.gate.enter() else { return false };
        let time = self.draws.lock().unwrap_or_else(PoisonError::into_inner).time(&self.service);
        ticket.turn().await.serve(time).await;
        true
    }
}

/// The endpoints and the callers of one seed.
#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    parameters: Parameters,
    endpoints: Arc<[Arc<Endpoint>]>,
}

impl World {
    pub(crate) fn new(seed: u64) -> io::Result<Self> {
        let parameters = Parameters::default();
        let endpoint =
            |number| Endpoint::new(parameters.server.clone(), number, seed).map(Arc::new);
        let endpoints: io::Result<Vec<_>> = (0..ENDPOINTS).map(endpoint).collect();
        Ok(Self { seed, endpoints: endpoints?.into(), parameters })
    }

    pub(crate) fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        Arc::clone(&self.endpoints)
    }

    /// Lets the callers loose on `way` for as long as a rehearsal takes.
    pub(crate) async fn play<W: Way>(&self, way: W) -> io::Result<Figures> {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for (number, endpoint) in (0..).zip(&*self.endpoints) {
            let draws = Draws::new(self.seed, Stream::Busy(number));
            let gate = Arc::clone(&endpoint.gate);
            tasks.spawn(async move { gate.fall_busy(&BusySpells::default(), draws, start).await });
        }
        let calls = Arc::new(Mutex::new(Vec::new()));
        for number in 0..self.parameters.traffic.callers {
            let (way, calls) = (way.clone(), Arc::clone(&calls));
            let mut draws = Draws::new(self.seed, Stream::Caller(number));
            let think = self.parameters.traffic.think_mean;
            tasks.spawn(async move {
                loop {
                    sleep(draws.exponential(think)).await;
                    let asked = Instant::now();
                    let good = way.call().await;
                    let call = (asked.elapsed(), good);
                    calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
                }
            });
        }
        let schedule = &self.parameters.schedule;
        sleep_until(start + schedule.warm_up).await;
        let (before, used) = (self.requests(), self.usage());
        calls.lock().unwrap_or_else(PoisonError::into_inner).clear();
        sleep_until(start + schedule.total()).await;
        let calls = std::mem::take(&mut *calls.lock().unwrap_or_else(PoisonError::into_inner));
        let (requests, usage) = (self.requests() - before, self.usage().since(used));
        tasks.shutdown().await;
        Ok(Figures::of(&calls, requests, usage))
    }

    fn requests(&self) -> u64 {
        self.endpoints.iter().map(|endpoint| endpoint.requests.load(Ordering::Relaxed)).sum()
    }

    fn usage(&self) -> Usage {
        self.endpoints.iter().map(|endpoint| endpoint.gate.usage()).sum()
    }
}

/// What came of some runs.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    runs: f64,
    calls: f64,
    good: f64,
    requests: f64,
    time: f64,
    /// The sum over the runs.
    p99: f64,
    taken: f64,
    offered: f64,
}

impl Figures {
    pub(crate) const HEAD: &'static str =
        "  failed       good a run   mean s   p99 s   requests a run   slots in use";

    #[expect(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52")]
    fn of(calls: &[(Duration, bool)], requests: u64, usage: Usage) -> Self {
        let mut times: Vec<_> = calls.iter().map(|(time, _)| time.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        Self {
            runs: 1.0,
            calls: calls.len() as f64,
            good: calls.iter().filter(|(_, good)| *good).count() as f64,
            requests: requests as f64,
            time: times.iter().sum(),
            p99: times.get(times.len() * 99 / 100).copied().unwrap_or_default(),
            taken: usage.taken.as_secs_f64(),
            offered: usage.offered.as_secs_f64(),
        }
    }

    /// The share of calls that failed.
    pub(crate) fn failed(&self) -> f64 {
        1.0 - self.good / self.calls
    }

    /// The share of the slots' time that was used.
    pub(crate) fn used(&self) -> f64 {
        self.taken / self.offered
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.calls += other.calls;
        self.good += other.good;
        self.requests += other.requests;
        self.time += other.time;
        self.p99 += other.p99;
        self.taken += other.taken;
        self.offered += other.offered;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:7.4} % {:14.1} {:8.3} {:7.2} {:16.0} {:12.2} %",
            100.0 * self.failed(),
            self.good / self.runs,
            self.time / self.calls,
            self.p99 / self.runs,
            self.requests / self.runs,
            100.0 * self.used(),
        )
    }
}
