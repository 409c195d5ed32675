//! What a request to an LLM API is taken to come to, by what it asks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{convert::Infallible, time::Duration};

use buttress_core::ReadAhead;
use buttress_limit::{
    Cost, Estimate, EstimateLayer, Estimated, Local, Policy, Quota, RateLimitLayer, Unit,
};
use buttress_testkit::{Contract, Script};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_test::mock;

fn post(body: Script) -> Request<Script> {
    let request = Request::post("/v1/chat/completions");
    request.header(header::CONTENT_TYPE, "application/json").body(body).unwrap()
}

/// What a request was noted to come to, and what was left of its body.
async fn seen(estimate: Estimate, request: Request<Script>) -> (Option<Cost>, Bytes) {
    let inner = service_fn(|request: Request<ReadAhead<Script>>| async move {
        let cost = request.extensions().get::<Estimated>().map(|estimated| estimated.0);
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Ok::<_, Infallible>((cost, body))
    });
    EstimateLayer::new(estimate).layer(inner).oneshot(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_comes_to_what_its_body_allows() {
    let body = r#"{"model":"m","messages":[],"max_tokens":900,"n":2}"#;
    let (front, back) = body.split_at(20);
    let (cost, passed) = seen(Estimate::new(), post(Script::chunks([front, back], 1))).await;
    assert_eq!(passed, body);
    let cost = cost.unwrap();
    assert_eq!(cost.of(Unit::OutputTokens), 1_800);
    assert_eq!(cost.of(Unit::InputTokens), 12);
    assert_eq!(cost, Estimate::new().of_body(body.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_of_tokens_is_not_read() {
    let changes: [fn(&mut Request<Script>); 6] = [
        |request| *request.method_mut() = http::Method::PUT,
        |request| drop(request.headers_mut().remove(header::CONTENT_TYPE)),
        |request| {
            request.headers_mut().insert(header::CONTENT_TYPE, "audio/wav".parse().unwrap());
        },
        |request| {
            request.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        },
        |request| {
            request.headers_mut().insert(header::EXPECT, "100-continue".parse().unwrap());
        },
        |request| {
            request.extensions_mut().insert(Estimated::new(Cost::request().tokens(7)));
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut request = post(Script::new().data("{").stall());
        change(&mut request);
        assert!(!Estimate::new().reads(&request), "{number}");
        let noted = request.extensions().get::<Estimated>().copied();
        let inner = service_fn(|request: Request<ReadAhead<Script>>| async move {
            assert_eq!(request.body().bytes(), None);
            Ok::<_, Infallible>(request.extensions().get::<Estimated>().copied())
        });
        let begun = Instant::now();
        let service = EstimateLayer::new(Estimate::new()).layer(inner);
        assert_eq!(service.oneshot(request).await.unwrap(), noted, "{number}");
        assert_eq!(begun.elapsed(), Duration::ZERO, "{number}: it was waited for");
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_without_a_body_costs_no_tokens() {
    let (cost, _) = seen(Estimate::new(), post(Script::new())).await;
    assert_eq!(cost, Some(Cost::request()));
}

#[tokio::test(start_paused = true)]
async fn trailers_do_not_hide_what_was_asked() {
    let body = Script::new().data(r#"{"max_tokens":9000}"#).trailers(HeaderMap::new());
    let (cost, passed) = seen(Estimate::new(), post(body)).await;
    assert_eq!(cost.unwrap().of(Unit::OutputTokens), 9_000);
    assert_eq!(passed, r#"{"max_tokens":9000}"#);
}

#[tokio::test(start_paused = true)]
async fn a_longer_body_streams_on_and_is_judged_by_its_length() {
    let estimate = Estimate::new().max_body(10).output(5);
    let piece = r#"{"max_tokens":900,"#;
    let chunked = Script::chunks([piece, "\"n\":2}"], 1);
    let (cost, passed) = seen(estimate, post(chunked.hide_end())).await;
    assert_eq!(passed, format!("{piece}\"n\":2}}"));
    assert_eq!(cost, Some(estimate.of_length(18)), "as far as it was read");
    let (cost, passed) = seen(estimate, post(Script::chunks([piece, "}"], 1).exact())).await;
    assert_eq!(passed.len(), 19);
    assert_eq!(cost, Some(estimate.of_length(19)), "as it says itself");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_streams_on_after_a_while() {
    let estimate = Estimate::new().max_wait(Duration::from_secs(3));
    let begun = Instant::now();
    let inner = service_fn(async |request: Request<ReadAhead<Script>>| {
        let cost = request.extensions().get::<Estimated>().map(|estimated| estimated.0);
        let waited = begun.elapsed();
        // The client sends the rest when it sees that somebody listens.
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Ok::<_, Infallible>((waited, cost, body))
    });
    let (front, back) = (r#"{"max_tokens":900"#, "}");
    let body = Script::new().data(front).wait(Duration::from_secs(60)).data(back);
    let call = EstimateLayer::new(estimate).layer(inner).oneshot(post(body));
    let (waited, cost, body) = call.await.unwrap();
    assert_eq!(waited, Duration::from_secs(3));
    assert_eq!(cost, Some(estimate.of_length(17)));
    assert_eq!(body, format!("{front}{back}"));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_fails_fails_at_the_inner_service() {
    let inner = service_fn(|request: Request<ReadAhead<Script>>| async move {
        Ok::<_, Infallible>(request.into_body().collect().await.unwrap_err().to_string())
    });
    let body = Script::new().data("{").fail("the client is gone");
    let service = EstimateLayer::new(Estimate::new()).layer(inner);
    assert_eq!(service.oneshot(post(body)).await.unwrap(), "the client is gone");
}

type Inner = mock::Mock<Request<ReadAhead<Script>>, Response<Script>>;

#[tokio::test(start_paused = true)]
async fn a_body_that_is_on_its_way_holds_no_place_at_the_inner_service() {
    let (inner, mut handle): (Inner, _) = mock::pair();
    handle.allow(0);
    let mut service = EstimateLayer::new(Estimate::new()).layer(inner);
    assert!(service.ready().await.is_ok(), "it is always ready");
    let body = Script::new().data("{}").hold();
    let upload = body.handle();
    let mut call = task::spawn(service.call(post(body)));
    assert_pending!(call.poll());
    // There is a place now, and nobody takes it before the body is there.
    handle.allow(1);
    assert_pending!(call.poll());
    upload.release();
    assert!(call.is_woken());
    assert_pending!(call.poll());
    let (request, answer) = handle.next_request().await.unwrap();
    assert_eq!(request.body().bytes(), Some(&b"{}"[..]));
    answer.send_response(Response::new(Script::new()));
    assert!(call.is_woken());
    assert!(assert_ready!(call.poll()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_its_body_is_read_asks_nothing() {
    let (inner, mut handle): (Inner, _) = mock::pair();
    let mut service = EstimateLayer::new(Estimate::new()).layer(inner);
    let mut call = task::spawn(service.call(post(Script::new().data("{").stall())));
    assert_pending!(call.poll());
    drop(call);
    drop(service);
    assert!(handle.next_request().await.is_none(), "all that could ask is gone");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_may_be_long_waits_for_room_in_the_quota() {
    let limiter = Local::new(Quota::tokens_per_minute(1_000).unwrap()).unwrap();
    let estimate = Estimate::new();
    let service = ServiceBuilder::new()
        .layer(EstimateLayer::new(estimate))
        .layer(RateLimitLayer::outbound(limiter).reject().cost(move |head| estimate.cost(head)))
        .service_fn(|_: Request<ReadAhead<Script>>| async {
            Ok::<_, Infallible>(Response::new(Script::new()))
        });
    let ask = async |tokens: u32| {
        let body = format!(r#"{{"max_tokens":{tokens}}}"#);
        service.clone().oneshot(post(Script::new().data(body))).await.unwrap().status()
    };
    assert_eq!(ask(600).await, 200);
    assert_eq!(ask(600).await, 429);
    assert_eq!(ask(300).await, 200);
}

#[tokio::test(start_paused = true)]
async fn what_allows_more_than_the_quota_has_passes_when_that_is_whole() {
    let policy = Policy::new([Quota::tokens_per_minute(1_000).unwrap().strict().unwrap()]).unwrap();
    let (most, estimate) = (policy.most(), Estimate::new());
    let limiter = Local::new(policy).unwrap();
    let layer = RateLimitLayer::outbound(limiter).cost(move |head| estimate.cost(head));
    let stack =
        ServiceBuilder::new().layer(EstimateLayer::new(estimate)).layer(layer.max_cost(most));
    let service = stack.service_fn(|_: Request<ReadAhead<Script>>| async {
        Ok::<_, Infallible>(Response::new(Script::new()))
    });
    let body = Script::new().data(r#"{"max_completion_tokens":128000}"#);
    assert_eq!(service.oneshot(post(body)).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_layer_keeps_the_contract() {
    Contract::http(EstimateLayer::new(Estimate::new())).run().await;
    let read = || post(Script::chunks(["{\"max_tokens\":", "7}"], 1));
    Contract::http(EstimateLayer::new(Estimate::new())).request(read).run().await;
}
