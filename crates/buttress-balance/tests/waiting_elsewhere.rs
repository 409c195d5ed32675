//! Calls that were refused at one endpoint while the others are full.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

mod common;

use std::{
    future::Future as _,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use buttress_balance::{
    Balance, BalanceLayer, EndpointSet, Health, LeastRequest, NextUpstream, RoundRobin, Served,
    State,
};
use buttress_core::{Attempts, Turn};
use bytes::Bytes;
use common::{Net, endpoint, get, in_flight, post};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::{sync::Notify, task::yield_now, time::Instant};
use tower::{Layer as _, ServiceExt as _};

/// Endpoint `a` refuses; `b` has one place, and its first call keeps it until it is told.
struct Scene {
    net: Net,
    set: EndpointSet,
    release: Arc<Notify>,
    layer: BalanceLayer<LeastRequest>,
}

fn scene() -> Scene {
    let net = Net::new();
    let set = EndpointSet::new([endpoint("a"), endpoint("b").max_in_flight(1).unwrap()]).unwrap();
    net.answers("a", 503);
    let release = Arc::new(Notify::new());
    let told = Arc::clone(&release);
    net.on("b", move |_| {
        let told = Arc::clone(&told);
        async move {
            told.notified().await;
            Ok(common::plain(200))
        }
    });
    let layer = BalanceLayer::new(set.clone()).least_request();
    let layer = layer.health(Health::new().max_fails(0)).queue(9, Duration::from_secs(2));
    Scene { net, set, release, layer }
}

/// Fills `b`, by way of a set in which it is alone.
async fn fill(set: &EndpointSet) -> buttress_balance::Lease {
    let mut balancer =
        buttress_balance::Balancer::new(set.clone(), RoundRobin::new(), Health::new());
    loop {
        let lease = balancer.lease(&buttress_balance::Ask::new(), set.now()).unwrap();
        if lease.endpoint().shown_as().contains("//b") {
            return lease;
        }
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_call_waits_for_a_place_and_goes_on() {
    let Scene { net, set, release, layer } = scene();
    release.notify_one();
    let full = fill(&set).await;
    let call = tokio::spawn(layer.layer(net.clone()).oneshot(get()));
    yield_now().await;
    assert_eq!((net.calls("a"), net.calls("b")), (1, 0));
    assert_eq!(in_flight(&set), 1, "what was refused does not count while it waits");
    drop(full);
    let answer = call.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.extensions().get::<Served>().unwrap().attempt(), 2);
    assert_eq!((net.calls("a"), net.calls("b")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn its_answer_is_given_if_no_place_comes_in_time() {
    let Scene { net, set, layer, .. } = scene();
    let _full = fill(&set).await;
    let before = Instant::now();
    net.on("a", |_| async {
        let body = http_body_util::Either::Left(Full::from("come again"));
        Ok(http::Response::builder().status(503).body(body).unwrap())
    });
    let answer = layer.layer(net.clone()).oneshot(get()).await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_secs(2));
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let served = answer.extensions().get::<Served>().unwrap();
    assert!(served.endpoint().contains("//a") && served.attempt() == 1, "{served:?}");
    assert_eq!(answer.extensions().get::<Attempts>().unwrap().made(), 1);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "come again");
    assert_eq!((net.all_calls(), in_flight(&set)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn it_waits_no_longer_than_a_call_may_take_to_go_on() {
    let Scene { net, set, layer, .. } = scene();
    let _full = fill(&set).await;
    let next = NextUpstream::default().within(Duration::from_millis(300));
    let before = Instant::now();
    let answer = layer.next_upstream(next).layer(net).oneshot(get()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(before.elapsed(), Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn without_a_line_its_answer_is_given_at_once() {
    let Scene { net, set, layer, .. } = scene();
    let _full = fill(&set).await;
    let before = Instant::now();
    let answer = layer.queue(0, Duration::from_secs(2)).layer(net).oneshot(get()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_away_while_it_waits_leaves_nothing_behind() {
    let Scene { net, set, release, layer } = scene();
    let full = fill(&set).await;
    let client = layer.layer(net.clone());
    let mut gone = Box::pin(client.clone().oneshot(get()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(gone.as_mut().poll(&mut cx).is_pending());
    drop(gone);
    drop(full);
    assert_eq!(in_flight(&set), 0);
    release.notify_one();
    net.answers("a", 200);
    assert!(client.oneshot(get()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_was_refused_goes_before_calls_that_began_later_and_holds_nobody_up() {
    let net = Net::new();
    let places = |host| endpoint(host).max_in_flight(1).unwrap();
    let set = EndpointSet::new([places("a"), places("b")]).unwrap();
    let layer = BalanceLayer::new(set.clone()).least_request().health(Health::new().max_fails(0));
    let client: Balance<_, LeastRequest, _, _> =
        layer.queue(9, Duration::from_secs(60)).layer(net.clone());
    let full = fill(&set).await;
    net.takes("a", Duration::from_secs(1), 503);
    net.takes("b", Duration::from_secs(1), 200);
    let call = || {
        let client = client.clone();
        let begun = Instant::now();
        tokio::spawn(async move {
            let answer = client.oneshot(get()).await.unwrap();
            (answer.status().as_u16(), begun.elapsed().as_secs())
        })
    };
    let refused = call();
    yield_now().await;
    let (later, last) = (call(), call());
    yield_now().await;
    // A second on, `a` has refused the first call. Its place is of use to the others only.
    net.takes("a", Duration::from_secs(1), 200);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!((net.calls("a"), net.calls("b")), (2, 0));
    // Another second on, the third has it; the first still waits for `b`, and is the first to get it.
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!((net.calls("a"), net.calls("b")), (3, 0));
    drop(full);
    assert_eq!(refused.await.unwrap(), (200, 3));
    assert_eq!((later.await.unwrap(), last.await.unwrap()), ((200, 2), (200, 3)));
    assert_eq!((net.calls("a"), net.calls("b")), (3, 1));
}

/// An ejected endpoint may be tried after ten seconds; the call that heads the line must not try it, and
/// the one behind it may. How long that one takes.
async fn tries_an_ejected_endpoint_behind(
    head: impl FnOnce(&EndpointSet) -> Request<Full<Bytes>>,
) -> Duration {
    let Scene { net, set, layer, .. } = scene();
    let health = Health::new().max_fails(1).fail_timeout(Duration::from_secs(10)).unwrap();
    let layer = layer.health(health).queue(9, Duration::from_secs(60));
    let _full = fill(&set).await;
    net.answers("a", 500);
    while set.snapshot()[0].state == State::InUse {
        let failed = layer.layer(net.clone()).oneshot(get()).await.unwrap();
        assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    net.answers("a", 200);
    let before = Instant::now();
    let head = tokio::spawn(layer.layer(net.clone()).oneshot(head(&set)));
    yield_now().await;
    let behind = layer.layer(net.clone()).oneshot(get()).await.unwrap();
    assert_eq!(behind.status(), StatusCode::OK);
    head.abort();
    before.elapsed()
}

#[tokio::test(start_paused = true)]
async fn who_has_tried_an_ejected_endpoint_lets_the_next_one_try_it() {
    let refused_there = |set: &EndpointSet| {
        let (attempts, mut request) = (Attempts::first_of(3), get());
        attempts.note_endpoint(set.snapshot()[0].id.number());
        let now = Instant::now().into_std();
        attempts.keep_turn(Turn::new(now, now));
        request.extensions_mut().insert(attempts);
        request
    };
    let time = tries_an_ejected_endpoint_behind(refused_there).await;
    assert!(time < Duration::from_secs(12), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_leaves_an_ejected_endpoint_to_others_lets_the_next_one_try_it() {
    let time = tries_an_ejected_endpoint_behind(|_| post()).await;
    assert!(time < Duration::from_secs(12), "{time:?}");
}
