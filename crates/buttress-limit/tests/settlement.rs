//! What a request to an LLM API came to, by its answer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_limit::{
    Ask, Cost, Estimate, Head, Key, Limiter, Local, Quota, RateLimitLayer, UsageSettle,
};
use buttress_testkit::Script;
use common::{Text, get};
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};

const GLOBAL: Ask = Ask::new(Key::GLOBAL, Cost::request());

fn limiter() -> Local {
    Local::new(Quota::tokens_per_minute(1_000).unwrap()).unwrap()
}

fn left(limiter: &Local) -> u32 {
    limiter.peek(&GLOBAL).unwrap().standings()[0].remaining()
}

/// Sends one request that is estimated at 600 tokens.
async fn answered(
    limiter: &Local,
    status: u16,
    kind: &'static str,
    body: Script,
) -> Response<buttress_limit::ResponseBody<Script>> {
    let body = Arc::new(Mutex::new(Some(body)));
    let inner = tower::service_fn(move |_: Request<Text>| {
        let body = body.lock().unwrap().take().unwrap();
        let response = Response::builder().status(status).header("content-type", kind);
        let response = response.body(body).unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    let layer = RateLimitLayer::outbound(limiter.clone())
        .cost(|_| Cost::request().tokens(600))
        .settle(UsageSettle::new());
    layer.layer(inner).oneshot(get("/v1/chat/completions")).await.unwrap()
}

const STREAM: [&str; 5] = [
    ": keep-alive\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\":{\\\"total",
    "_tokens\\\":9999}\"}}],\"usage\":null}\n\n",
    "data: {\"choices\":[],\"us",
    "age\":{\"prompt_tokens\":50,\"completion_tokens\":100,\"total_tokens\":150}}\r\n\r\n",
    "data: [DONE]\n\n",
];

#[tokio::test(start_paused = true)]
async fn a_stream_is_settled_at_its_end_and_arrives_as_it_is() {
    let limiter = limiter();
    let body = Script::chunks(STREAM, 1);
    let response = answered(&limiter, 200, "text/event-stream; charset=utf-8", body).await;
    assert!(response.headers().keys().all(|name| name == "content-type"));
    let (mut body, mut seen) = (response.into_body(), String::new());
    for _ in STREAM {
        assert_eq!(left(&limiter), 400);
        seen += str::from_utf8(&body.frame().await.unwrap().unwrap().into_data().unwrap()).unwrap();
    }
    while body.frame().await.is_some() {}
    assert_eq!(seen, STREAM.concat());
    assert_eq!(left(&limiter), 850);
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_is_settled_too() {
    for (usage, expected) in [
        (r#"{"prompt_tokens":50,"completion_tokens":100,"total_tokens":150}"#, 850),
        (r#"{"input_tokens":100,"output_tokens":100}"#, 800),
        (r#"{"total_tokens":150,"prompt_tokens_details":{"cached_tokens":10}}"#, 850),
        (r#"{"total_tokens":"many"}"#, 400),
        ("null", 400),
    ] {
        let limiter = limiter();
        let text = format!(r#"{{"choices":[],"usage":{usage},"id":"x"}}"#);
        let (a, b) = text.split_at(30);
        let body = Script::chunks([a.to_owned(), b.to_owned()], 0);
        let response = answered(&limiter, 200, "application/json", body).await;
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), text);
        assert_eq!(left(&limiter), expected, "{usage}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_estimated_is_a_debt() {
    let limiter = limiter();
    let body = Script::chunks([r#"{"usage":{"total_tokens":2600}}"#], 0);
    let response = answered(&limiter, 200, "application/json", body).await;
    response.into_body().collect().await.unwrap();
    let all = Ask::new(Key::GLOBAL, Cost::request().tokens(600));
    let denied = limiter.try_acquire(&all).unwrap().unwrap_err();
    assert_eq!(denied.retry_after(), Some(Duration::from_secs(132)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_read_to_its_end_stays_at_the_estimate() {
    let limiter = limiter();
    let response = answered(&limiter, 200, "text/event-stream", Script::chunks(STREAM, 0)).await;
    let mut body = response.into_body();
    for _ in 0..4 {
        body.frame().await.unwrap().unwrap();
    }
    drop(body);
    assert_eq!(left(&limiter), 400);
    let limiter = self::limiter();
    let broken = Script::chunks(STREAM, 0).fail("reset");
    let response = answered(&limiter, 200, "text/event-stream", broken).await;
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(left(&limiter), 400);
}

#[tokio::test(start_paused = true)]
async fn an_error_has_cost_no_tokens() {
    for (status, expected) in [(503, 1_000), (400, 1_000), (200, 400)] {
        let limiter = limiter();
        let body = Script::chunks(["{}"], 0);
        let response = answered(&limiter, status, "application/json", body).await;
        response.into_body().collect().await.unwrap();
        assert_eq!(left(&limiter), expected, "{status}");
    }
}

#[test]
fn a_request_is_estimated_by_its_length_and_what_it_allows() {
    let estimate = Estimate::new().output(70);
    let tokens = |cost: Cost| cost.of(buttress_limit::Unit::Tokens);
    assert_eq!(tokens(estimate.of_body(br#"{"max_tokens":100}"#)), 4 + 100);
    assert_eq!(tokens(estimate.of_body(br#"{"max_completion_tokens":9,"n":3}"#)), 8 + 27);
    assert_eq!(tokens(estimate.of_body(b"no json")), 1 + 70);
    for huge in ["18446744073709551615", "99999999999999999999999", "-1", "1.5"] {
        let body = format!(r#"{{"max_tokens":{huge},"n":18446744073709551615}}"#);
        assert!(tokens(estimate.of_body(body.as_bytes())) >= 70, "{huge}");
    }
    let mut request = get("/");
    assert_eq!(tokens(estimate.cost(&Head::of(&request))), 0, "there is no body");
    request.headers_mut().insert("content-length", "400".parse().unwrap());
    assert_eq!(tokens(estimate.cost(&Head::of(&request))), 170);
    estimate.mark(&mut request, br#"{"max_tokens":100}"#);
    assert_eq!(tokens(estimate.cost(&Head::of(&request))), 104);
}
