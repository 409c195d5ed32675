//! The layer: when it refuses, what it counts, and what a refusal looks like.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod overload_common;

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_core::{ByGrpcStatus, Outcome, Phase, TimedOut, cause};
use buttress_limit::{
    ThrottleLayer, Throttled, Throttling,
    overload::{Bare, Problem},
    throttle::{Observer, Rule},
};
use buttress_testkit::{Contract, Script};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use overload_common::{Side, answers, get, status};
use tower::{BoxError, Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// Makes so many calls, one each 10 ms; returns how many were refused.
async fn calls<S, B>(client: &S, count: usize) -> usize
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = BoxError> + Clone,
{
    let mut refused = 0;
    for _ in 0..count {
        tokio::time::advance(Duration::from_millis(10)).await;
        if let Err(error) = client.clone().oneshot(get()).await {
            assert!(cause::<Throttled>(&*error).is_some(), "{error}");
            refused += 1;
        }
    }
    refused
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract_dormant_and_awake() {
    Contract::http(ThrottleLayer::new(Throttling::new(Rule::new()))).run().await;
    Contract::http(ThrottleLayer::new(Throttling::new(Rule::new())).answer(Bare::default()))
        .run()
        .await;
    let awake = Throttling::new(Rule::new());
    let busy = ThrottleLayer::new(awake.clone()).layer(Side::new(503));
    calls(&busy, 1).await;
    assert!(!awake.is_dormant());
    // Awake, and with so few busy answers that calls go through.
    let awake = Throttling::new(Rule::new().most_refused(0.0).unwrap());
    calls(&ThrottleLayer::new(awake.clone()).layer(Side::new(503)), 1).await;
    Contract::http(ThrottleLayer::new(awake)).run().await;
}

#[tokio::test(start_paused = true)]
async fn it_does_nothing_until_the_first_busy_answer() {
    let (throttling, side) = (Throttling::new(Rule::new()), Side::new(200));
    let client = ThrottleLayer::new(throttling.clone()).layer(side.clone());
    for other in [200, 404, 500, 502, 504] {
        side.says(other);
        assert_eq!(calls(&client, 200).await, 0);
        assert!(throttling.is_dormant(), "after {other}");
    }
    for busy in [429, 503, 529] {
        let throttling = Throttling::new(Rule::new());
        let side = Side::new(busy);
        let client = ThrottleLayer::new(throttling.clone()).layer(side.clone());
        calls(&client, 1).await;
        assert!(!throttling.is_dormant(), "after {busy}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_off_sends_everything() {
    let (throttling, side) = (Throttling::off(), Side::new(503));
    let client = ThrottleLayer::new(throttling.clone()).layer(side.clone());
    assert_eq!(calls(&client, 500).await, 0);
    assert!(throttling.is_dormant());
    assert_eq!(side.calls(), 500);
    Contract::http(ThrottleLayer::new(Throttling::off())).run().await;
}

#[tokio::test(start_paused = true)]
async fn one_busy_answer_among_many_good_ones_refuses_nothing() {
    let (throttling, side) = (Throttling::new(Rule::new()), Side::new(200));
    let client = ThrottleLayer::new(throttling.clone()).layer(side.clone());
    calls(&client, 100).await;
    side.says(503);
    calls(&client, 1).await;
    side.says(200);
    assert_eq!(throttling.share(), 0.0);
    assert_eq!(calls(&client, 100).await, 0);
}

#[tokio::test(start_paused = true)]
async fn refused_calls_are_never_sent_and_say_when_to_come_back() {
    fastrand::seed(1);
    let (throttling, side) = (Throttling::new(Rule::new()), Side::new(503));
    let client = ThrottleLayer::new(throttling.clone()).layer(side.clone());
    let refused = calls(&client, 1_000).await;
    assert_eq!(side.calls() + refused, 1_000);
    assert!(refused > 900, "{refused}");
    let error = loop {
        if let Err(error) = client.clone().oneshot(get()).await {
            break error;
        }
    };
    let throttled = cause::<Throttled>(&*error).unwrap();
    assert!(throttled.retry_after() <= SECOND && !throttled.retry_after().is_zero());
    assert!(throttled.share() > 0.9);
    // Nothing was sent, so to try again costs no budget of retries.
    assert_eq!(Outcome::of_error(&*error), Outcome::NotSent);
}

#[tokio::test(start_paused = true)]
async fn what_the_other_side_asks_for_is_passed_on_and_capped() {
    fastrand::seed(2);
    for (asked, told) in [("7", 7), ("99999999999", 30), ("-1", 1), ("abc", 1)] {
        let throttling = Throttling::new(Rule::new());
        let side = answers(move || {
            let mut response = status(429);
            response.headers_mut().insert("retry-after", HeaderValue::from_static(asked));
            response
        });
        let client = ThrottleLayer::new(throttling).layer(side);
        let mut error = None;
        for _ in 0..200 {
            error = client.clone().oneshot(get()).await.err().or(error);
        }
        let error = error.unwrap();
        let after = cause::<Throttled>(&*error).unwrap().retry_after();
        assert_eq!(after, Duration::from_secs(told), "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_through_each_second_whatever_the_rule_says() {
    fastrand::seed(3);
    let rule = Rule::new().most_refused(1.0).unwrap();
    let (throttling, side) = (Throttling::new(rule), Side::new(503));
    let client = ThrottleLayer::new(throttling.clone()).layer(side.clone());
    calls(&client, 3_000).await;
    let before = side.calls();
    calls(&client, 6_000).await;
    let probes = side.calls() - before;
    assert!((55..=100).contains(&probes), "{probes} in 60 s");
}

#[tokio::test(start_paused = true)]
async fn it_is_dormant_again_after_a_window_without_a_busy_answer() {
    let (throttling, side) = (Throttling::new(Rule::new()), Side::new(503));
    let client = ThrottleLayer::new(throttling.clone()).layer(side.clone());
    calls(&client, 500).await;
    assert!(throttling.share() > 0.5);
    tokio::time::advance(31 * SECOND).await;
    assert_eq!(throttling.share(), 0.0);
    side.says(200);
    assert_eq!(calls(&client, 1).await, 0);
    assert!(throttling.is_dormant());
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_are_neither_accepted_nor_refused() {
    let throttling = Throttling::new(Rule::new());
    let slow = service_fn(|_: Request<Empty<Bytes>>| async {
        tokio::time::sleep(20 * SECOND).await;
        Ok::<_, io::Error>(status(200))
    });
    let busy = ThrottleLayer::new(throttling.clone()).layer(Side::new(503));
    calls(&busy, 1).await;
    let client = ThrottleLayer::new(throttling.clone()).layer(slow);
    let before = throttling.share();
    let under_way: Vec<_> = (0..500)
        .map(|_| {
            let client = client.clone();
            // Not `oneshot`: its readiness is asked here.
            tokio::spawn(async move { client.oneshot(get()).await.is_ok() })
        })
        .collect();
    tokio::time::advance(SECOND).await;
    assert!(throttling.share() <= before + 0.9, "{}", throttling.share());
    let sent = under_way.len();
    let mut served = 0;
    for call in under_way {
        served += usize::from(call.await.unwrap());
    }
    assert!(
        served * 10 >= sent * 8,
        "{served} of {sent}: none was held against it before its answer"
    );
}

#[tokio::test(start_paused = true)]
async fn timeouts_count_only_when_told_to() {
    let late = service_fn(|_: Request<Empty<Bytes>>| async {
        Err::<Response<Full<Bytes>>, _>(TimedOut::new(Phase::FirstByte, SECOND))
    });
    for told in [false, true] {
        let throttling = Throttling::new(Rule::new());
        let layer = ThrottleLayer::new(throttling.clone());
        let layer = if told { layer.timeouts() } else { layer };
        let client = layer.layer(late);
        for _ in 0..10 {
            assert!(client.clone().oneshot(get()).await.is_err());
        }
        assert_eq!(throttling.is_dormant(), !told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_status_in_the_trailers_is_a_busy_answer_after_all() {
    let throttling = Throttling::new(Rule::new());
    let side = answers(|| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("8"));
        Response::new(Script::new().data("x").trailers(trailers).hide_end())
    });
    let layer = ThrottleLayer::new(throttling.clone()).classify(ByGrpcStatus::default());
    let response = layer.layer(side).oneshot(get()).await.unwrap();
    assert!(throttling.is_dormant());
    response.into_body().collect().await.unwrap();
    assert!(!throttling.is_dormant());
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_keeps_nothing_of_the_inner_service() {
    fastrand::seed(5);
    let inner = ConcurrencyLimitLayer::new(1).layer(Side::new(503));
    let throttling = Throttling::new(Rule::new());
    let mut client = ThrottleLayer::new(throttling).layer(inner.clone());
    while client.ready().await.unwrap().call(get()).await.is_ok() {}
    let stranger = tokio::time::timeout(Duration::from_millis(1), inner.oneshot(get()));
    assert!(stranger.await.is_ok(), "the layer is still there, and holds no permit");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_server_behind_it_can_answer_instead_of_failing() {
    fastrand::seed(6);
    let layer = ThrottleLayer::new(Throttling::new(Rule::new())).answer(Problem::default());
    let client = layer.layer(Side::new(429));
    let mut refused = None;
    for _ in 0..200 {
        let response = client.clone().oneshot(get()).await.unwrap();
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            refused = Some(response);
        }
    }
    let response = refused.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["violated-policies"][0], "throttle");
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Observer for Told {
    fn refused(&self, _: &Throttled) {
        self.0.lock().unwrap().push("refused".to_owned());
    }

    fn busy(&self, woke: bool) {
        self.0.lock().unwrap().push(if woke { "woke" } else { "busy" }.to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_busy_answers_and_refusals() {
    fastrand::seed(7);
    let told = Told::default();
    let layer = ThrottleLayer::new(Throttling::new(Rule::new())).observer(told.clone());
    let client = layer.layer(Side::new(503));
    let refused = calls(&client, 100).await;
    let told = told.0.lock().unwrap();
    assert_eq!(told.len(), 100);
    assert_eq!(told[0], "woke");
    assert_eq!(told.iter().filter(|event| *event == "refused").count(), refused);
    assert_eq!(told.iter().filter(|event| *event == "woke").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_enforced_is_sent_and_reported() {
    fastrand::seed(8);
    let told = Told::default();
    let (throttling, side) = (Throttling::new(Rule::new()), Side::new(503));
    let layer = ThrottleLayer::new(throttling.clone()).observer(told.clone());
    let client = layer.enforce(0.0).unwrap().layer(side.clone());
    assert_eq!(calls(&client, 500).await, 0);
    assert_eq!(side.calls(), 500);
    let refused = told.0.lock().unwrap().iter().filter(|event| *event == "refused").count();
    assert!(refused > 400, "{refused} would have been");
}

#[test]
fn rules_that_make_no_sense_are_refused_by_name() {
    let name = |result: Result<Rule, buttress_core::SettingError>| result.unwrap_err().setting();
    assert_eq!(name(Rule::new().k(1.0)), "throttle.k");
    assert_eq!(name(Rule::new().k(f64::NAN)), "throttle.k");
    assert_eq!(name(Rule::new().window(SECOND)), "throttle.window");
    assert_eq!(name(Rule::new().probe(Duration::ZERO)), "throttle.probe");
    assert_eq!(name(Rule::new().most_refused(1.1)), "throttle.most_refused");
    assert!(Throttling::<u8>::per_key(Rule::new(), 0).is_err());
}
