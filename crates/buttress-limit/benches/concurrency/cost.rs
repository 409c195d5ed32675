//! The whole layer around a service that answers at once.

use std::{
    future::{Ready, ready},
    hint::black_box,
    io,
    task::{Context, Poll, Waker},
};

use buttress_core::BoxError;
use buttress_limit::{
    Concurrency, ConcurrencyLimitLayer, ThrottleLayer, Throttling,
    concurrency::{Aimd, Gradient, Limit, Wait},
    throttle::Rule,
};
use buttress_testkit::{Bench, bench::poll_once};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service, limit::ConcurrencyLimit};

type Get = Request<()>;

/// Answers at once with one status.
#[derive(Clone, Copy)]
struct Answers(StatusCode);

const OK: Answers = Answers(StatusCode::OK);
const BUSY: Answers = Answers(StatusCode::SERVICE_UNAVAILABLE);

impl Service<Get> for Answers {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Get) -> Self::Future {
        drop(black_box(request));
        let mut response = Response::new(Full::from(Bytes::from_static(b"x")));
        *response.status_mut() = self.0;
        ready(black_box(Ok(response)))
    }
}

fn call<S: Service<Get>>(service: &mut S, request: Get) -> Result<S::Response, S::Error> {
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))), "every service is ready");
    poll_once(service.call(request))
}

fn request() -> Get {
    Request::new(())
}

fn fixed(limit: usize) -> Concurrency {
    match Limit::fixed(limit) {
        Ok(limit) => Concurrency::new(limit),
        Err(error) => unreachable!("{error}"),
    }
}

fn full() -> (Concurrency, buttress_limit::concurrency::Permit) {
    let limit = fixed(1);
    match limit.try_acquire() {
        Ok(permit) => (limit, permit),
        Err(error) => unreachable!("{error}"),
    }
}

/// A permit taken and given back, the answer and its body dropped.
pub(crate) fn limits() -> io::Result<()> {
    const BARE: &str = "bare service";
    // A timer is made for a wait, though none is waited for here.
    let mut bare = OK;
    let mut tower = ConcurrencyLimit::new(OK, 100);
    let mut reject = ConcurrencyLimitLayer::inbound(fixed(100)).layer(OK);
    let mut wait = ConcurrencyLimitLayer::outbound(fixed(100)).wait(Wait::fifo()).layer(OK);
    let mut aimd = ConcurrencyLimitLayer::inbound(Concurrency::new(Aimd::new())).layer(OK);
    let mut gradient = ConcurrencyLimitLayer::inbound(Concurrency::new(Gradient::new())).layer(OK);
    let keys = match Limit::fixed(100).and_then(|limit| Concurrency::per_key(limit, 200_000)) {
        Ok(keys) => keys,
        Err(error) => unreachable!("{error}"),
    };
    let number = std::sync::atomic::AtomicU32::new(0);
    let keyed = ConcurrencyLimitLayer::inbound_keyed(keys, move |_| {
        number.fetch_add(1, std::sync::atomic::Ordering::Relaxed).wrapping_mul(7919) % 100_000
    });
    let mut keyed = keyed.layer(OK);
    let (limit, _held) = full();
    let mut refused = ConcurrencyLimitLayer::inbound(limit.clone()).layer(OK);
    let mut failed = ConcurrencyLimitLayer::outbound(limit).reject().layer(OK);
    Bench::new("a limit on calls under way")
        .case_with(BARE, request, move |r| call(&mut bare, r))
        .case_with("tower ConcurrencyLimit", request, move |r| call(&mut tower, r))
        .case_with("reject", request, move |r| call(&mut reject, r))
        .case_with("wait (a place is free)", request, move |r| call(&mut wait, r))
        .case_with("reject, 100,000 keys", request, move |r| call(&mut keyed, r))
        .case_with("aimd", request, move |r| call(&mut aimd, r))
        .case_with("gradient", request, move |r| call(&mut gradient, r))
        .case_with("refused, by an answer", request, move |r| call(&mut refused, r))
        .case_with("refused, by an error", request, move |r| call(&mut failed, r))
        .baseline(BARE)
        .calls(500)
        .rounds(300)
        .run()
        .map(drop)
}

pub(crate) fn throttles() -> io::Result<()> {
    const BARE: &str = "bare service";
    let mut bare = OK;
    let mut dormant = ThrottleLayer::new(Throttling::new(Rule::new())).layer(OK);
    let awake = Throttling::new(Rule::new());
    let _ = call(&mut ThrottleLayer::new(awake.clone()).layer(BUSY), request());
    let mut awake = ThrottleLayer::new(awake).layer(OK);
    let refusing = Throttling::new(Rule::new());
    let mut busy = ThrottleLayer::new(refusing).layer(BUSY);
    for _ in 0..1_000 {
        let _ = call(&mut busy, request());
    }
    Bench::new("a throttle")
        .case_with(BARE, request, move |r| call(&mut bare, r))
        .case_with("dormant", request, move |r| call(&mut dormant, r))
        .case_with("awake, nothing refused", request, move |r| call(&mut awake, r))
        .case_with("99 of 100 refused", request, move |r| call(&mut busy, r))
        .baseline(BARE)
        .calls(500)
        .rounds(300)
        .run()
        .map(drop)
}
