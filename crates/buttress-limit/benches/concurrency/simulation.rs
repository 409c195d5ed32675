//! Clients that call a server which has too much to do, in virtual time and from a seed: what the
//! throttle makes of it, beside the plain rule with a window of fixed length, and beside nothing.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use buttress_limit::{
    ThrottleLayer, Throttling,
    throttle::{Rule, Throttle},
};
use buttress_testkit::bench::poll_once;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use tokio::time::{Instant, advance};
use tower::{Layer, Service};

/// What throttles the clients, each by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Nothing.
    None,
    /// The layer.
    Layer { k: f64 },
    /// The rule as the book has it, over all requests, in a window of so many seconds.
    Plain { k: f64, window: u64 },
}

/// What the server does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) clients: usize,
    /// Calls a second, of all clients together.
    pub(crate) offered: u64,
    /// Calls that the server can serve in a second; turning one away takes it 0.3 of that.
    pub(crate) capacity: u64,
    /// From when to when it turns away everything, in seconds.
    pub(crate) outage: (u64, u64),
    pub(crate) seconds: u64,
}

/// What came of each second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Second {
    pub(crate) served: u64,
    /// Turned away by the server.
    pub(crate) turned_away: u64,
    /// Not sent.
    pub(crate) throttled: u64,
}

struct Work {
    scenario: Scenario,
    begun: Instant,
    /// Until when the server has something to do, in seconds.
    busy_until: f64,
}

#[derive(Clone)]
struct Server(Arc<Mutex<Work>>);

impl Server {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    fn serve(&self) -> bool {
        let mut work = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = work.begun.elapsed().as_secs_f64();
        let (from, to) = work.scenario.outage;
        if (from as f64..to as f64).contains(&now) {
            return false;
        }
        let cost = 1.0 / work.scenario.capacity as f64;
        let begin = work.busy_until.max(now);
        // It lets half a second's worth wait.
        let serves = begin - now < 0.5;
        work.busy_until = begin + if serves { cost } else { 0.3 * cost };
        serves
    }
}

impl Service<Request<Empty<Bytes>>> for Server {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        let mut response = Response::new(Empty::new());
        if !self.serve() {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        ready(Ok(response))
    }
}

type Throttled = Throttle<Server, (), buttress_limit::overload::Fail, buttress_core::ByStatus, ()>;

enum Client {
    Bare(Server),
    Layer(Throttled),
    Plain {
        server: Server,
        k: f64,
        window: Duration,
        seen: VecDeque<(Instant, bool)>,
        accepts: u32,
    },
}

/// What became of one call: `None` if it was not sent, else whether it was served.
fn call(client: &mut Client, random: &mut fastrand::Rng) -> Option<bool> {
    match client {
        Client::Bare(server) => Some(server.serve()),
        Client::Layer(service) => {
            let ready = service.poll_ready(&mut Context::from_waker(std::task::Waker::noop()));
            assert!(ready.is_ready());
            poll_once(service.call(Request::new(Empty::new())))
                .ok()
                .map(|r| r.status().is_success())
        }
        Client::Plain { server, k, window, seen, accepts } => {
            let now = Instant::now();
            while seen.front().is_some_and(|(at, _)| now - *at > *window) {
                *accepts -= u32::from(seen.pop_front().is_some_and(|(_, accepted)| accepted));
            }
            let requests = f64::from(u32::try_from(seen.len()).unwrap_or(u32::MAX));
            let share = k.mul_add(-f64::from(*accepts), requests) / (requests + 1.0);
            let sent = random.f64() >= share;
            let served = sent && server.serve();
            *accepts += u32::from(served);
            seen.push_back((now, served));
            sent.then_some(served)
        }
    }
}

/// Runs it, second by second. Needs a runtime whose time is paused.
pub(crate) async fn run(scenario: Scenario, kind: Kind, seed: u64) -> Vec<Second> {
    // The layer draws from this thread's source.
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let work = Work { scenario, begun: Instant::now(), busy_until: 0.0 };
    let server = Server(Arc::new(Mutex::new(work)));
    let client = |_| match kind {
        Kind::None => Client::Bare(server.clone()),
        Kind::Layer { k } => {
            let rule = Rule::new().k(k).unwrap_or_else(|error| panic!("{error}"));
            Client::Layer(ThrottleLayer::new(Throttling::new(rule)).layer(server.clone()))
        }
        Kind::Plain { k, window } => Client::Plain {
            server: server.clone(),
            k,
            window: Duration::from_secs(window),
            seen: VecDeque::new(),
            accepts: 0,
        },
    };
    let mut clients: Vec<_> = (0..scenario.clients).map(client).collect();
    let mut seconds = Vec::new();
    for _ in 0..scenario.seconds {
        let mut second = Second::default();
        for _ in 0..scenario.offered {
            advance(Duration::from_secs(1) / u32::try_from(scenario.offered).unwrap_or(1)).await;
            let client = random.usize(..clients.len());
            match call(&mut clients[client], &mut random) {
                Some(true) => second.served += 1,
                Some(false) => second.turned_away += 1,
                None => second.throttled += 1,
            }
        }
        seconds.push(second);
    }
    seconds
}

/// Four times as many calls as the server can serve.
pub(crate) const OVERLOAD: Scenario =
    Scenario { clients: 20, offered: 400, capacity: 100, outage: (0, 0), seconds: 180 };

/// A server that turns everything away for a minute, and has no trouble before and after.
pub(crate) const OUTAGE: Scenario =
    Scenario { clients: 20, offered: 400, capacity: 1_000, outage: (60, 120), seconds: 300 };

/// How many are served and turned away in a second, over the last two minutes.
#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
pub(crate) fn steady(seconds: &[Second]) -> (f64, f64) {
    let last = &seconds[seconds.len() - 120..];
    let mean = |of: fn(&Second) -> u64| last.iter().map(of).sum::<u64>() as f64 / 120.0;
    (mean(|second| second.served), mean(|second| second.turned_away))
}

/// Seconds from the end of the outage until nine of ten calls are served again.
pub(crate) fn recovery(scenario: &Scenario, seconds: &[Second]) -> Option<u64> {
    let end = usize::try_from(scenario.outage.1).ok()?;
    let back = |second: &Second| second.served * 10 >= scenario.offered * 9;
    let took = seconds[end..].iter().position(back)?;
    Some(u64::try_from(took).ok()? + 1)
}
