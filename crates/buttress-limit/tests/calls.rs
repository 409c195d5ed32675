//! The layer around a service: what it holds, what it gives back, and what it only watches.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_limit::{
    Ask, Bill, Cost, Denied, Global, Key, Limiter, Local, Observer, Quota, RateLimitLayer,
};
use buttress_testkit::{Planted, Replies, Strict};
use common::{Text, admitted, get, per, server};
use futures_util::FutureExt;
use http::{Request, Response};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer};

const SECOND: Duration = Duration::from_secs(1);
const GLOBAL: Ask = Ask::new(Key::GLOBAL, Cost::request());

#[tokio::test(start_paused = true)]
async fn those_who_wait_hold_nothing_of_the_inner_service() {
    let limiter = Local::new(per(1, Duration::from_secs(60))).unwrap();
    assert_eq!(admitted(&limiter, GLOBAL, 1), 1);
    let inner = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(2)).service(server().0);
    let mut other = inner.clone();
    let service = RateLimitLayer::outbound(limiter).wait(3_600 * SECOND).layer(inner);
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let mut call = Box::pin(service.clone().oneshot(get("/")));
            assert!(call.as_mut().now_or_never().is_none());
            call
        })
        .collect();
    let answer = timeout(SECOND, other.ready().await.unwrap().call(get("/"))).await;
    assert!(answer.unwrap().is_ok());
    drop(waiting);
}

#[tokio::test]
async fn readiness_costs_nothing() {
    let limiter = Local::new(Quota::per_hour(5).unwrap()).unwrap();
    for layer in [
        RateLimitLayer::outbound(limiter.clone()),
        RateLimitLayer::outbound(limiter.clone()).reject(),
        RateLimitLayer::inbound(limiter.clone()).key(Global::new()),
    ] {
        for _ in 0..100 {
            let mut service = layer.layer(server().0);
            ServiceExt::<Request<Text>>::ready(&mut service).await.unwrap();
        }
    }
    assert_eq!(admitted(&limiter, GLOBAL, 100), 5);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_before_the_inner_service_is_ready_is_refunded() {
    let limiter = Local::new(Quota::per_hour(1).unwrap()).unwrap();
    let (inner, handle) =
        Strict::new(Replies::<_, Planted>::each(|_| Ok(Response::new(Text::default()))));
    handle.block_ready();
    let service = RateLimitLayer::outbound(limiter.clone()).layer(inner);
    let mut call = Box::pin(service.oneshot(get("/")));
    assert!(call.as_mut().now_or_never().is_none());
    assert_eq!(admitted(&limiter, GLOBAL, 1), 0, "it is charged");
    drop(call);
    assert_eq!(admitted(&limiter, GLOBAL, 5), 1, "it is not");
    assert_eq!(handle.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_refunded_if_the_inner_service_does_not_become_ready() {
    let limiter = Local::new(Quota::per_hour(1).unwrap()).unwrap();
    let (inner, handle) =
        Strict::new(Replies::<_, Planted>::each(|_| Ok(Response::new(Text::default()))));
    handle.fail_next_ready(Planted::new(1));
    let service = RateLimitLayer::outbound(limiter.clone()).layer(inner);
    assert_eq!(service.oneshot(get("/")).await.unwrap_err(), Planted::new(1));
    assert_eq!(admitted(&limiter, GLOBAL, 5), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_sent_is_charged_even_if_it_is_dropped() {
    let limiter = Local::new(Quota::per_hour(1).unwrap()).unwrap();
    let (inner, handle) =
        Strict::new(Replies::<_, Planted>::each(|_| Ok(Response::new(Text::default()))));
    handle.hold();
    let service = RateLimitLayer::outbound(limiter.clone()).layer(inner);
    let mut call = Box::pin(service.oneshot(get("/")));
    assert!(call.as_mut().now_or_never().is_none());
    drop(call);
    assert_eq!(handle.calls(), 1);
    assert_eq!(admitted(&limiter, GLOBAL, 5), 0);
}

#[tokio::test(start_paused = true)]
async fn calls_are_spaced_out_over_time() {
    let limiter = Local::new(per(10, SECOND).burst(1).unwrap()).unwrap();
    let (inner, calls) = server();
    let service = RateLimitLayer::outbound(limiter).layer(inner);
    let start = Instant::now();
    let all: Vec<_> = (0..21).map(|_| tokio::spawn(service.clone().oneshot(get("/")))).collect();
    for call in all {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 21);
    let took = start.elapsed();
    assert!((2 * SECOND..2 * SECOND + SECOND / 50).contains(&took), "{took:?}");
}

#[derive(Clone, Debug, Default)]
struct Counts(Arc<[AtomicU64; 4]>);

impl Observer for Counts {
    fn admitted(&self, _: Key, _: &Cost, waited: Duration) {
        self.0[0].fetch_add(1, Ordering::Relaxed);
        self.0[3].fetch_add(u64::from(!waited.is_zero()), Ordering::Relaxed);
    }

    fn denied(&self, _: Key, _: &Denied, enforced: bool) {
        self.0[if enforced { 1 } else { 2 }].fetch_add(1, Ordering::Relaxed);
    }
}

impl Counts {
    fn seen(&self) -> [u64; 4] {
        [0, 1, 2, 3].map(|i| self.0[i].load(Ordering::Relaxed))
    }
}

#[tokio::test(start_paused = true)]
async fn a_shadow_counts_and_refuses_nobody() {
    for wait in [false, true] {
        let (counts, limiter) = (Counts::default(), Local::new(Quota::per_hour(100).unwrap()));
        let layer = RateLimitLayer::outbound(limiter.unwrap()).enforce(0.0).unwrap();
        let layer = if wait { layer } else { layer.reject() };
        let service = layer.observer(counts.clone()).layer(server().0);
        let start = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(service.clone().oneshot(get("/")).await.unwrap().status(), 200);
        }
        assert_eq!(counts.seen(), [100, 0, 900, 0]);
        assert_eq!(start.elapsed(), Duration::ZERO, "nobody waits for a shadow");
    }
}

#[tokio::test]
async fn a_share_of_the_denials_is_enforced() {
    let (counts, limiter) = (Counts::default(), Local::new(Quota::per_hour(1).unwrap()).unwrap());
    let layer = RateLimitLayer::inbound(limiter.clone()).enforce(0.1).unwrap();
    let service = layer.observer(counts.clone()).layer(server().0);
    let mut refused = 0;
    for _ in 0..20_000 {
        let response = service.clone().oneshot(get("/")).await.unwrap();
        refused += u64::from(response.status() == 429);
    }
    let [admitted, enforced, shadowed, _] = counts.seen();
    assert_eq!((admitted, enforced, enforced + shadowed), (1, refused, 19_999));
    // Eight standard deviations.
    assert!((1_660..=2_340).contains(&refused), "{refused}");
    for wrong in [-0.1, 1.1, f64::NAN] {
        assert!(RateLimitLayer::inbound(limiter.clone()).enforce(wrong).is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_told_of() {
    let (counts, limiter) = (Counts::default(), Local::new(per(1, SECOND)).unwrap());
    let service = RateLimitLayer::outbound(limiter).observer(counts.clone()).layer(server().0);
    for _ in 0..3 {
        service.clone().oneshot(get("/")).await.unwrap();
    }
    assert_eq!(counts.seen(), [3, 0, 0, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_bill_is_settled_once() {
    let limiter = Local::new(Quota::tokens_per_minute(1_000).unwrap()).unwrap();
    let inner = tower::service_fn(|request: Request<Text>| async move {
        let bill = request.extensions().get::<Bill>().unwrap().clone();
        assert_eq!(bill.charged().of(buttress_limit::Unit::Tokens), 600);
        assert!(bill.settle(Cost::request().tokens(150)));
        Ok::<_, Infallible>(Response::new(Text::default()))
    });
    let layer = RateLimitLayer::outbound(limiter.clone()).cost(|_| Cost::request().tokens(600));
    let response = layer.billed().layer(inner).oneshot(get("/")).await.unwrap();
    let left = || limiter.peek(&GLOBAL).unwrap().standings()[0].remaining();
    assert_eq!(left(), 850);
    let bill = response.extensions().get::<Bill>().unwrap();
    assert!(!bill.settle(Cost::request()), "the second time does not count");
    assert_eq!(left(), 850);
}

#[tokio::test(start_paused = true)]
async fn time_is_the_runtimes_and_no_other() {
    let limiter = Local::new(Quota::per_day(1).unwrap()).unwrap();
    assert_eq!(admitted(&limiter, GLOBAL, 2), 1);
    // A day passes in no time, for the limiter and for those who wait.
    let next =
        tokio::spawn(limiter.acquire(GLOBAL, Some(buttress_limit::Wait::new(86_400 * SECOND))));
    sleep(86_399 * SECOND).await;
    assert!(!next.is_finished());
    sleep(2 * SECOND).await;
    assert!(next.await.unwrap().is_ok());
}
