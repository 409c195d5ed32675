//! The whole layer around a client that answers at once, beside tower's balancer with and without
//! the `Buffer` that makes it something to clone.

use std::{
    future::{Ready, ready},
    hint::black_box,
    io,
    task::{Context, Poll, Waker},
};

use buttress_balance::{BalanceLayer, RoundRobin};
use buttress_core::BoxError;
use buttress_testkit::{Bench, bench::poll_once};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tokio::runtime::Runtime;
use tower::{
    Layer, Service, ServiceExt, balance::p2c::Balance, buffer::Buffer, discover::ServiceList,
    load::Load,
};

use crate::{
    choices::endpoints,
    judge,
    peers::{peak_ewma, pending_requests},
};

type Get = Request<Empty<Bytes>>;

/// Answers 200 at once.
#[derive(Clone, Copy)]
struct Answers;

impl Service<Get> for Answers {
    type Response = Response<Empty<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Get) -> Self::Future {
        drop(black_box(request));
        ready(black_box(Ok(Response::new(Empty::new()))))
    }
}

fn get() -> Get {
    let request = Request::get("http://service.example/v1/things?page=2")
        .header("accept", "application/json")
        .header("user-agent", "bench")
        .body(Empty::new());
    match request {
        Ok(request) => request,
        Err(error) => unreachable!("the request is well formed: {error}"),
    }
}

fn call<S: Service<Get>>(service: &mut S, request: Get) -> Result<S::Response, S::Error> {
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))), "every service is always ready");
    poll_once(service.call(request))
}

fn balanced<S>(count: usize, measured: impl Fn(Answers) -> S) -> Balance<ServiceList<Vec<S>>, Get>
where
    S: Service<Get> + Load,
    S::Error: Into<BoxError>,
    S::Metric: std::fmt::Debug,
{
    Balance::new(ServiceList::new((0..count).map(|_| measured(Answers)).collect::<Vec<_>>()))
}

const BARE: &str = "bare client";
const LEAN: &str = "least_request, no failover, unmarked";

pub(crate) fn run(count: usize, runtime: &Runtime) -> io::Result<bool> {
    let template = get();
    let request = || template.clone();
    let layer = || BalanceLayer::new(endpoints(count));
    let lean = layer().least_request().without_failover().unmarked();
    let mut cloned = lean.clone().layer(Answers);
    let mut lean = lean.layer(Answers);
    let mut adaptive = layer().layer(Answers);
    let mut least = layer().least_request().layer(Answers);
    let mut once = layer().without_failover().unmarked().layer(Answers);
    let mut turns = layer().policy(RoundRobin::new()).layer(Answers);
    let mut pending = balanced(count, pending_requests);
    let mut peak = balanced(count, peak_ewma);
    let summary = Bench::new(format!("the whole layer, GET: {count} endpoints"))
        .case_with(BARE, request, |request| call(&mut Answers, request))
        .case_with("adaptive (default)", request, move |r| call(&mut adaptive, r))
        .case_with("adaptive, no failover, unmarked", request, move |r| call(&mut once, r))
        .case_with("least_request", request, move |r| call(&mut least, r))
        .case_with(LEAN, request, move |r| call(&mut lean, r))
        .case_with("the same, cloned for each call", request, move |r| {
            cloned = cloned.clone();
            call(&mut cloned, r)
        })
        .case_with("round_robin", request, move |r| call(&mut turns, r))
        .case_with("tower p2c, PendingRequests", request, move |r| call(&mut pending, r))
        .case_with("tower p2c, PeakEwma", request, move |r| call(&mut peak, r))
        .baseline(BARE)
        .calls(500)
        .rounds(300)
        .run()?;
    // Whatever is allocated without failover and mark is the layer's own.
    let bare = summary.case(BARE).map_or(0.0, |bare| bare.allocations());
    let met = judge(&summary, &[(LEAN, f64::INFINITY, bare)])?;
    buffered(count, runtime)?;
    Ok(met)
}

/// A `Buffer` has a task of its own, so a runtime has to turn for each call.
fn buffered(count: usize, runtime: &Runtime) -> io::Result<()> {
    let template = get();
    let request = || template.clone();
    let _inside = runtime.enter();
    let mut pending = Buffer::new(balanced(count, pending_requests), 1_024);
    let mut peak = Buffer::new(balanced(count, peak_ewma), 1_024);
    let mut adaptive = BalanceLayer::new(endpoints(count)).layer(Answers);
    let summary = Bench::new(format!("on a runtime, one call at a time: {count} endpoints"))
        .case_with(BARE, request, |r| runtime.block_on(whole(&mut Answers, r)))
        .case_with("adaptive (default)", request, move |r| {
            runtime.block_on(whole(&mut adaptive, r))
        })
        .case_with("tower p2c, PendingRequests, Buffer", request, move |r| {
            runtime.block_on(whole(&mut pending, r))
        })
        .case_with("tower p2c, PeakEwma, Buffer", request, move |r| {
            runtime.block_on(whole(&mut peak, r))
        })
        .baseline(BARE)
        .calls(500)
        .rounds(200)
        .run()?;
    judge(&summary, &[]).map(drop)
}

async fn whole<S: Service<Get>>(service: &mut S, request: Get) -> Result<S::Response, S::Error> {
    service.ready().await?.call(request).await
}
