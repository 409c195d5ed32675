//! Answers that are made once and given often say what one that is made on the spot does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use buttress_limit::{
    Allowance, Answer, Denied, Head, HeaderKey, Lesson, Limiter, Local, Policy, PreparedAnswer,
    Quota, RateLimitLayer, Respond, Standard, Tier, Unit,
};
use bytes::Bytes;
use common::{Server, Text, get, one, per, server, tokens};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use proptest::prelude::*;
use tokio::time::{advance, sleep};
use tower::{Layer, Service, ServiceExt};

/// How often a question is asked until its answer was prepared for sure.
const OFTEN: usize = 4;

type Said = (StatusCode, HeaderMap, Bytes);

/// What a request is answered.
async fn said<S, B>(service: S, request: Request<Text>) -> Said
where
    S: Service<Request<Text>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    let (head, mut body) = service.oneshot(request).await.unwrap().into_parts();
    let length = body.size_hint().exact().unwrap();
    let ended = body.is_end_stream();
    let text = body.frame().await.map_or_else(Bytes::new, |f| f.unwrap().into_data().unwrap());
    assert_eq!((text.len() as u64, text.is_empty()), (length, ended));
    assert!(body.is_end_stream() && body.frame().await.is_none(), "a text is read once");
    (head.status, head.headers, text)
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers[name].to_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_prepared_answer_counts_the_seconds() {
    let limiter = Local::new(Quota::per_minute(1).unwrap()).unwrap();
    let service = RateLimitLayer::inbound(limiter).layer(server().0);
    said(service.clone(), get("/")).await;
    for left in (1..=60).rev() {
        for _ in 0..OFTEN {
            let (status, headers, _) = said(service.clone(), get("/")).await;
            assert_eq!(status, 429);
            assert_eq!(text(&headers, "retry-after"), left.to_string());
            let field = format!(r#""per-minute";r=0;t={left}"#);
            assert_eq!(text(&headers, "ratelimit"), field);
            advance(Duration::from_millis(250)).await;
        }
    }
    assert_eq!(said(service, get("/")).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_prepared_answer_is_one_of_the_policy_in_force_after_a_reconfigure() {
    let limiter = Local::new(per(1, Duration::from_secs(60)).named("a").unwrap()).unwrap();
    let service = RateLimitLayer::inbound(limiter.clone()).layer(server().0);
    said(service.clone(), get("/")).await;
    for (amount, name) in [(1, "a"), (1, "b"), (2, "b"), (1, "a")] {
        let quota = per(amount, Duration::from_secs(60)).named(name).unwrap();
        limiter.reconfigure(Tier::FIRST, &Policy::new([quota]).unwrap()).unwrap();
        let spent = |headers: &HeaderMap| text(headers, "ratelimit-policy");
        for _ in 0..OFTEN {
            let (status, headers, body) = said(service.clone(), get("/")).await;
            assert_eq!(status, 429);
            assert_eq!(spent(&headers), format!(r#""{name}";q={amount};w=60"#));
            assert!(text(&headers, "ratelimit").starts_with(&format!(r#""{name}";r=0;t="#)));
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["violated-policies"], serde_json::json!([name]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_prepared_answer_names_the_windows_that_deny() {
    let quotas = [Quota::per_minute(2).unwrap(), Quota::tokens_per_minute(100).unwrap()];
    let limiter = Local::new(Policy::new(quotas).unwrap()).unwrap();
    let cost = |head: &Head<'_>| tokens(head.uri.path()[1..].parse().unwrap());
    let service = RateLimitLayer::inbound(limiter).cost(cost).layer(server().0);
    for (path, expected) in [
        ("/60", None),
        ("/50", Some(r#""tokens-per-minute";r=40;t=6"#)),
        ("/90", Some(r#""tokens-per-minute";r=40;t=30"#)),
        ("/40", None),
        ("/0", Some(r#""per-minute";r=0;t=30"#)),
        ("/50", Some(r#""per-minute";r=0;t=30, "tokens-per-minute";r=0;t=30"#)),
        ("/0", Some(r#""per-minute";r=0;t=30"#)),
    ] {
        for _ in 0..expected.map_or(1, |_| OFTEN) {
            let (status, headers, _) = said(service.clone(), get(path)).await;
            assert_eq!(status == 429, expected.is_some(), "{path}");
            assert_eq!(headers.get("ratelimit").map(|field| field.to_str().unwrap()), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn layers_that_say_another_status_do_not_share_an_answer() {
    let limiter = Local::new(Quota::per_minute(1).unwrap()).unwrap();
    let plain = RateLimitLayer::inbound(limiter.clone()).layer(server().0);
    let shed = RateLimitLayer::inbound(limiter.clone()).shed().layer(server().0);
    let legacy = RateLimitLayer::inbound(limiter).legacy_headers().layer(server().0);
    said(plain.clone(), get("/")).await;
    let mut grpc = get("/");
    grpc.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    for _ in 0..OFTEN {
        assert_eq!(said(plain.clone(), get("/")).await.0, 429);
        let (status, _, body) = said(shed.clone(), get("/")).await;
        assert_eq!(status, 503);
        assert!(body.windows(26).any(|text| text == b"temporary-reduced-capacity"));
        let headers = said(legacy.clone(), get("/")).await.1;
        assert_eq!(text(&headers, "x-ratelimit-remaining"), "0");
        let (status, headers, body) = said(plain.clone(), grpc.clone()).await;
        assert_eq!((status, text(&headers, "grpc-status")), (StatusCode::OK, "8".into()));
        assert!(body.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_caller_does_to_its_answer_is_not_seen_by_the_next() {
    let limiter = Local::new(Quota::per_minute(1).unwrap()).unwrap();
    let service = RateLimitLayer::inbound(limiter).layer(server().0);
    said(service.clone(), get("/")).await;
    for _ in 0..OFTEN {
        let mut response = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(response.headers().len(), 5);
        assert!(!response.headers().contains_key("x-mine"));
        response.headers_mut().insert("x-mine", HeaderValue::from_static("1"));
        response.extensions_mut().insert(7_u8);
    }
    assert!(service.oneshot(get("/")).await.unwrap().extensions().get::<u8>().is_none());
}

/// A responder that has prepared its only answer.
#[derive(Clone)]
struct Teapot(PreparedAnswer);

impl<B> Respond<B> for Teapot {
    fn respond(&self, denied: &Denied, head: &Head<'_>) -> Response<Answer<B>> {
        Standard::default().respond(denied, head)
    }

    fn prepared(&self, _: &Denied, head: &Head<'_>) -> Option<PreparedAnswer> {
        (head.uri.path() == "/tea").then(|| self.0.clone())
    }
}

#[tokio::test]
async fn a_responder_may_prepare_answers_of_its_own() {
    let mut answer = Response::new(Bytes::from_static(b"short and stout"));
    *answer.status_mut() = StatusCode::IM_A_TEAPOT;
    answer.extensions_mut().insert("handle");
    let teapot = Teapot(PreparedAnswer::new(answer));
    let limiter = Local::new(Quota::per_minute(1).unwrap()).unwrap();
    let service = RateLimitLayer::inbound(limiter).responder(teapot).layer(server().0);
    said(service.clone(), get("/tea")).await;
    let response = service.clone().oneshot(get("/tea")).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&"handle"));
    let (status, _, body) = said(service.clone(), get("/tea")).await;
    assert_eq!((status, &*body), (StatusCode::IM_A_TEAPOT, &b"short and stout"[..]));
    assert_eq!(said(service, get("/")).await.0, 429);
}

#[derive(Clone, Debug)]
enum Step {
    Ask(u8, u64),
    Pass(u64),
    Reconfigure(u64, u64),
    Lower(u8, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..3_u8, 0..12_u64).prop_map(|(key, cost)| Step::Ask(key, cost)),
        2 => (0..9_000_u64).prop_map(Step::Pass),
        1 => (1..6_u64, 1..12_u64).prop_map(|(a, b)| Step::Reconfigure(a, b)),
        1 => (0..3_u8, 1..5_u64).prop_map(|(key, amount)| Step::Lower(key, amount)),
    ];
    proptest::collection::vec(step, 1..80)
}

fn policy(requests: u64, tokens: u64) -> Policy {
    let tokens = Quota::of(Unit::Tokens, tokens, Duration::from_secs(30)).unwrap();
    Policy::new([per(requests, Duration::from_secs(60)), tokens]).unwrap()
}

fn request(key: u8, cost: u64) -> Request<Text> {
    let mut request = get(&format!("/{cost}"));
    request.headers_mut().insert("x-key", HeaderValue::from(u16::from(key)));
    request
}

async fn play(steps: Vec<Step>) {
    let limiter = Local::new(policy(3, 8)).unwrap();
    let layer = RateLimitLayer::inbound(limiter.clone())
        .key(HeaderKey::new(HeaderName::from_static("x-key")))
        .cost(|head| tokens(head.uri.path()[1..].parse().unwrap()));
    let inner: Server = server().0;
    // What is marked is not prepared.
    let (made, prepared) = (layer.clone().marked(true).layer(inner.clone()), layer.layer(inner));
    for step in steps {
        match step {
            Step::Ask(key, cost) => {
                let expected = said(made.clone(), request(key, cost)).await;
                for _ in 0..OFTEN {
                    if expected.0 == 429 || expected.0 == 413 {
                        assert_eq!(said(prepared.clone(), request(key, cost)).await, expected);
                    }
                }
            }
            Step::Pass(millis) => sleep(Duration::from_millis(millis)).await,
            Step::Reconfigure(requests, tokens) => {
                limiter.reconfigure(Tier::FIRST, &policy(requests, tokens)).unwrap();
            }
            Step::Lower(key, amount) => {
                let (minute, key) = (Duration::from_secs(60), one(&key.to_string()).key);
                let said = Allowance::new(Unit::Requests, amount, minute, minute);
                limiter.learn(key, Tier::FIRST, Lesson::Limit(said));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_prepared_answer_is_what_is_made_on_the_spot_whatever_happens(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(steps));
    }
}
