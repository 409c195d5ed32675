//! Prompts: POST requests that are answered from the store by their body.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use buttress_cache::{
    CacheOutcome, CacheResult, PromptCache, PromptRoute, Prompts, ResponseBody, Scope,
};
use buttress_testkit::{Contract, Planted, Script};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt;
use support::{Got, Origin, Reply, layer, ok, pass, read, respond, respond_with};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};

const CHAT: &str = "http://api.example/v1/chat/completions";

fn prompts() -> Prompts {
    let route = PromptRoute::exact("/v1/chat/completions").unwrap();
    Prompts::new(Scope::credential()).route(route.ttl(Duration::from_secs(600)).unwrap())
}

type Client = PromptCache<Origin>;

fn cached(origin: &Origin) -> Client {
    layer().prompts(prompts()).layer(origin.clone())
}

fn post(key: &str, body: impl Into<Bytes>) -> Request<Script> {
    Request::post(CHAT)
        .header("authorization", key)
        .header("content-type", "application/json")
        .body(Script::new().data(body))
        .unwrap()
}

async fn send(client: &Client, request: Request<Script>) -> Got {
    read(client.clone().oneshot(request).await.unwrap()).await.unwrap()
}

async fn prompt(client: &Client, key: &str, body: &'static str) -> Got {
    send(client, post(key, body)).await
}

/// Answers with the number of the request, and nothing that would make a GET's answer fresh.
fn counting() -> Origin {
    Origin::new(|_, number| ok(&[("set-cookie", "lb=1")], &number.to_string()))
}

#[tokio::test(start_paused = true)]
async fn the_same_prompt_is_answered_once_and_another_is_not() {
    let origin = counting();
    let client = cached(&origin);
    assert_eq!(prompt(&client, "k", r#"{"a":1,"b":"alice"}"#).await.text(), "0");
    let hit = prompt(&client, "k", r#"{ "b": "alice", "a": 1 }"#).await;
    assert_eq!((hit.text(), hit.result), ("0", Some(CacheResult::Hit)));
    assert_eq!(hit.field("set-cookie"), None, "the cookie was for the first");
    assert_eq!(prompt(&client, "k", r#"{"a":1,"b":"bob"}"#).await.text(), "1");
    assert_eq!(prompt(&client, "k", r#"{"a":1,"b":"alice","stream":true}"#).await.text(), "2");
    pass(599).await;
    assert_eq!(prompt(&client, "k", r#"{"a":1,"b":"alice"}"#).await.field("age"), Some("599"));
    pass(1).await;
    assert_eq!(prompt(&client, "k", r#"{"a":1,"b":"alice"}"#).await.text(), "3");
}

#[tokio::test(start_paused = true)]
async fn tenants_do_not_share_and_who_is_nobody_is_not_served_from_the_store() {
    let origin = counting();
    let client = cached(&origin);
    assert_eq!(prompt(&client, "alice", "{}").await.text(), "0");
    assert_eq!(prompt(&client, "bob", "{}").await.text(), "1");
    assert_eq!(prompt(&client, "alice", "{}").await.text(), "0");
    for number in ["2", "3"] {
        let mut request = post("", "{}");
        request.headers_mut().remove(header::AUTHORIZATION);
        assert_eq!(send(&client, request).await.text(), number);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_in_cache_control_is_honoured() {
    let origin = counting();
    let client = cached(&origin);
    let with = |control: &'static str| {
        let mut request = post("k", "{}");
        request.headers_mut().insert("cache-control", HeaderValue::from_static(control));
        request
    };
    assert_eq!(send(&client, with("no-store")).await.text(), "0");
    assert_eq!(send(&client, with("only-if-cached")).await.status, 504);
    assert_eq!(prompt(&client, "k", "{}").await.text(), "1");
    assert_eq!(send(&client, with("no-cache")).await.text(), "2");
    assert_eq!(prompt(&client, "k", "{}").await.text(), "2");
    pass(10).await;
    assert_eq!(send(&client, with("max-age=10")).await.text(), "2");
    pass(1).await;
    assert_eq!(send(&client, with("max-age=10")).await.text(), "3");
}

#[tokio::test(start_paused = true)]
async fn only_answers_that_succeed_and_end_are_kept() {
    let origin = Origin::new(|_, number| match number {
        0 => respond(500, &[]),
        1 => respond(429, &[]),
        2 => respond_with(200, &[], Script::new().data("data: 1\n\n").fail("reset")),
        3 => ok(&[("cache-control", "no-store")], "secret"),
        _ => ok(&[("cache-control", "private, max-age=0")], "kept"),
    });
    let client = cached(&origin);
    assert_eq!(prompt(&client, "k", "{}").await.status, 500);
    assert_eq!(prompt(&client, "k", "{}").await.status, 429);
    let broken = client.clone().oneshot(post("k", "{}")).await.unwrap();
    assert!(read(broken).await.is_err());
    assert_eq!(prompt(&client, "k", "{}").await.text(), "secret");
    assert_eq!(prompt(&client, "k", "{}").await.text(), "kept");
    assert_eq!(prompt(&client, "k", "{}").await.result, Some(CacheResult::Hit));
}

#[tokio::test(start_paused = true)]
async fn a_streamed_answer_is_played_back_byte_by_byte() {
    let events =
        ["data: {\"a\":1}\n\n", ": ping\n\n", "data: caf\u{e9}", "\n\n", "data: [DONE]\n\n"];
    let origin = Origin::new(move |_, _| {
        let body = events
            .iter()
            .fold(Script::new(), |body, event| body.wait(Duration::from_millis(100)).data(*event));
        respond_with(200, &[("content-type", "text/event-stream")], body)
    });
    let client = cached(&origin);
    let begun = Instant::now();
    let mut first = client.clone().oneshot(post("k", "{}")).await.unwrap().into_body();
    let event = first.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((&*event, begun.elapsed()), (events[0].as_bytes(), Duration::from_millis(100)));
    // Another who asks meanwhile reads along.
    let along = send(&client, post("k", "{}")).await;
    assert_eq!(along.result, Some(CacheResult::Collapsed));
    first.collect().await.unwrap();
    let replay = prompt(&client, "k", "{}").await;
    for got in [&along, &replay] {
        assert_eq!(got.text(), events.concat());
        assert_eq!(got.field("content-type"), Some("text/event-stream"));
    }
    assert_eq!((replay.result, origin.calls()), (Some(CacheResult::Hit), 1));
}

type Reading = Result<Response<Script>, Planted>;

/// An inner service that reads the request's body, and says how much of it had come when it was called.
async fn reading(request: Request<buttress_core::ReadAhead<Script>>) -> Reading {
    let length = request.into_body().collect().await.unwrap().to_bytes().len();
    Ok(ok(&[], &length.to_string()))
}

#[tokio::test(start_paused = true)]
async fn a_prompt_over_the_limit_streams_through_and_is_not_kept() {
    let mut client = layer().prompts(prompts()).layer(service_fn(reading));
    let piece = Bytes::from(vec![b'x'; 64 << 10]);
    for exact in [true, false] {
        for _ in 0..2 {
            let body = Script::chunks(vec![piece.clone(); 32], 1);
            let body = if exact { body.exact() } else { body };
            let handle = body.handle();
            let request = Request::post(CHAT).header("authorization", "k").body(body).unwrap();
            let response = client.ready().await.unwrap().call(request).await.unwrap();
            let outcome = *response.extensions().get::<CacheOutcome>().unwrap();
            let text = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(&*text, (2 << 20).to_string().as_bytes());
            assert_eq!(outcome.result, CacheResult::Bypass);
            assert!(handle.is_ended());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_does_not_come_streams_on_and_is_not_kept() {
    let begun = Instant::now();
    let inner = service_fn(move |request| {
        // The client sends the rest when it sees that somebody listens.
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
        reading(request)
    });
    let client = layer().prompts(prompts()).layer(inner);
    let body = Script::new().data("{").wait(Duration::from_secs(60)).data("}");
    let request = Request::post(CHAT).header("authorization", "k").body(body).unwrap();
    let response = client.oneshot(request).await.unwrap();
    let outcome = *response.extensions().get::<CacheOutcome>().unwrap();
    assert_eq!(outcome.result, CacheResult::Bypass);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "2");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_fails_fails_at_the_inner_service() {
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let noted = Arc::clone(&seen);
    let inner = service_fn(move |request: Request<buttress_core::ReadAhead<Script>>| {
        let noted = Arc::clone(&noted);
        async move {
            let error = request.into_body().collect().await.unwrap_err();
            *noted.lock().unwrap() = error.to_string();
            Reading::Ok(respond(400, &[]))
        }
    });
    let client = layer().prompts(prompts()).layer(inner);
    let body = Script::new().data("{").fail("the client is gone");
    let request = Request::post(CHAT).header("authorization", "k").body(body).unwrap();
    let response: Response<ResponseBody<Script>> = client.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(*seen.lock().unwrap(), "the client is gone");
}

#[tokio::test(start_paused = true)]
async fn other_posts_and_all_gets_are_as_without() {
    let origin = Origin::new(|parts, number| {
        let fields: &[_] =
            if parts.method == "GET" { &[("cache-control", "max-age=60")] } else { &[] };
        Reply::from(ok(fields, &number.to_string()))
    });
    let client = cached(&origin);
    let other = |method: &str| {
        let builder = Request::builder().method(method).uri("http://api.example/v1/other");
        builder.body(Script::new().data("{}")).unwrap()
    };
    assert_eq!(send(&client, other("GET")).await.text(), "0");
    assert_eq!(send(&client, other("GET")).await.text(), "0");
    assert_eq!(send(&client, other("POST")).await.text(), "1");
    assert_eq!(send(&client, other("POST")).await.text(), "2");
    assert_eq!(send(&client, other("GET")).await.text(), "3", "the POST made it invalid");
}

#[tokio::test(start_paused = true)]
async fn the_layer_with_prompts_keeps_the_contract() {
    Contract::http(layer().prompts(prompts())).run().await;
}
