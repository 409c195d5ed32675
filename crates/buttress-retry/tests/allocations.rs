//! What a call that succeeds at its first attempt allocates, beside the bare service.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future::{Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use buttress_core::BoxError;
use buttress_retry::{
    Budget, CommitLayer, FirstFrame, HttpPolicy, NoRetry, Repeat, ReplayLimits, RetryLayer,
};
use buttress_testkit::{Script, bench::poll_once};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{Empty, Full};
use tower::{Layer, Service};

/// Answers at once, when it has read the body, and allocates nothing.
#[derive(Clone)]
struct Bare;

impl Service<u64> for Bare {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, number: u64) -> Self::Future {
        ready(Ok(number))
    }
}

impl<B: Body> Service<Request<B>> for Bare {
    type Response = Response<Empty<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut body = pin!(request.into_body());
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(_)) = body.as_mut().poll_frame(&mut cx) {}
        ready(Ok(Response::new(Empty::new())))
    }
}

fn call<S: Service<R>, R>(service: &mut S, request: R) {
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))));
    assert!(poll_once(service.call(black_box(request))).is_ok());
}

/// How many allocations the service makes for a request, from the second call on.
fn count<S: Service<R>, R>(service: &mut S, request: impl Fn() -> R) -> u64 {
    call(service, request());
    let requests = [request(), request()];
    let [first, second] = requests.map(|request| measure(|| call(service, request)).count_total);
    assert_eq!(first, second, "every call costs the same");
    first
}

/// How many more it makes than the bare service.
fn added<S: Service<R>, R>(service: &mut S, request: impl Fn() -> R) -> u64
where
    Bare: Service<R>,
{
    let bare = count(&mut Bare, &request);
    count(service, request) - bare
}

fn head(method: Method) -> http::request::Builder {
    let head = Request::builder().method(method).uri("http://api.example/v1/things?page=2");
    ["accept", "authorization", "x-one", "x-two", "x-three", "x-four", "x-five", "x-six", "x-seven"]
        .into_iter()
        .fold(head, |head, name| head.header(name, "a value of some length"))
        .header("x-ten", "ten")
}

/// Clones of one request: a value that owns its bytes allocates once, when it is first cloned, no
/// matter by whom.
fn get() -> impl Fn() -> Request<Empty<Bytes>> {
    let template = head(Method::GET).body(Empty::new()).unwrap();
    move || template.clone()
}

fn post(key: Option<&'static str>) -> impl Fn() -> Request<Full<Bytes>> {
    let head = match key {
        Some(key) => head(Method::POST).header("idempotency-key", key),
        None => head(Method::POST),
    };
    let template = head.body(Full::from(vec![b'x'; 1024])).unwrap();
    move || template.clone()
}

#[test]
fn a_request_that_is_not_http_costs_no_allocation() {
    let layer = RetryLayer::new(Repeat::on_error());
    assert_eq!(added(&mut layer.clone().layer(Bare), || 7), 0);
    assert_eq!(added(&mut layer.clone().no_budget().layer(Bare), || 7), 0);
    assert_eq!(added(&mut layer.budget(Budget::grpc(10, 0.1).unwrap()).layer(Bare), || 7), 0);
}

#[test]
fn a_get_costs_one_allocation() {
    assert_eq!(added(&mut RetryLayer::http().layer(Bare), get()), 1);
    assert_eq!(added(&mut RetryLayer::busy().layer(Bare), get()), 1);
}

#[test]
fn a_body_that_is_cloned_costs_no_allocation_beyond_that_of_the_head() {
    assert_eq!(added(&mut RetryLayer::http().layer(Bare), post(Some("a-key"))), 1);
    assert_eq!(added(&mut RetryLayer::http().layer(Bare), post(None)), 1);
}

#[test]
fn a_request_without_headers_costs_no_allocation() {
    let template = Request::get("http://api.example/").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(added(&mut RetryLayer::http().layer(Bare), || template.clone()), 0);
}

#[test]
fn a_head_whose_values_own_their_bytes_costs_no_more_than_a_clone_of_the_request() {
    let fresh = || head(Method::GET).body(Empty::<Bytes>::new()).unwrap();
    let request = fresh();
    let clone = measure(|| drop(black_box(request.clone()))).count_total;
    assert!(clone > 2, "the values own their bytes");
    assert!(added(&mut RetryLayer::http().layer(Bare), fresh) < clone);
}

#[test]
fn a_request_that_can_never_go_again_costs_no_allocation() {
    let http = RetryLayer::http();
    let once = http.clone().max_attempts(1).unwrap();
    assert_eq!(added(&mut once.layer(Bare), get()), 0, "one attempt");

    let upgrade = head(Method::GET).header("upgrade", "websocket").body(Empty::<Bytes>::new());
    let upgrade = upgrade.unwrap();
    assert_eq!(added(&mut http.clone().layer(Bare), || upgrade.clone()), 0, "an upgrade");

    let connect = Request::connect("api.example:443").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(added(&mut http.clone().layer(Bare), || connect.clone()), 0, "CONNECT");

    let mut refused = get()();
    refused.extensions_mut().insert(NoRetry::new());
    assert_eq!(added(&mut http.layer(Bare), || refused.clone()), 0, "NoRetry");
}

#[test]
fn a_stream_that_is_too_long_to_be_kept_costs_no_allocation() {
    let policy = HttpPolicy::http().replay(ReplayLimits::new().per_request(1024));
    let put = || head(Method::PUT).body(Script::new().data("chunk").claim(1025)).unwrap();
    assert_eq!(added(&mut RetryLayer::new(policy).layer(Bare), put), 0);
}

#[test]
fn a_stream_of_nothing_costs_no_allocation_beyond_that_of_the_head() {
    let policy = HttpPolicy::http().replay(ReplayLimits::new());
    let template = get()();
    let get = || template.clone().map(|_| Script::new());
    assert_eq!(added(&mut RetryLayer::new(policy).layer(Bare), get), 1);
}

#[test]
fn a_held_response_costs_no_allocation_beyond_that_of_the_head() {
    assert_eq!(added(&mut CommitLayer::new(FirstFrame::new()).layer(Bare), get()), 0);
    assert_eq!(added(&mut RetryLayer::llm().layer(Bare), get()), 1);
    assert_eq!(added(&mut RetryLayer::grpc().layer(Bare), get()), 1);
}

#[test]
fn a_layer_and_its_service_are_cloned_without_copying_the_settings() {
    let service = RetryLayer::http().layer(Bare);
    assert_eq!(measure(|| drop(black_box(service.clone()))).count_total, 0);
}
