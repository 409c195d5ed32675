//! A retry layer around a balancer, whose calls keep their turn in its line.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress::{
    BalanceLayer, Endpoint, EndpointSet, RetryLayer,
    balance::{Health, LeastRequest, NextUpstream, Once, SharedClient},
    client::Elsewhere,
};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::Full;
use tokio::{task::yield_now, time::Instant};
use tower::{Layer as _, ServiceExt as _, util::BoxCloneSyncService};

const WAIT: Duration = Duration::from_secs(10);
const HOLD: Duration = Duration::from_millis(200);

type Net = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, Infallible>;
type Layered = BalanceLayer<LeastRequest, SharedClient, (), Once>;

/// Endpoint `a` refuses its first call, maybe with a hint, and answers all others; `b` has one place, in
/// which a call stays.
async fn scene(hint: Option<&'static str>) -> (EndpointSet, Layered, Net) {
    let a = Endpoint::new("http://a").unwrap();
    let b = Endpoint::new("http://b").unwrap().max_in_flight(1).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let net = tower::service_fn(move |request: Request<Full<Bytes>>| {
        let asked = Arc::clone(&asked);
        async move {
            if request.uri().host() == Some("b") {
                std::future::pending::<()>().await;
            }
            let mut response = Response::new(Full::<Bytes>::default());
            if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                let hint = hint.map(HeaderValue::from_static);
                hint.map(|hint| response.headers_mut().insert(RETRY_AFTER, hint));
            }
            Ok(response)
        }
    });
    let net = Net::new(net);
    let set = EndpointSet::new([b]).unwrap();
    let balance = BalanceLayer::new(set.clone())
        .least_request()
        .health(Health::new().max_hold(HOLD))
        .queue(9, WAIT)
        .next_upstream(NextUpstream::default().non_idempotent().revisit())
        .without_failover();
    tokio::spawn(balance.layer(net.clone()).oneshot(post()));
    yield_now().await;
    assert_eq!(set.snapshot()[0].in_flight, 1);
    set.insert(a);
    (set, balance, net)
}

fn post() -> Request<Full<Bytes>> {
    Request::post("/v1/x").body(Full::from("{}")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_has_waited_by_itself_goes_back_to_an_endpoint_that_does_well() {
    let (_set, balance, net) = scene(Some("1")).await;
    let before = Instant::now();
    let client = RetryLayer::llm().layer(balance.layer(net));
    assert_eq!(client.oneshot(post()).await.unwrap().status(), StatusCode::OK);
    let soon = Duration::from_secs(1)..Duration::from_secs(2);
    assert!(soon.contains(&before.elapsed()), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_that_did_not_wait_goes_back_when_its_turn_comes() {
    let (set, balance, net) = scene(Some("1")).await;
    let before = Instant::now();
    let retry = RetryLayer::llm().map_policy(|policy| Elsewhere::new(policy, set));
    let client = retry.layer(balance.layer(net));
    assert_eq!(client.oneshot(post()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(before.elapsed(), HOLD);
}

#[tokio::test(start_paused = true)]
async fn without_a_hint_there_is_no_turn_but_a_backoff() {
    let (set, balance, net) = scene(None).await;
    let before = Instant::now();
    let retry = RetryLayer::llm().map_policy(|policy| Elsewhere::new(policy, set));
    let client = retry.layer(balance.layer(net));
    assert_eq!(client.oneshot(post()).await.unwrap().status(), StatusCode::OK);
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}

/// Two endpoints that refuse so many calls, and ask for so many seconds.
fn busy(calls: usize, seconds: &'static str) -> (EndpointSet, Layered, Net) {
    let set = EndpointSet::new(["http://a", "http://b"].map(|it| Endpoint::new(it).unwrap()));
    let set = set.unwrap();
    let left = Arc::new(AtomicUsize::new(calls));
    let net = Net::new(tower::service_fn(move |_| {
        let mut response = Response::new(Full::<Bytes>::default());
        let refuses =
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if refuses.is_ok() {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        std::future::ready(Ok(response))
    }));
    let balance = BalanceLayer::new(set.clone())
        .least_request()
        .health(Health::new().max_fails(0).max_hold(WAIT))
        .queue(9, WAIT)
        .next_upstream(NextUpstream::default().non_idempotent().revisit())
        .without_failover();
    (set, balance, net)
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_comes_after_the_deadline_is_not_waited_for() {
    let (set, balance, net) = busy(2, "4");
    let before = Instant::now();
    let retry = RetryLayer::llm().map_policy(|policy| Elsewhere::new(policy, set));
    let client = retry.total_timeout(Duration::from_secs(3)).layer(balance.layer(net));
    let answer = client.oneshot(post()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "the last failure is returned");
    assert_eq!(
        (answer.headers()[RETRY_AFTER].as_bytes(), before.elapsed()),
        (&b"4"[..], Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_comes_later_than_an_attempt_may_take_is_waited_for_outside_of_it() {
    let (set, balance, net) = busy(2, "4");
    let before = Instant::now();
    let retry = RetryLayer::llm().map_policy(|policy| Elsewhere::new(policy, set));
    let client = retry.attempt_timeout(Duration::from_secs(3)).layer(balance.layer(net));
    assert_eq!(client.oneshot(post()).await.unwrap().status(), StatusCode::OK);
    let soon = Duration::from_secs(4)..Duration::from_millis(4_500);
    assert!(soon.contains(&before.elapsed()), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_that_asks_for_longer_than_a_call_waits_keeps_no_call_from_the_others() {
    let (set, balance, net) = busy(1, "3600");
    let before = Instant::now();
    let retry = RetryLayer::llm().map_policy(|policy| Elsewhere::new(policy, set));
    let client = retry.layer(balance.layer(net));
    assert_eq!(client.oneshot(post()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn where_all_ask_for_longer_than_a_call_waits_the_refusal_is_returned() {
    let (set, balance, net) = busy(9, "3600");
    let before = Instant::now();
    let retry = RetryLayer::llm().map_policy(|policy| Elsewhere::new(policy, set));
    let client = retry.layer(balance.layer(net));
    let answer = client.oneshot(post()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(before.elapsed(), Duration::ZERO);
}
