//! tower's balancer over services that are always ready.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll, Waker},
};

use buttress_testkit::bench::poll_once;
use tower::{
    Service,
    balance::p2c::Balance,
    discover::ServiceList,
    load::{CompleteOnResponse, Load, PeakEwma, PendingRequests},
};

/// Answers at once.
#[derive(Clone, Copy)]
pub(crate) struct Answers;

impl Service<()> for Answers {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

pub(crate) fn pending_requests<S>(service: S) -> PendingRequests<S> {
    PendingRequests::new(service, CompleteOnResponse::default())
}

pub(crate) fn peak_ewma<S>(service: S) -> PeakEwma<S> {
    let default_rtt = std::time::Duration::from_millis(30);
    PeakEwma::new(service, default_rtt, 1e10, CompleteOnResponse::default())
}

/// tower's balancer for one call at a time.
pub(crate) struct Tower<S: Service<()>>(Balance<ServiceList<Vec<S>>, ()>);

impl<S> Tower<S>
where
    S: Service<(), Response = (), Error = Infallible> + Load,
    S::Metric: std::fmt::Debug,
{
    pub(crate) fn new(count: usize, measured: impl Fn(Answers) -> S) -> Self {
        let services = (0..count).map(|_| measured(Answers)).collect::<Vec<_>>();
        Self(Balance::new(ServiceList::new(services)))
    }

    pub(crate) fn call(&mut self) {
        let ready = self.0.poll_ready(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(ready, Poll::Ready(Ok(()))), "every service is always ready");
        let answer = poll_once(self.0.call(()));
        assert!(answer.is_ok(), "every service answers");
    }
}
