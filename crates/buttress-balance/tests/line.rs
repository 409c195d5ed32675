//! Whoever waits, or could, holds nobody up who need not.

mod common;

use std::{
    convert::Infallible,
    future::{Future as _, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_balance::{BalanceLayer, EndpointSet, Health, RoundRobin};
use buttress_core::Attempts;
use bytes::Bytes;
use common::{Net, endpoint, get, set};
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::Instant;
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

#[tokio::test(start_paused = true)]
async fn a_retry_whose_only_other_endpoint_is_full_goes_again_and_holds_nobody_up() {
    let net = Net::new();
    let full = endpoint("b").max_in_flight(1).unwrap();
    let set = EndpointSet::new([endpoint("a"), full]).unwrap();
    net.hangs("b");
    let layer = BalanceLayer::new(set.clone()).policy(RoundRobin::new());
    let client = layer.queue(100, Duration::from_secs(5)).layer(net.clone());
    let mut held = Vec::new();
    while set.snapshot()[1].in_flight == 0 {
        let mut call = Box::pin(client.clone().oneshot(get()));
        let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        held.push(call);
    }
    let attempts = Attempts::first_of(9);
    attempts.note_endpoint(set.candidates()[0].id().number());
    let mut again = get();
    again.extensions_mut().insert(attempts);
    let before = Instant::now();
    let (retry, fresh) = tokio::join!(client.clone().oneshot(again), client.clone().oneshot(get()));
    assert!(retry.is_ok() && fresh.is_ok());
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_polls_has_no_place_in_line() {
    let net = Net::new();
    let set = EndpointSet::new([endpoint("a").max_in_flight(1).unwrap()]).unwrap();
    net.takes("a", Duration::from_millis(10), 200);
    let client = BalanceLayer::new(set).least_request().layer(net.clone());
    let first = tokio::spawn(client.clone().oneshot(get()));
    tokio::task::yield_now().await;
    let unpolled = client.clone().call(get());
    drop(first.await.unwrap());
    let before = Instant::now();
    drop(client.clone().oneshot(get()).await.unwrap());
    assert_eq!(before.elapsed(), Duration::from_millis(10));
    drop(unpolled);
}

#[test]
fn without_a_runtime_nobody_waits() {
    let set = set(["a", "b"]);
    let inner = service_fn(|_: Request<Full<Bytes>>| {
        let response = Response::builder().status(503).header("retry-after", "1");
        ready(Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap()))
    });
    let mut client = BalanceLayer::new(set).layer(inner);
    for _ in 0..4 {
        let call = pin!(client.call(get()));
        let answer = call.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(answer, Poll::Ready(Ok(response)) if response.status() == 503));
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_that_are_used_up_take_nobodys_place() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    for host in ["a", "b"] {
        net.refuses(host);
    }
    let layer = BalanceLayer::new(set.clone()).least_request();
    let client = layer.health(Health::new().max_fails(0)).layer(net.clone());
    for _ in 0..10 {
        let mut request = get();
        request.extensions_mut().insert(Attempts::first_of(1));
        assert!(client.clone().oneshot(request).await.is_err());
    }
    let picks: u64 = set.snapshot().iter().map(|endpoint| endpoint.picks).sum();
    assert_eq!((net.all_calls(), picks), (10, 10));
}
