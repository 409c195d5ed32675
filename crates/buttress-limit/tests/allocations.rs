//! What a decision allocates.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use buttress_limit::{Global, Local, Quota, RateLimitLayer};
use buttress_testkit::bench::poll_once;
use bytes::Bytes;
use common::{admitted, one};
use http::{Request, Response};
use http_body_util::Empty;
use tower::{Layer, Service};

/// Answers at once, and allocates nothing.
#[derive(Clone)]
struct Bare;

impl Service<Request<Empty<Bytes>>> for Bare {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

fn call(layer: &RateLimitLayer<Local, Global>) -> (u64, u16) {
    let mut service = layer.layer(Bare);
    let request = Request::new(Empty::new());
    let mut status = 0;
    let seen = measure(|| {
        let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
        assert!(ready.is_ready());
        status = poll_once(service.call(request)).unwrap().status().as_u16();
    });
    (seen.count_total, status)
}

#[test]
fn saying_what_is_left_costs_an_allocation_beside_the_headers_own() {
    let limiter = Local::new(Quota::per_day(1_000).unwrap()).unwrap();
    let layer = RateLimitLayer::inbound(limiter).key(Global::new()).headers();
    let _ = call(&layer);
    for _ in 0..100 {
        // What is to be said, the text of it, and the two of a map of headers.
        assert_eq!(call(&layer), (4, 200));
    }
}

#[test]
fn a_decision_allocates_nothing() {
    let limiter = Local::new(Quota::per_day(10).unwrap()).unwrap();
    assert_eq!(admitted(&limiter, one("a"), 1), 1);
    let seen = measure(|| assert_eq!(admitted(&limiter, one("a"), 100), 9));
    assert_eq!(seen.count_total, 0);
}

#[test]
fn what_is_admitted_costs_no_allocation_and_what_is_denied_only_its_answer() {
    let limiter = Local::new(Quota::per_day(2).unwrap()).unwrap();
    let layer = RateLimitLayer::inbound(limiter.clone()).key(Global::new());
    let _ = call(&layer);
    assert_eq!(call(&layer), (0, 200));
    let memory = limiter.memory();
    let (count, status) = call(&layer);
    assert_eq!(status, 429);
    assert!(count <= 10, "{count}");
    let mut copies = 0;
    for _ in 0..1_000 {
        let (count, status) = call(&layer);
        assert!(status == 429 && count <= 16, "each denial is like the one before: {count}");
        // The headers of an answer that is there are all that is copied.
        copies += u32::from(count <= 2);
    }
    assert!(copies > 900, "{copies} of 1000 were prepared, but for a few where a second began");
    assert_eq!(limiter.memory(), memory);
}
