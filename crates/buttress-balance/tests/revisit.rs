//! Calls that every endpoint refused, and that may go back when their time has come.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

mod common;

use std::{
    future::Future as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use buttress_balance::{BalanceLayer, EndpointSet, Health, LeastRequest, NextUpstream, On, Served};
use buttress_core::Attempts;
use common::{Net, endpoint, get, in_flight, plain, set};
use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use tokio::{task::yield_now, time::Instant};
use tower::{Layer as _, ServiceExt as _};

const HOLD: Duration = Duration::from_millis(200);
const ASKED: Duration = Duration::from_secs(1);

/// Two endpoints that ask to be left alone for a second, of which a fifth is heeded.
fn scene(tries: u32) -> (Net, EndpointSet, BalanceLayer<LeastRequest>) {
    let (net, set) = (Net::new(), set(["a", "b"]));
    for host in ["a", "b"] {
        net.on(host, |_| async { Ok(refusal("1")) });
    }
    let next = NextUpstream::default().revisit().tries(tries).unwrap();
    let layer = BalanceLayer::new(set.clone())
        .least_request()
        .health(Health::new().max_hold(HOLD))
        .queue(9, Duration::from_secs(5))
        .next_upstream(next);
    (net, set, layer)
}

/// Lets both fail so often that they no longer do well.
async fn busy(set: &EndpointSet) {
    let net = Net::new();
    both_answer(&net, 503);
    let health = Health::new().max_fails(0);
    let client = BalanceLayer::new(set.clone()).least_request().health(health).layer(net);
    for _ in 0..9 {
        let answer = client.clone().oneshot(get()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(set.snapshot().iter().all(|endpoint| endpoint.success_rate < 0.7));
}

/// Each endpoint is asked once, and the call ends with what they say.
async fn is_refused_at_once(layer: BalanceLayer<LeastRequest>, net: &Net) {
    let before = Instant::now();
    let answer = layer.layer(net.clone()).oneshot(get()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((before.elapsed(), net.all_calls()), (Duration::ZERO, 2));
}

fn both_answer(net: &Net, status: u16) {
    net.answers("a", status);
    net.answers("b", status);
}

fn refusal(after: &'static str) -> Response<common::Body> {
    let mut response = plain(503);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(after));
    response
}

/// Refuses so often, then answers.
fn refuses_first(net: &Net, host: &str, times: u32) {
    let left = Arc::new(AtomicU32::new(times));
    net.on(host, move |_| {
        let refuses =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        async move { Ok(if refuses.is_ok() { refusal("1") } else { plain(200) }) }
    });
}

#[tokio::test(start_paused = true)]
async fn a_call_that_all_refused_goes_back_when_the_heeded_time_is_over() {
    let (net, set, layer) = scene(4);
    refuses_first(&net, "a", 1);
    refuses_first(&net, "b", 1);
    let before = Instant::now();
    let answer = layer.layer(net.clone()).oneshot(get()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(before.elapsed(), HOLD);
    assert_eq!(answer.extensions().get::<Served>().unwrap().attempt(), 3);
    assert_eq!(answer.extensions().get::<Attempts>().unwrap().made(), 3);
    drop(answer);
    assert_eq!((net.all_calls(), in_flight(&set)), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn its_last_try_waits_for_all_of_the_time_that_was_asked_for() {
    let (net, set, layer) = scene(4);
    busy(&set).await;
    refuses_first(&net, "a", 2);
    refuses_first(&net, "b", 2);
    let before = Instant::now();
    let answer = layer.layer(net.clone()).oneshot(get()).await.unwrap();
    // The third was after the heeded time, and the fourth where the time that was asked for ended first.
    assert_eq!((net.all_calls(), before.elapsed()), (4, ASKED));
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "it was one refusal too many");
}

#[tokio::test(start_paused = true)]
async fn its_last_try_goes_to_an_endpoint_that_does_well_before_that_time() {
    let (net, set, layer) = scene(3);
    busy(&set).await;
    let client = layer.layer(net.clone());
    let before = Instant::now();
    let refused = tokio::spawn(client.clone().oneshot(get()));
    yield_now().await;
    // Others find out that both are well again.
    both_answer(&net, 200);
    tokio::time::sleep(HOLD).await;
    for _ in 0..80 {
        assert_eq!(client.clone().oneshot(get()).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(refused.await.unwrap().unwrap().status(), StatusCode::OK);
    assert!(before.elapsed() < ASKED / 2, "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn calls_that_began_later_pass_one_that_waits_for_its_time() {
    let (net, _set, layer) = scene(3);
    let client = layer.layer(net.clone());
    let refused = tokio::spawn(client.clone().oneshot(get()));
    yield_now().await;
    both_answer(&net, 200);
    tokio::time::sleep(HOLD).await;
    let before = Instant::now();
    assert_eq!(client.oneshot(get()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(refused.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn where_the_others_are_full_it_goes_back_to_one_that_does_well_as_soon_as_that_is_not_held()
{
    let net = Net::new();
    let set = EndpointSet::new([endpoint("full").max_in_flight(1).unwrap()]).unwrap();
    let next = NextUpstream::default().revisit().tries(4).unwrap();
    let layer = BalanceLayer::new(set.clone()).least_request().next_upstream(next);
    let client = layer.health(Health::new().max_hold(HOLD)).layer(net.clone());
    net.hangs("full");
    let hanging = tokio::spawn(client.clone().oneshot(get()));
    yield_now().await;
    set.insert(endpoint("a"));
    refuses_first(&net, "a", 1);
    let before = Instant::now();
    let answer = client.oneshot(get()).await.unwrap();
    assert_eq!((answer.status(), before.elapsed()), (StatusCode::OK, HOLD));
    assert_eq!((net.calls("a"), net.calls("full")), (2, 1));
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn without_leave_to_revisit_the_refusal_is_given_at_once() {
    let (net, _set, layer) = scene(4);
    let next = NextUpstream::default().tries(4).unwrap();
    is_refused_at_once(layer.next_upstream(next), &net).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_does_not_say_when_to_come_back_is_given_at_once() {
    for ignore in [false, true] {
        let (net, _set, layer) = scene(4);
        let layer = if ignore {
            layer.health(Health::new().ignore_retry_after())
        } else {
            both_answer(&net, 503);
            layer
        };
        is_refused_at_once(layer, &net).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_that_is_longer_than_the_wait_is_not_waited_for() {
    let (net, _set, layer) = scene(4);
    let layer = layer.health(Health::new().max_hold(Duration::from_secs(60)));
    let layer = layer.queue(9, ASKED);
    is_refused_at_once(layer, &net).await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_goes_on_refusing_others_is_left_to_them_by_a_last_try() {
    let (net, set, layer) = scene(3);
    busy(&set).await;
    let client = layer.layer(net.clone());
    let before = Instant::now();
    let refused = tokio::spawn(client.clone().oneshot(get()));
    yield_now().await;
    // Somebody is refused every other while, so that the time that is asked for never ends.
    let others = tokio::spawn(async move {
        loop {
            tokio::time::sleep(HOLD + HOLD / 2).await;
            tokio::spawn(client.clone().oneshot(get()));
        }
    });
    let answer = refused.await.unwrap().unwrap();
    others.abort();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(before.elapsed(), Duration::from_secs(5), "as long as a call may wait");
    assert_eq!(answer.extensions().get::<Attempts>().unwrap().made(), 2);
}

#[tokio::test(start_paused = true)]
async fn attempts_that_a_retry_outside_counts_are_not_exceeded() {
    let (net, _set, layer) = scene(9);
    let mut request = get();
    request.extensions_mut().insert(Attempts::first_of(3));
    let answer = layer.layer(net.clone()).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(net.all_calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_away_while_it_waits_for_its_time_leaves_nothing_behind() {
    let (net, set, layer) = scene(3);
    let client = layer.layer(net.clone());
    let mut gone = Box::pin(client.clone().oneshot(get()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(gone.as_mut().poll(&mut cx).is_pending());
    drop(gone);
    assert_eq!((net.all_calls(), in_flight(&set)), (2, 0));
    both_answer(&net, 200);
    tokio::time::sleep(HOLD).await;
    let before = Instant::now();
    assert_eq!(client.oneshot(get()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(before.elapsed(), Duration::ZERO, "nobody is before it in line");
}

#[tokio::test(start_paused = true)]
async fn a_call_does_not_go_back_before_that_time_to_one_that_asked_this_caller_to_stay_away() {
    let (net, set, layer) = scene(4);
    let left = Arc::new(AtomicU32::new(1));
    net.on("a", move |_| {
        let refuses =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let mut answer = if refuses.is_ok() { refusal("1") } else { plain(200) };
        if refuses.is_ok() {
            *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        }
        async move { Ok(answer) }
    });
    net.hangs("b");
    let b = set.snapshot()[1].id;
    assert!(set.remove(b));
    set.insert(endpoint("b").max_in_flight(1).unwrap());
    let too_many = NextUpstream::on([On::Status(StatusCode::TOO_MANY_REQUESTS)]).revisit();
    let client = layer.next_upstream(too_many).layer(net.clone());
    let tried = Attempts::first_of(9);
    tried.note_endpoint(set.snapshot()[0].id.number());
    let mut stays = get();
    stays.extensions_mut().insert(tried);
    tokio::spawn(client.clone().oneshot(stays));
    yield_now().await;
    assert_eq!((net.calls("a"), net.calls("b")), (0, 1));
    let before = Instant::now();
    let answer = client.oneshot(get()).await.unwrap();
    assert_eq!((answer.status(), before.elapsed()), (StatusCode::OK, HOLD));
}
