//! What a refused caller is told, over HTTP and over gRPC, whatever the body type is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod overload_common;

use buttress_limit::{
    Concurrency, ConcurrencyLimitLayer, Overloaded,
    overload::{Bare, Head},
};
use buttress_testkit::Script;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use overload_common::{answers, fixed, get, status};
use tower::{Layer, ServiceExt};

/// A limit of one, which is used.
fn full() -> (Concurrency, impl Drop) {
    struct Kept(#[expect(dead_code, reason = "it is held")] buttress_limit::concurrency::Permit);
    impl Drop for Kept {
        fn drop(&mut self) {}
    }
    let limit = fixed(1);
    let permit = limit.try_acquire().unwrap();
    (limit, Kept(permit))
}

fn grpc() -> Request<Empty<Bytes>> {
    let mut request = get();
    request.headers_mut().insert(header::CONTENT_TYPE, "application/grpc+proto".parse().unwrap());
    request
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers[name].to_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn http_callers_get_a_problem_document_that_is_not_kept() {
    let (limit, _kept) = full();
    let client = ConcurrencyLimitLayer::inbound(limit).layer(answers(|| status(200)));
    let response = client.oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers().clone();
    assert_eq!(field(&headers, "content-type"), "application/problem+json");
    assert_eq!(field(&headers, "cache-control"), "no-store");
    assert_eq!(field(&headers, "retry-after"), "1");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["status"], 503);
    assert!(problem["type"].as_str().unwrap().ends_with("#temporary-reduced-capacity"));
    assert_eq!(problem["violated-policies"][0], "concurrency");
    assert!(problem["title"].is_string() && problem["detail"].is_string());
}

#[tokio::test(start_paused = true)]
async fn grpc_callers_get_a_status_that_they_understand() {
    let (limit, _kept) = full();
    let client = ConcurrencyLimitLayer::inbound(limit).layer(answers(|| status(200)));
    let response = client.oneshot(grpc()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers().clone();
    assert_eq!(field(&headers, "content-type"), "application/grpc");
    assert_eq!(field(&headers, "grpc-status"), "8");
    assert_eq!(field(&headers, "grpc-retry-pushback-ms"), "1000");
    assert!(!headers.contains_key("retry-after"));
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_made_of_bytes_is_answered_bare() {
    let (limit, _kept) = full();
    let client = ConcurrencyLimitLayer::inbound(limit).answer(Bare::default());
    let client = client.layer(answers(|| Response::new(Script::new())));
    let response = client.oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(field(response.headers(), "retry-after"), "1");
}

/// Neither `Default` nor `From<Bytes>`.
struct Odd(Empty<Bytes>);

impl http_body::Body for Odd {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_ones_own_fits_any_body() {
    let (limit, _kept) = full();
    let own = |refused: &Overloaded, head: Head<'_>| {
        let mut response = Response::new(Odd(Empty::new()));
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        let told = format!("{} {}", head.uri.path(), refused.kind().as_str());
        response.headers_mut().insert("x-why", told.parse().unwrap());
        response
    };
    let client = ConcurrencyLimitLayer::inbound(limit).answer(own);
    let client = client.layer(answers(|| Response::new(Odd(Empty::new()))));
    let response = client.oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(field(response.headers(), "x-why"), "/things full");
}
