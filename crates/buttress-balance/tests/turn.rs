//! Calls that only a retry outside can send again, and that keep their turn.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

mod common;

use std::{sync::Arc, time::Duration};

use buttress_balance::{
    BalanceLayer, EndpointSet, Health, LeastRequest, NextUpstream, On, Once, SharedClient,
};
use buttress_core::{Attempts, BoxError, Turn};
use bytes::Bytes;
use common::{Net, endpoint, get, plain, set};
use http::{HeaderValue, Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::Full;
use tokio::{sync::Notify, task::yield_now, time::Instant};
use tower::{Layer as _, ServiceExt as _};

const HOLD: Duration = Duration::from_millis(200);
const WAIT: Duration = Duration::from_secs(5);

type Layered = BalanceLayer<LeastRequest, SharedClient, (), Once>;

/// Sends each request once, as if its body were a stream, and heeds a fifth of a second.
fn layer(set: &EndpointSet) -> Layered {
    BalanceLayer::new(set.clone())
        .least_request()
        .health(Health::new().max_fails(0).max_hold(HOLD))
        .queue(9, WAIT)
        .next_upstream(NextUpstream::default().revisit())
        .without_failover()
}

/// Two endpoints that refuse, and ask to be left alone for so many seconds.
fn busy(seconds: &'static str) -> (Net, EndpointSet) {
    let net = Net::new();
    ["a", "b"].iter().for_each(|host| asks_for(&net, host, 503, seconds));
    (net, set(["a", "b"]))
}

fn asks_for(net: &Net, host: &str, status: u16, seconds: &'static str) {
    net.on(host, move |_| async move {
        let mut response = plain(status);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        Ok(response)
    });
}

/// What a retry outside sends, with the attempts that the failure before came with.
fn again(attempts: &Attempts) -> Request<Full<Bytes>> {
    assert!(attempts.begin().is_some());
    with(attempts)
}

fn with(attempts: &Attempts) -> Request<Full<Bytes>> {
    let mut request = get();
    request.extensions_mut().insert(attempts.clone());
    request
}

/// Attempts of which the first went to this endpoint.
fn tried(set: &EndpointSet, nth: usize) -> Attempts {
    let attempts = Attempts::first_of(9);
    attempts.note_endpoint(set.snapshot()[nth].id.number());
    attempts
}

/// Sends a call so often, each time at once, to be refused.
async fn refused(layer: &Layered, net: &Net, attempts: &Attempts, times: u32) {
    for nth in 1..=times {
        let request = if nth == 1 { with(attempts) } else { again(attempts) };
        let answer = layer.clone().layer(net.clone()).oneshot(request).await;
        assert_eq!(status(answer), StatusCode::SERVICE_UNAVAILABLE);
    }
}

fn status<B>(answer: Result<Response<B>, BoxError>) -> StatusCode {
    answer.unwrap().status()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_all_refused_may_be_sent_again_at_once_and_waits_for_its_time() {
    let (net, set) = busy("1");
    let (layer, attempts, before) = (layer(&set), Attempts::first_of(4), Instant::now());
    refused(&layer, &net, &attempts, 2).await;
    assert_eq!((net.calls("a"), net.calls("b"), before.elapsed()), (1, 1, Duration::ZERO));
    let turn = attempts.turn().unwrap();
    assert_eq!(turn.began(), before.into_std());
    assert_eq!(turn.from(), (before + HOLD).into_std());

    net.answers("a", 200);
    net.answers("b", 200);
    let answer = layer.layer(net.clone()).oneshot(again(&attempts)).await;
    assert_eq!((status(answer), before.elapsed()), (StatusCode::OK, HOLD));
    assert_eq!((net.all_calls(), attempts.turn()), (3, None));
}

#[tokio::test(start_paused = true)]
async fn it_waits_before_the_calls_that_began_later() {
    let (net, told) = (Net::new(), Arc::new(Notify::new()));
    let set = EndpointSet::new([endpoint("a"), endpoint("b").max_in_flight(1).unwrap()]).unwrap();
    asks_for(&net, "a", 503, "1");
    let tell = Arc::clone(&told);
    net.on("b", move |_| {
        let told = Arc::clone(&told);
        async move {
            told.notified().await;
            Ok(plain(200))
        }
    });
    let layer = layer(&set);
    let send = |request| tokio::spawn(layer.clone().layer(net.clone()).oneshot(request));
    let first = send(with(&tried(&set, 0)));
    yield_now().await;
    let [older, later] = [3, 3].map(Attempts::first_of);
    for attempts in [&older, &later] {
        refused(&layer, &net, attempts, 1).await;
        assert!(attempts.turn().is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let later = send(again(&later));
    yield_now().await;
    let older = send(again(&older));
    yield_now().await;
    assert_eq!((net.calls("a"), net.calls("b")), (2, 1));

    tell.notify_one();
    drop(first.await.unwrap());
    while net.calls("b") < 2 {
        yield_now().await;
    }
    tell.notify_one();
    assert_eq!(status(older.await.unwrap()), StatusCode::OK);
    assert!(!later.is_finished());
    tell.notify_one();
    assert_eq!(status(later.await.unwrap()), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn its_last_try_waits_for_all_of_the_time_that_was_asked_for() {
    let (net, set) = busy("1");
    let layer = layer(&set);
    // So many refusals that neither does well.
    for _ in 0..9 {
        for nth in [0, 1] {
            refused(&layer, &net, &tried(&set, nth), 1).await;
        }
        tokio::time::advance(HOLD).await;
    }
    assert!(set.snapshot().iter().all(|endpoint| endpoint.success_rate < 0.7));
    let (attempts, before) = (Attempts::first_of(3), Instant::now());
    refused(&layer, &net, &attempts, 2).await;
    assert_eq!(before.elapsed(), Duration::ZERO);
    let answer = layer.layer(net).oneshot(again(&attempts)).await;
    assert_eq!(status(answer), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(before.elapsed(), Duration::from_secs(1));
    assert_eq!((attempts.left(), attempts.turn()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn no_turn_is_kept_that_would_come_to_nothing() {
    let none_after = async |layer: fn(Layered) -> Layered, hint, limit, times| {
        let (net, set) = busy(hint);
        let attempts = Attempts::first_of(limit);
        refused(&layer(self::layer(&set)), &net, &attempts, times).await;
        assert_eq!(attempts.turn(), None);
    };
    let as_it_is = |layer| layer;
    // All attempts are used.
    none_after(as_it_is, "1", 2, 2).await;
    // Nobody says when to come back.
    none_after(as_it_is, "", 9, 2).await;
    // The last try would wait for longer than the line allows.
    none_after(as_it_is, "6", 3, 2).await;
    // There is no line.
    none_after(|layer| layer.queue(0, WAIT), "1", 9, 2).await;
    none_after(|layer| layer.queue(9, Duration::ZERO), "1", 9, 2).await;
    none_after(|layer| layer.queue(9, HOLD), "1", 9, 2).await;
    none_after(|layer| layer.next_upstream(NextUpstream::default()), "1", 9, 2).await;
    none_after(|layer| layer.health(Health::new().ignore_retry_after()), "1", 9, 2).await;
    // A status that calls do not go on after.
    none_after(|layer| layer.next_upstream(NextUpstream::on([]).revisit()), "1", 9, 1).await;
}

/// Endpoint `a` refuses; `b` has one place, in which a call stays.
async fn full_but_for_one() -> (Net, EndpointSet) {
    let net = Net::new();
    let set = EndpointSet::new([endpoint("a"), endpoint("b").max_in_flight(1).unwrap()]).unwrap();
    asks_for(&net, "a", 503, "1");
    net.hangs("b");
    tokio::spawn(layer(&set).layer(net.clone()).oneshot(with(&tried(&set, 0))));
    yield_now().await;
    assert_eq!((net.calls("a"), net.calls("b")), (0, 1));
    (net, set)
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_comes_to_nothing_ends_at_any_endpoint() {
    let next = NextUpstream::default().revisit();
    for (next, wait) in [(next.clone(), WAIT), (next.within(3 * HOLD), 3 * HOLD)] {
        let (net, set) = full_but_for_one().await;
        let layer = layer(&set).next_upstream(next);
        // So many refusals that it does not do well.
        for _ in 0..9 {
            refused(&layer, &net, &tried(&set, 1), 1).await;
            tokio::time::advance(HOLD).await;
        }
        let (attempts, before) = (Attempts::first_of(3), Instant::now());
        refused(&layer, &net, &attempts, 1).await;
        net.answers("a", 200);
        let answer = layer.layer(net.clone()).oneshot(again(&attempts)).await;
        assert_eq!((status(answer), before.elapsed()), (StatusCode::OK, wait));
        assert_eq!((net.calls("a"), net.calls("b")), (11, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn at_another_set_a_turn_is_only_its_age() {
    let ((net, one), other) = (busy("1"), set(["c", "d"]));
    let attempts = Attempts::first_of(4);
    refused(&layer(&one), &net, &attempts, 2).await;
    assert!(attempts.turn().is_some());
    let before = Instant::now();
    let answer = layer(&other).layer(net).oneshot(again(&attempts)).await;
    assert_eq!((status(answer), before.elapsed()), (StatusCode::OK, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_has_waited_for_as_long_as_it_may_is_over() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    let attempts = tried(&set, 0);
    attempts.note_endpoint(set.snapshot()[1].id.number());
    let now = Instant::now().into_std();
    attempts.keep_turn(Turn::new(now, now + 2 * WAIT));
    tokio::time::advance(WAIT).await;
    let before = Instant::now();
    let answer = layer(&set).layer(net).oneshot(again(&attempts)).await;
    assert_eq!((status(answer), before.elapsed()), (StatusCode::OK, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_revisited_a_turn_is_only_its_age() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    let attempts = tried(&set, 0);
    let now = Instant::now().into_std();
    attempts.keep_turn(Turn::new(now, now + HOLD));
    let layer = layer(&set).next_upstream(NextUpstream::default());
    let before = Instant::now();
    let answer = layer.layer(net.clone()).oneshot(again(&attempts)).await;
    assert_eq!((status(answer), before.elapsed()), (StatusCode::OK, Duration::ZERO));
    assert_eq!((net.calls("a"), net.calls("b")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn its_last_try_goes_to_one_that_it_has_not_tried_and_to_no_backup_before_that() {
    let (net, _) = busy("1");
    let backup = endpoint("c").backup();
    let set = EndpointSet::new([endpoint("a"), endpoint("b"), backup]).unwrap();
    net.hangs("b");
    tokio::spawn(layer(&set).layer(net.clone()).oneshot(with(&tried(&set, 0))));
    yield_now().await;
    assert_eq!(set.snapshot()[1].in_flight, 1);
    net.answers("b", 200);
    let attempts = Attempts::first_of(2);
    refused(&layer(&set), &net, &attempts, 1).await;
    assert!(attempts.turn().is_some());
    let answer = layer(&set).layer(net.clone()).oneshot(again(&attempts)).await;
    assert_eq!(status(answer), StatusCode::OK);
    assert_eq!(["a", "b", "c"].map(|host| net.calls(host)), [1, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn its_last_try_does_not_go_back_at_once_to_one_that_asked_this_caller_to_stay_away() {
    let (net, set) = busy("1");
    asks_for(&net, "a", 429, "1");
    net.hangs("b");
    tokio::spawn(layer(&set).layer(net.clone()).oneshot(with(&tried(&set, 0))));
    yield_now().await;
    net.answers("b", 200);
    let next = NextUpstream::on([On::Status(StatusCode::TOO_MANY_REQUESTS)]).revisit();
    let layer = layer(&set).next_upstream(next);
    let attempts = Attempts::first_of(2);
    let first = layer.layer(net.clone()).oneshot(with(&attempts)).await;
    assert_eq!(status(first), StatusCode::TOO_MANY_REQUESTS);
    let answer = layer.layer(net.clone()).oneshot(again(&attempts)).await;
    assert_eq!((status(answer), net.calls("a")), (StatusCode::OK, 1));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_added_ends_its_wait() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    let attempts = tried(&set, 0);
    attempts.note_endpoint(set.snapshot()[1].id.number());
    let before = Instant::now();
    attempts.keep_turn(Turn::new(before.into_std(), (before + WAIT / 2).into_std()));
    let call = tokio::spawn(layer(&set).layer(net).oneshot(again(&attempts)));
    yield_now().await;
    assert!(set.snapshot().iter().all(|endpoint| set.remove(endpoint.id)));
    tokio::time::sleep(HOLD).await;
    assert!(!call.is_finished(), "calls wait for the first one of a set that is empty");
    set.insert(endpoint("c"));
    assert_eq!((status(call.await.unwrap()), before.elapsed()), (StatusCode::OK, HOLD));
}

#[test]
fn without_a_runtime_there_is_no_line_and_a_turn_ends_at_any_endpoint() {
    let (net, set) = (Net::new(), set(["a"]));
    let attempts = tried(&set, 0);
    let now = Instant::now().into_std();
    attempts.keep_turn(Turn::new(now, now + WAIT / 2));
    let call = layer(&set).layer(net).oneshot(again(&attempts));
    let answer = futures_util::FutureExt::now_or_never(call);
    assert_eq!(status(answer.unwrap()), StatusCode::OK);
}
