//! What those are told who are not admitted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use buttress_limit::{Cost, Denied, DeniedKind, Local, Policy, Quota, RateLimitLayer, Unit};
use common::{Text, answering, get, per, server};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use sfv::{BareItem, List, ListEntry, Parser};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt};

/// A field as a list of names with their parameters.
fn field(headers: &HeaderMap, name: &str) -> Vec<(String, Vec<(String, i64)>)> {
    let text = headers[name].to_str().unwrap();
    let list: List = Parser::new(text).parse().unwrap();
    let entries = list.iter().map(|entry| {
        let ListEntry::Item(item) = entry else { panic!("an inner list in {text}") };
        let BareItem::String(quota) = &item.bare_item else { panic!("no string in {text}") };
        let numbers = item.params.iter().filter_map(|(key, value)| {
            Some((key.as_str().to_owned(), i64::from(value.as_integer()?)))
        });
        (quota.as_str().to_owned(), numbers.collect())
    });
    entries.collect()
}

fn numbers(all: &[(&str, i64)]) -> Vec<(String, i64)> {
    all.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_denial_says_which_window_and_when_to_come_back() {
    let policy = [Quota::per_minute(2).unwrap(), Quota::per_day(100).unwrap()];
    let limiter = Local::new(Policy::new(policy).unwrap()).unwrap();
    let service = RateLimitLayer::inbound(limiter).marked(true).layer(server().0);
    for _ in 0..2 {
        let response = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers().is_empty(), "nothing is added to what passes");
    }
    sleep(Duration::from_millis(500)).await;
    let response = service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let headers = response.headers();
    // 29.5 seconds, rounded up.
    assert_eq!(headers["retry-after"], "30");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["content-type"], "application/problem+json");
    let limits = field(headers, "ratelimit");
    assert_eq!(limits, [("per-minute".into(), numbers(&[("r", 0), ("t", 30)]))]);
    let policies = field(headers, "ratelimit-policy");
    assert_eq!(policies[0], ("per-minute".into(), numbers(&[("q", 2), ("w", 60)])));
    assert_eq!(policies[1], ("per-day".into(), numbers(&[("q", 100), ("w", 86_400)])));
    assert_eq!(response.extensions().get::<Denied>().unwrap().kind(), DeniedKind::Quota);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["status"], 429);
    assert_eq!(problem["violated-policies"], serde_json::json!(["per-minute"]));
    assert!(problem["type"].as_str().unwrap().ends_with("#quota-exceeded"));
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_less_than_a_second_is_a_second() {
    let limiter = Local::new(per(1, Duration::from_millis(500))).unwrap();
    let service = RateLimitLayer::inbound(limiter).layer(server().0);
    service.clone().oneshot(get("/")).await.unwrap();
    for _ in 0..50 {
        let response = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(response.headers()["retry-after"], "1");
        let limits = field(response.headers(), "ratelimit");
        assert_eq!(limits[0].1, numbers(&[("r", 0), ("t", 1)]));
        sleep(Duration::from_millis(9)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_is_not_requests_is_named() {
    let quota = Quota::of(Unit::Bytes, 1_000, Duration::from_millis(1_500)).unwrap();
    let quota = quota.named("up\"load\\s").unwrap();
    let limiter = Local::new(quota).unwrap();
    let layer = RateLimitLayer::inbound(limiter).cost(|_| Cost::request().with(Unit::Bytes, 700));
    let service = layer.headers().layer(server().0);
    let response = service.clone().oneshot(get("/")).await.unwrap();
    let policy = response.headers()["ratelimit-policy"].to_str().unwrap();
    assert_eq!(policy, r#""up\"load\\s";q=1000;w=2;qu="content-bytes""#);
    let limits = field(response.headers(), "ratelimit");
    assert_eq!(limits, [("up\"load\\s".into(), numbers(&[("r", 300), ("t", 2)]))]);
    let response = service.clone().oneshot(get("/")).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["violated-policies"], serde_json::json!(["up\"load\\s"]));
}

#[tokio::test]
async fn what_the_upstream_says_of_its_own_quota_is_left_alone() {
    for (name, value) in [
        ("ratelimit", "\"theirs\";r=7;t=1"),
        ("ratelimit-policy", "\"theirs\";q=9;w=1"),
        ("x-ratelimit-remaining", "7"),
    ] {
        let (inner, _) = answering(move |_| {
            let mut response = Response::new(Text::default());
            response.headers_mut().insert(name, HeaderValue::from_static(value));
            response
        });
        let limiter = Local::new(Quota::per_minute(10).unwrap()).unwrap();
        let layer = RateLimitLayer::inbound(limiter).headers().legacy_headers();
        let response = layer.layer(inner).oneshot(get("/")).await.unwrap();
        assert_eq!(response.headers()[name], value);
        assert_eq!(response.headers().get_all(name).iter().count(), 1);
        let theirs = name.starts_with("ratelimit");
        assert_eq!(response.headers().contains_key("ratelimit"), name != "ratelimit-policy");
        assert_eq!(response.headers().contains_key("x-ratelimit-limit"), theirs);
    }
}

#[tokio::test]
async fn a_grpc_client_is_told_by_its_status() {
    let limiter = Local::new(Quota::per_minute(1).unwrap()).unwrap();
    let service = RateLimitLayer::inbound(limiter).layer(server().0);
    let mut request = get("/");
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
    assert_eq!(service.clone().oneshot(request.clone()).await.unwrap().status(), 200);
    let response = service.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "8");
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let pushback = response.headers()["grpc-retry-pushback-ms"].to_str().unwrap();
    assert!((59_000..=60_000).contains(&pushback.parse::<u32>().unwrap()), "{pushback}");
    assert!(!response.headers().contains_key("retry-after"));
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    // And to the others by HTTP's.
    assert_eq!(service.clone().oneshot(get("/")).await.unwrap().status(), 429);
}

#[tokio::test]
async fn a_request_that_never_fits_is_not_told_to_come_back() {
    let limiter = Local::new(Quota::tokens_per_minute(100).unwrap()).unwrap();
    let layer = RateLimitLayer::inbound(limiter).cost(|_| Cost::request().tokens(101));
    let response = layer.clone().layer(server().0).oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(!response.headers().contains_key("retry-after"));
    // Unless it is counted as what the quota has.
    let most = Policy::new([Quota::tokens_per_minute(100).unwrap()]).unwrap().most();
    let response = layer.max_cost(most).layer(server().0).oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn load_that_is_shed_is_a_503() {
    let limiter = Local::new(Quota::per_minute(10).unwrap()).unwrap();
    let critical = |head: &buttress_limit::Head<'_>| head.uri.path() == "/pay";
    let layer = RateLimitLayer::inbound(limiter).shed().reserve(50, critical).unwrap();
    let service = layer.jitter(Duration::from_secs(5)).layer(server().0);
    let mut statuses = Vec::new();
    for path in ["/"; 7].into_iter().chain(["/pay"; 6]) {
        let response = service.clone().oneshot(get(path)).await.unwrap();
        let status = response.status().as_u16();
        if status == 503 {
            let after = response.headers()["retry-after"].to_str().unwrap();
            assert!((6..=11).contains(&after.parse::<u32>().unwrap()), "{after}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body.windows(26).any(|text| text == b"temporary-reduced-capacity"));
        }
        statuses.push(status);
    }
    let expected = [[200; 5].as_slice(), &[503; 2], &[200; 5], &[503]].concat();
    assert_eq!(statuses, expected);
}

#[tokio::test]
async fn an_answer_of_ones_own_has_the_body_of_the_service() {
    let limiter = Local::new(Quota::per_minute(1).unwrap()).unwrap();
    let layer = RateLimitLayer::inbound(limiter).respond_with(|denied: &Denied, head| {
        let text = format!("{}: {denied}", head.uri.path());
        Response::builder().status(420).body(Text::from(text)).unwrap()
    });
    let mut service = layer.layer(server().0);
    service.ready().await.unwrap().call(get("/tea")).await.unwrap();
    let response = service.ready().await.unwrap().call(get("/tea")).await.unwrap();
    assert_eq!(response.status(), 420);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "/tea: the quota is spent");
}

#[tokio::test]
async fn the_older_headers_are_said_if_asked_for() {
    let limiter = Local::new(Quota::per_minute(10).unwrap()).unwrap();
    let layer = RateLimitLayer::inbound(limiter).legacy_headers().headers();
    let response = layer.layer(server().0).oneshot(get("/")).await.unwrap();
    assert_eq!(response.headers()["x-ratelimit-limit"], "10");
    assert_eq!(response.headers()["x-ratelimit-remaining"], "9");
    assert_eq!(response.headers()["x-ratelimit-reset"], "6");
}
