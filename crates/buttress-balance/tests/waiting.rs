//! Calls that stand in line for an endpoint.

mod common;

use std::{
    future::Future,
    task::{Context, Waker},
    time::Duration,
};

use buttress_balance::{BalanceLayer, EndpointSet};
use common::{Net, endpoint, get, in_flight, pass};
use tower::{Layer, ServiceExt};

#[tokio::test(start_paused = true)]
async fn a_place_in_line_is_kept_in_order_and_given_to_whoever_came_first() {
    let net = Net::new();
    let set = EndpointSet::new([endpoint("a").max_in_flight(1).unwrap()]).unwrap();
    net.takes("a", Duration::from_secs(1), 200);
    let layer = BalanceLayer::new(set.clone()).least_request().queue(2, Duration::from_secs(30));
    let client = layer.layer(net.clone());
    let call = |name: &'static str| {
        let client = client.clone();
        tokio::spawn(async move {
            let result = client.oneshot(get()).await.map(|response| response.status());
            (name, result.is_ok(), tokio::time::Instant::now())
        })
    };
    let start = tokio::time::Instant::now();
    let mut calls = Vec::new();
    for name in ["first", "second", "third", "fourth"] {
        calls.push(call(name));
        tokio::task::yield_now().await;
    }
    let mut ends = Vec::new();
    for call in calls {
        let (name, ok, end) = call.await.unwrap();
        ends.push((name, ok, (end - start).as_secs()));
    }
    let expected =
        [("first", true, 1), ("second", true, 2), ("third", true, 3), ("fourth", false, 0)];
    assert_eq!(ends, expected);
    assert_eq!(in_flight(&set), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_in_line_is_bounded_and_leaving_it_holds_nobody_up() {
    let net = Net::new();
    let set = EndpointSet::new([endpoint("a").max_in_flight(1).unwrap()]).unwrap();
    net.hangs("a");
    let layer = BalanceLayer::new(set.clone()).least_request().queue(9, Duration::from_secs(2));
    let client = layer.layer(net.clone());
    let mut cx = Context::from_waker(Waker::noop());
    let mut holder = Box::pin(client.clone().oneshot(get()));
    assert!(holder.as_mut().poll(&mut cx).is_pending());
    let before = tokio::time::Instant::now();
    let error = client.clone().oneshot(get()).await.unwrap_err();
    assert_eq!(before.elapsed().as_secs(), 2);
    let error = buttress_core::cause::<buttress_balance::BalanceError>(&*error).unwrap();
    assert_eq!(error.kind(), buttress_balance::BalanceErrorKind::Full);
    assert_eq!(
        buttress_core::Outcome::of_error(error),
        buttress_core::Outcome::NotSent,
        "a retry outside may go on"
    );

    let mut leaves = Box::pin(client.clone().oneshot(get()));
    assert!(leaves.as_mut().poll(&mut cx).is_pending());
    let waits = tokio::spawn(client.clone().oneshot(get()));
    tokio::task::yield_now().await;
    net.answers("a", 200);
    drop(holder);
    drop(leaves);
    assert!(waits.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_the_first_endpoint_of_an_empty_set() {
    let (net, set) = (Net::new(), EndpointSet::empty());
    let call = tokio::spawn(BalanceLayer::new(set.clone()).layer(net.clone()).oneshot(get()));
    pass(1.0).await;
    tokio::task::yield_now().await;
    let _ = set.insert(endpoint("a"));
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
}
