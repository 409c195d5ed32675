//! What an unsafe request or a purge must make invalid, also where it is easily missed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use buttress_cache::{CacheDirective, KeySpec, Removal, Tag};
use buttress_testkit::Script;
use http::{HeaderName, Method, StatusCode};
use support::{
    Client, Origin, ask, fresh, get, layer, ok, pass, read, request, respond, respond_with, send,
    settle,
};

const URI: &str = support::URI;

/// Answers GETs with the number of the request.
fn counting() -> Origin {
    Origin::new(|parts, number| {
        if parts.method == Method::GET { fresh(&number.to_string()) } else { respond(204, &[]) }
    })
}

/// RFC 9111 section 4.4: a request whose own answer has no key may still change what has one.
#[tokio::test(start_paused = true)]
async fn a_change_with_a_forwarding_header_invalidates_what_is_stored_without_one() {
    let origin = counting();
    let client = origin.behind(&layer().keys(KeySpec::server()));
    assert_eq!(get(&client).await.text(), "0");
    ask(&client, "PUT", URI, &[("x-forwarded-proto", "https")]).await;
    assert_eq!(get(&client).await.text(), "2");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_bypasses_the_store_invalidates_what_is_in_it() {
    let origin = counting();
    let client = origin.cached();
    assert_eq!(get(&client).await.text(), "0");
    let mut put = request("PUT", URI, &[]);
    put.extensions_mut().insert(CacheDirective::bypass());
    assert_eq!(send(&client, put).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(get(&client).await.text(), "2");
}

#[tokio::test(start_paused = true)]
async fn what_a_change_names_is_invalidated_in_the_scope_of_the_change() {
    let origin = Origin::new(|parts, number| {
        if parts.method == Method::GET {
            fresh(&number.to_string())
        } else {
            respond(201, &[("location", "/x")])
        }
    });
    let client = origin.cached();
    let scoped = |method, uri| {
        let mut request = request(method, uri, &[]);
        request.extensions_mut().insert(CacheDirective::new().scope("red"));
        let client = &client;
        async move { read(send(client, request).await.unwrap()).await.unwrap() }
    };
    assert_eq!(scoped("GET", URI).await.text(), "0");
    scoped("POST", "http://a.example/collection").await;
    assert_eq!(scoped("GET", URI).await.text(), "2");
}

/// An origin whose first GET brings its head at once and its body late.
fn slow() -> Origin {
    Origin::new(|parts, number| {
        let cached = [("cache-control", "max-age=60")];
        let body = Script::new().wait(Duration::from_secs(5)).data(number.to_string());
        match (&parts.method, number) {
            (&Method::GET, 0) => respond_with(200, &cached, body),
            (&Method::GET, _) => fresh(&number.to_string()),
            _ => respond(204, &[]),
        }
    })
}

/// Begins a GET, lets something happen while its body is on the way, and returns what another GET
/// after that brings.
async fn after_during<F: Future<Output = ()>>(
    client: &Client,
    meanwhile: impl FnOnce() -> F,
) -> String {
    let early = send(client, request("GET", URI, &[])).await.unwrap();
    settle().await;
    meanwhile().await;
    let (early, late) = tokio::join!(async { read(early).await.unwrap() }, get(client));
    assert_eq!(early.text(), "0");
    late.text().to_owned()
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_after_a_change_does_not_read_along_with_a_fetch_from_before_it() {
    let origin = slow();
    let client = origin.cached();
    let late = after_during(&client, || async {
        ask(&client, "PUT", URI, &[]).await;
    });
    assert_eq!(late.await, "2");
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_after_a_purge_does_not_read_along_with_a_fetch_from_before_it() {
    let origin = slow();
    let layer = layer();
    let (client, handle) = (origin.behind(&layer), layer.handle());
    let late = after_during(&client, || async {
        handle.purge_all(Removal::Hard).await.unwrap();
    });
    assert_eq!(late.await, "1");
}

#[tokio::test(start_paused = true)]
async fn the_tags_of_a_revalidation_are_those_of_what_is_stored_from_then_on() {
    let origin = Origin::new(|_, number| match number {
        0 => {
            ok(&[("cache-control", "max-age=10"), ("etag", "\"1\""), ("surrogate-key", "old")], "a")
        }
        1 => respond(
            304,
            &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("surrogate-key", "new")],
        ),
        _ => fresh("b"),
    });
    let layer = layer().tags(HeaderName::from_static("surrogate-key"));
    let (client, handle) = (origin.behind(&layer), layer.handle());
    get(&client).await;
    pass(20).await;
    assert_eq!(get(&client).await.text(), "a");
    handle.purge_tag(&Tag::new("new"), Removal::Hard).await.unwrap();
    assert_eq!(get(&client).await.text(), "b");
}
