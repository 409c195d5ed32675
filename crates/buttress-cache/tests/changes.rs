//! Invalidation, staleness and purges (RFC 9111 sections 4.2.4 and 4.4, RFC 5861).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use buttress_cache::{CacheResult, Profile, Removal, Tag};
use support::{
    Origin, Reply, ask, fresh, get, get_with, layer, ok, pass, request, respond, send, settle,
};

const URI: &str = support::URI;

/// Whether what is stored under `uri` is gone after a request with `method` is answered so.
async fn is_gone(uri: &str, method: &str, status: u16, fields: &'static [(&str, &str)]) -> bool {
    let origin =
        Origin::new(
            move |parts, _| {
                if parts.method == "GET" { fresh("a") } else { respond(status, fields) }
            },
        );
    let client = origin.cached();
    ask(&client, "GET", uri, &[]).await;
    ask(&client, method, URI, &[]).await;
    ask(&client, "GET", uri, &[]).await;
    origin.calls() == 3
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_request_that_succeeds_invalidates_its_target() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"] {
        assert!(is_gone(URI, method, 200, &[]).await, "{method}");
        assert!(is_gone(URI, method, 303, &[]).await, "{method}");
        assert!(!is_gone(URI, method, 500, &[]).await, "{method}");
        assert!(!is_gone(URI, method, 404, &[]).await, "{method}");
    }
    assert!(!is_gone(URI, "OPTIONS", 200, &[]).await);
    assert!(!is_gone("http://a.example/other", "POST", 200, &[]).await);
}

#[tokio::test(start_paused = true)]
async fn it_invalidates_what_it_names_on_the_same_origin() {
    const OTHER: &str = "http://a.example/other";
    for field in ["location", "content-location"] {
        for value in
            ["/other", "other", "http://a.example/other", "//A.example:80/other", "./x/../other"]
        {
            assert!(is_gone(OTHER, "POST", 201, vec![(field, value)].leak()).await, "{value}");
        }
        assert!(!is_gone(OTHER, "POST", 201, vec![(field, "http://b.example/other")].leak()).await);
        assert!(!is_gone(OTHER, "POST", 500, vec![(field, "/other")].leak()).await);
    }
    let elsewhere = vec![("location", "http://b.example/other")].leak();
    assert!(!is_gone("http://b.example/other", "POST", 201, elsewhere).await);
}

#[tokio::test(start_paused = true)]
async fn it_invalidates_every_variant() {
    let origin = Origin::new(|parts, _| {
        if parts.method == "GET" {
            ok(&[("cache-control", "max-age=60"), ("vary", "foo")], "a")
        } else {
            respond(200, &[])
        }
    });
    let client = origin.cached();
    let both = async || {
        for foo in ["1", "2"] {
            get_with(&client, &[("foo", foo)]).await;
        }
    };
    both().await;
    both().await;
    assert_eq!(origin.calls(), 2);
    ask(&client, "POST", URI, &[]).await;
    both().await;
    assert_eq!(origin.calls(), 5);
}

/// What comes of a request for a response with these directives that is `secs` old, from an origin
/// that then fails so.
async fn failing(
    control: &'static str,
    secs: u64,
    down: bool,
    profile: Profile,
) -> Option<CacheResult> {
    let origin = Origin::new(move |_, number| match number {
        0 => ok(&[("cache-control", control), ("etag", "\"a\"")], "a").into(),
        _ if down => Reply::failure(),
        _ => respond(503, &[]).into(),
    });
    let client = origin.behind(&layer().profile(profile));
    get(&client).await;
    pass(secs).await;
    let answer = send(&client, request("GET", URI, &[])).await.ok()?;
    support::read(answer).await.unwrap().result
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_origin_is_stood_in_for_unless_that_is_forbidden() {
    let stale = Some(CacheResult::Stale);
    assert_eq!(failing("max-age=2", 3, true, Profile::rfc()).await, stale);
    assert_eq!(failing("max-age=2", 3, true, Profile::safe()).await, None);
    for forbidding in [
        "max-age=2, must-revalidate",
        "max-age=2, proxy-revalidate",
        "s-maxage=2",
        "max-age=2, no-cache",
        "max-age=2, must-revalidate, stale-if-error=60",
    ] {
        assert_eq!(failing(forbidding, 3, true, Profile::rfc()).await, None, "{forbidding}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_stood_in_for_only_within_the_window() {
    let (stale, miss) = (Some(CacheResult::Stale), Some(CacheResult::Miss));
    let within = "max-age=2, stale-if-error=10";
    for down in [true, false] {
        assert_eq!(failing(within, 12, down, Profile::safe()).await, stale);
    }
    assert_eq!(failing(within, 13, false, Profile::rfc()).await, miss);
    assert_eq!(failing(within, 13, true, Profile::rfc()).await, None);
    for control in ["max-age=2", "max-age=2, must-revalidate, stale-if-error=10", "s-maxage=2"] {
        assert_eq!(failing(control, 3, false, Profile::rfc()).await, miss, "{control}");
    }
}

#[tokio::test(start_paused = true)]
async fn must_revalidate_passes_the_503_on() {
    let origin = Origin::new(|_, number| match number {
        0 => ok(&[("cache-control", "max-age=0, must-revalidate"), ("etag", "\"a\"")], "old"),
        _ => respond(503, &[]),
    });
    let client = origin.cached();
    get(&client).await;
    assert_eq!(get(&client).await.status, 503);
}

#[tokio::test(start_paused = true)]
async fn a_stale_response_is_served_while_one_fetch_renews_it() {
    let origin = Origin::new(|_, number| {
        let fields = [("cache-control", "max-age=10, stale-while-revalidate=20")];
        Reply::from(ok(&fields, &number.to_string())).after(Duration::from_secs(1))
    });
    let client = origin.cached();
    get(&client).await;
    pass(15).await;
    let begun = tokio::time::Instant::now();
    for _ in 0..1000 {
        let got = get(&client).await;
        assert_eq!((got.result, got.text()), (Some(CacheResult::Stale), "0"));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    settle().await;
    assert_eq!(origin.calls(), 2);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(get(&client).await.text(), "1");
    pass(30).await;
    assert_eq!(get(&client).await.text(), "2", "the window is over");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_not_repeated_at_once() {
    let origin = Origin::new(|_, number| match number {
        0 => ok(&[("cache-control", "max-age=10, stale-while-revalidate=60")], "a"),
        _ => respond(503, &[]),
    });
    let client = origin.cached();
    get(&client).await;
    pass(15).await;
    for _ in 0..20 {
        assert_eq!(get(&client).await.text(), "a");
        settle().await;
    }
    assert_eq!(origin.calls(), 2);
    pass(6).await;
    assert_eq!(get(&client).await.text(), "a");
    settle().await;
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_task_outlives_the_cache() {
    let origin = Origin::new(|_, number| {
        let fields = [("cache-control", "max-age=10, stale-while-revalidate=60")];
        let reply = Reply::from(ok(&fields, "a"));
        if number == 0 { reply } else { reply.after(Duration::from_secs(5)) }
    });
    let client = origin.cached();
    get(&client).await;
    pass(15).await;
    get(&client).await;
    settle().await;
    assert_eq!(origin.calls(), 2);
    drop(client);
    settle().await;
    assert_eq!(origin.holders(), 1, "the task that held a clone is gone");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_entries_are_purged_by_their_tag() {
    let origin = Origin::new(|_, _| {
        ok(&[("cache-control", "max-age=60"), ("surrogate-key", "all shop")], "a")
    });
    let layer = layer().tags(http::HeaderName::from_static("surrogate-key"));
    let (client, handle) = (origin.behind(&layer), layer.handle());
    let uri = |number: usize| format!("http://a.example/{number}");
    for number in 0..10_000 {
        ask(&client, "GET", &uri(number), &[]).await;
    }
    assert_eq!(handle.purge_tag(&Tag::from("shop"), Removal::Soft).await.unwrap(), 10_000);
    let got = ask(&client, "GET", &uri(7), &[]).await;
    assert_eq!(got.result, Some(CacheResult::Stale), "soft: served while it is renewed");
    settle().await;
    assert_eq!(origin.calls(), 10_001);
    assert_eq!(ask(&client, "GET", &uri(7), &[]).await.result, Some(CacheResult::Hit));
    assert_eq!(handle.purge_tag(&Tag::from("all"), Removal::Hard).await.unwrap(), 10_000);
    assert_eq!(ask(&client, "GET", &uri(7), &[]).await.result, Some(CacheResult::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_purge_wins_over_a_response_that_is_on_its_way() {
    let origin = Origin::new(|_, number| {
        let fields = [("cache-control", "max-age=60"), ("surrogate-key", "t")];
        Reply::from(ok(&fields, &number.to_string())).after(Duration::from_secs(2))
    });
    for by_tag in [true, false] {
        let layer = layer().tags(http::HeaderName::from_static("surrogate-key"));
        let (client, handle) = (origin.behind(&layer), layer.handle());
        let before = origin.calls();
        let purge = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if by_tag {
                handle.purge_tag(&Tag::from("t"), Removal::Hard).await.unwrap();
            } else {
                handle.purge_uri(&URI.parse().unwrap(), Removal::Hard).await.unwrap();
            }
        };
        tokio::join!(get(&client), purge);
        assert_eq!(get(&client).await.result, Some(CacheResult::Miss));
        assert_eq!(origin.calls(), before + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_during_a_revalidation_is_not_undone_by_it() {
    let origin = Origin::new(|parts, number| {
        let reply: Reply = match (parts.method.as_str(), number) {
            ("PUT", _) => respond(200, &[]).into(),
            (_, 0) => ok(&[("cache-control", "max-age=1"), ("etag", "\"a\"")], "old").into(),
            (_, 1) => {
                let reply = Reply::from(respond(304, &[("cache-control", "max-age=60")]));
                reply.after(Duration::from_secs(2))
            }
            _ => fresh("new").into(),
        };
        reply
    });
    let client = origin.cached();
    get(&client).await;
    pass(2).await;
    let write = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ask(&client, "PUT", URI, &[]).await;
    };
    tokio::join!(get(&client), write);
    assert_eq!(get(&client).await.text(), "new");
}
