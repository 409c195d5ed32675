//! What a call that is let in, and one that is refused, allocates: nothing of the layer's own, but for
//! the words of an answer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod overload_common;

use std::{
    hint::black_box,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use buttress_limit::{
    Concurrency, ConcurrencyLimitLayer, ThrottleLayer, Throttling,
    concurrency::{Aimd, Gradient, Limit, Wait},
    overload::Bare,
    throttle::Rule,
};
use buttress_testkit::bench::poll_once;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use overload_common::{answers, fixed, status};
use tower::{Layer, Service};

fn call<S: Service<Request<Empty<Bytes>>>>(service: &mut S) {
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))));
    let _ = black_box(poll_once(service.call(Request::new(Empty::new()))));
}

/// How many allocations a call makes, from the second one on.
fn count<S: Service<Request<Empty<Bytes>>>>(mut service: S) -> u64 {
    call(&mut service);
    let [first, second] = [(), ()].map(|()| measure(|| call(&mut service)).count_total);
    assert_eq!(first, second, "every call costs the same");
    first
}

fn body() -> Response<Full<Bytes>> {
    Response::new(Full::from("x"))
}

#[test]
fn a_call_that_is_let_in_allocates_nothing() {
    let inner = || answers(body);
    assert_eq!(count(inner()), 0);
    assert_eq!(count(ConcurrencyLimitLayer::inbound(fixed(9)).layer(inner())), 0);
    let wait = ConcurrencyLimitLayer::outbound(fixed(9)).wait(Wait::fifo());
    assert_eq!(count(wait.layer(inner())), 0);
    let aimd = Concurrency::new(Aimd::new());
    assert_eq!(count(ConcurrencyLimitLayer::inbound(aimd).layer(inner())), 0);
    let gradient = Concurrency::new(Gradient::new());
    assert_eq!(count(ConcurrencyLimitLayer::inbound(gradient).layer(inner())), 0);
    let keyed = Concurrency::per_key(Limit::fixed(9).unwrap(), 9).unwrap();
    let keyed = ConcurrencyLimitLayer::inbound_keyed(keyed, |head| head.uri.path().len());
    assert_eq!(count(keyed.layer(inner())), 0);
}

#[test]
fn a_refusal_makes_its_answer_and_nothing_else() {
    let limit = fixed(1);
    let _held = limit.try_acquire().unwrap();
    let bare = ConcurrencyLimitLayer::inbound(limit.clone()).answer(Bare::default());
    // The two tables of a header map.
    assert_eq!(count(bare.layer(answers(body))), 2);
    let problem = ConcurrencyLimitLayer::inbound(limit.clone());
    assert_eq!(count(problem.layer(answers(body))), 2);
    let error = ConcurrencyLimitLayer::outbound(limit.clone()).reject();
    assert_eq!(count(error.layer(answers(body))), 1, "the boxed error");
    // However often: no key is remembered for it.
    let keyed = Concurrency::per_key(Limit::fixed(1).unwrap(), 1).unwrap();
    let _held = keyed.try_acquire_for(&0).unwrap();
    let keyed = ConcurrencyLimitLayer::outbound_keyed(keyed, |_| 1).reject();
    assert_eq!(count(keyed.layer(answers(body))), 1, "the boxed error");
}

#[test]
fn a_throttle_allocates_nothing_for_calls_that_are_sent() {
    let throttling = Throttling::new(Rule::new());
    let layer = ThrottleLayer::new(throttling.clone());
    assert_eq!(count(layer.layer(answers(body))), 0, "dormant");
    call(&mut layer.layer(answers(|| status(503))));
    assert!(!throttling.is_dormant());
    assert_eq!(count(layer.layer(answers(body))), 0, "awake");
}
