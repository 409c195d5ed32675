//! A limit and a retry: what stands inside is charged for every attempt, what stands outside once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress_limit::{Ask, Cost, Global, Key, Limiter, Local, Quota, RateLimitLayer};
use buttress_retry::{Backoff, RetryLayer};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

type Text = Full<Bytes>;

/// Is busy for the first two requests.
fn busy()
-> impl Service<Request<Text>, Response = Response<Text>, Error = Infallible, Future: Send> + Clone
{
    let calls = Arc::new(AtomicU32::new(0));
    tower::service_fn(move |_: Request<Text>| {
        let mut response = Response::new(Text::default());
        if calls.fetch_add(1, Ordering::Relaxed) < 2 {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        async { Ok(response) }
    })
}

fn retry() -> RetryLayer<buttress_retry::HttpPolicy> {
    RetryLayer::http().backoff(Backoff::fixed(Duration::from_millis(10))).no_budget()
}

fn get() -> Request<Text> {
    Request::get("http://test/").body(Text::default()).unwrap()
}

fn spent(limiter: &Local) -> u32 {
    let ask = Ask::new(Key::GLOBAL, Cost::request());
    100 - limiter.peek(&ask).unwrap().standings()[0].remaining()
}

#[tokio::test(start_paused = true)]
async fn inside_of_a_retry_every_attempt_is_charged() {
    let limiter = Local::new(Quota::per_hour(100).unwrap()).unwrap();
    let layers =
        ServiceBuilder::new().layer(retry()).layer(RateLimitLayer::outbound(limiter.clone()));
    let response = layers.service(busy()).oneshot(get()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(spent(&limiter), 3);
}

#[tokio::test(start_paused = true)]
async fn outside_of_a_retry_a_call_is_charged_once() {
    let limiter = Local::new(Quota::per_hour(100).unwrap()).unwrap();
    let limit = RateLimitLayer::inbound(limiter.clone()).key(Global::new());
    let response = limit.layer(retry().layer(busy())).oneshot(get()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(spent(&limiter), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_for_as_long_as_the_limit_inside_says() {
    let limiter = Local::new(Quota::per_second(1).unwrap()).unwrap();
    let start = tokio::time::Instant::now();
    let limit = RateLimitLayer::outbound(limiter).reject();
    let steady = tower::service_fn(|_: Request<Text>| async {
        Ok::<_, Infallible>(Response::new(Text::default()))
    });
    let service = ServiceBuilder::new().layer(retry()).layer(limit).service(steady);
    for _ in 0..3 {
        assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 200);
    }
    let took = start.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(4)).contains(&took), "{took:?}");
}
