//! What an unsafe request or a purge must make invalid, also where it is easily missed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use buttress_cache::{CacheDirective, CacheLayer, ForwardingGuard, KeySpec, Removal, Tag};
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

fn keyed() -> CacheLayer {
    layer().keys(KeySpec::server().guard(ForwardingGuard::keyed()))
}

/// RFC 9111 section 4.4: the target is the same, whatever the key has besides it.
#[tokio::test(start_paused = true)]
async fn a_change_invalidates_what_is_stored_for_every_value_of_a_forwarding_header() {
    let origin = counting();
    let layer = keyed();
    let client = origin.behind(&layer);
    let headers = [&[][..], &[("x-forwarded-host", "a")], &[("x-forwarded-proto", "https")]];
    let all = async || {
        let mut texts = Vec::new();
        for headers in headers {
            texts.push(ask(&client, "GET", URI, headers).await.text().to_owned());
        }
        texts.join(" ")
    };
    assert_eq!((all().await, all().await), ("0 1 2".into(), "0 1 2".into()));
    ask(&client, "PUT", URI, &[("x-host", "b")]).await;
    assert_eq!((all().await, all().await), ("4 5 6".into(), "4 5 6".into()));
    ask(&client, "PUT", URI, &[]).await;
    assert_eq!(all().await, "8 9 10");
    let purged = layer.handle().purge_uri(&URI.parse().unwrap(), Removal::Hard).await;
    assert_eq!(purged.unwrap(), 3);
    assert_eq!(all().await, "11 12 13");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_from_before_a_change_under_another_forwarding_header_is_for_nobody_after_it() {
    let origin = slow();
    let client = origin.behind(&keyed());
    let asked = [("x-forwarded-host", "a")];
    let early = send(&client, request("GET", URI, &asked)).await.unwrap();
    settle().await;
    ask(&client, "PUT", URI, &[("x-forwarded-host", "b")]).await;
    let late = ask(&client, "GET", URI, &asked);
    let (early, late) = tokio::join!(async { read(early).await.unwrap() }, late);
    assert_eq!((early.text(), late.text()), ("0", "2"));
    assert_eq!(ask(&client, "GET", URI, &asked).await.text(), "2");
}

/// What was sent under a forwarding header is for those only who send the same.
#[tokio::test(start_paused = true)]
async fn the_answer_to_a_post_is_kept_for_the_same_forwarding_header_alone() {
    let origin = Origin::new(|parts, number| {
        let named = [("cache-control", "max-age=60"), ("content-location", "/")];
        let named = if parts.method == Method::POST { &named[..] } else { &named[..1] };
        respond_with(200, named, Script::new().data(number.to_string()))
    });
    let client = origin.behind(&keyed());
    let evil = [("x-forwarded-host", "evil")];
    ask(&client, "POST", "http://a.example/", &evil).await;
    assert_eq!(ask(&client, "GET", "http://a.example/", &[]).await.text(), "1");
    assert_eq!(ask(&client, "GET", "http://a.example/", &evil).await.text(), "0");
}
