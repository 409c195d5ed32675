//! tower's own `p2c::Balance`, driven by the clock of the simulation.

use std::{
    cell::Cell,
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_balance::Moment;
use buttress_core::Attempts;
use tower::{
    Service,
    balance::p2c::Balance,
    discover::ServiceList,
    load::{CompleteOnResponse, Load, PeakEwma, PendingRequests},
    util::rng::Rng,
};

use crate::simulation::client::{Client, Ended};

/// What linkerd used it with; tower has no defaults.
const DEFAULT_RTT: Duration = Duration::from_millis(30);
const DECAY: Duration = Duration::from_secs(10);

/// Tokio's clock, paused, as far as the simulation is. The thread must be in a paused runtime.
#[derive(Clone, Default)]
pub(crate) struct Clock(Rc<Cell<u64>>);

impl Clock {
    fn reach(&self, now: Moment) {
        let step = now.as_micros() - self.0.replace(now.as_micros());
        if step > 0 {
            // The first poll moves the clock; what it waits for is a turn of the runtime.
            let advance = pin!(tokio::time::advance(Duration::from_micros(step)));
            let _ = advance.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// A server as tower sees it: it notes that it was chosen.
pub(crate) struct Server {
    number: usize,
    chosen: Rc<Cell<usize>>,
}

impl Service<Rc<Cell<bool>>> for Server {
    type Response = ();
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, answered: Rc<Cell<bool>>) -> Answer {
        self.chosen.set(self.number);
        Answer(answered)
    }
}

/// Ready when the simulation says so.
pub(crate) struct Answer(Rc<Cell<bool>>);

impl Future for Answer {
    type Output = Result<(), Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if self.0.get() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

struct Seeded(fastrand::Rng);

impl Rng for Seeded {
    fn next_u64(&mut self) -> u64 {
        self.0.u64(..)
    }
}

type Request = Rc<Cell<bool>>;

/// A client with tower's balancer over services of type `S`.
pub(crate) struct Tower<S: Service<Request>> {
    balance: Balance<ServiceList<Vec<S>>, Request>,
    chosen: Rc<Cell<usize>>,
    clock: Clock,
}

impl Tower<PeakEwma<Server>> {
    pub(crate) fn peak_ewma(servers: usize, clock: Clock, seed: u64) -> Self {
        let decay = DECAY.as_secs_f64() * 1e9;
        let measured =
            |server| PeakEwma::new(server, DEFAULT_RTT, decay, CompleteOnResponse::default());
        Self::new(servers, measured, clock, seed)
    }
}

impl Tower<PendingRequests<Server>> {
    pub(crate) fn pending_requests(servers: usize, clock: Clock, seed: u64) -> Self {
        let measured = |server| PendingRequests::new(server, CompleteOnResponse::default());
        Self::new(servers, measured, clock, seed)
    }
}

impl<S> Tower<S>
where
    S: Service<Request, Response = (), Error = Infallible> + Load,
    S::Metric: std::fmt::Debug,
{
    fn new(servers: usize, measured: impl Fn(Server) -> S, clock: Clock, seed: u64) -> Self {
        let chosen = Rc::new(Cell::new(0));
        let server = |number| Server { number, chosen: Rc::clone(&chosen) };
        let services: Vec<S> = (0..servers).map(server).map(measured).collect();
        let random = Seeded(fastrand::Rng::with_seed(seed));
        let balance = Balance::from_rng(ServiceList::new(services), random);
        Self { balance, chosen, clock }
    }
}

/// A call: its future, and what makes it ready.
pub(crate) struct Place<F>(Pin<Box<F>>, Request);

impl<S> Client for Tower<S>
where
    S: Service<Request, Response = (), Error = Infallible> + Load,
    S::Metric: std::fmt::Debug,
{
    type Place = Place<<Balance<ServiceList<Vec<S>>, Request> as Service<Request>>::Future>;

    /// It does not know what was tried.
    fn send(&mut self, _: Option<&Attempts>, now: Moment) -> Option<(usize, Self::Place)> {
        self.clock.reach(now);
        let ready = self.balance.poll_ready(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(ready, Poll::Ready(Ok(()))), "every server is always ready");
        let answered = Rc::new(Cell::new(false));
        let future = Box::pin(self.balance.call(Rc::clone(&answered)));
        Some((self.chosen.get(), Place(future, answered)))
    }

    fn settle(&mut self, mut place: Self::Place, ended: Ended, _: Duration, now: Moment) {
        self.clock.reach(now);
        if ended != Ended::GivenUp {
            // A 503 is a response like any other.
            place.1.set(true);
            let done = place.0.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(done, Poll::Ready(Ok(()))), "the server has answered");
        }
    }

    fn ejected(&self, _: Moment) -> usize {
        0
    }
}
