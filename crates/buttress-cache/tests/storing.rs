//! What is stored, of which response, and for whom (RFC 9111 sections 3 and 4.1).

mod support;

use buttress_cache::{CacheDirective, CacheLayer, CacheResult, MemoryStore, Profile, Tag};
use buttress_testkit::Script;
use http::HeaderValue;
use support::{
    Origin, ask, fresh, get, get_with, layer, ok, pass, read, request, respond, respond_with, send,
};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

async fn is_stored(request: &[(&str, &str)], response: &'static [(&str, &str)]) -> bool {
    let origin = Origin::new(move |_, _| ok(response, "a"));
    let client = origin.cached();
    get_with(&client, request).await;
    get_with(&client, request).await;
    origin.calls() == 1
}

#[tokio::test(start_paused = true)]
async fn what_forbids_storing_does_so_in_any_case_and_place() {
    for fields in [
        &[("cache-control", "max-age=60, no-store")][..],
        &[("cache-control", "PRIVATE, max-age=60")],
        &[("cache-control", "max-age=60, Private")],
        &[("cache-control", "No-Store, max-age=60")],
        &[("cache-control", "max-age=60"), ("cache-control", "no-store")],
        &[("cache-control", "max-age=60"), ("cache-control", "private=\"\"")],
        &[("cache-control", "max-age=60, x=\"open, y")],
        &[("vary", "*"), FRESH],
        &[("vary", "foo"), ("vary", "*"), FRESH],
        &[("cache-control", "max-age=60, must-understand, no-store, private")],
    ] {
        assert!(!is_stored(&[], fields).await, "{fields:?}");
    }
    assert!(is_stored(&[], &[("cache-control", "max-age=60, must-understand, no-store")]).await);
    assert!(!is_stored(&[("cache-control", "no-store")], &[FRESH]).await);
}

#[tokio::test(start_paused = true)]
async fn private_beside_bytes_that_are_no_text_is_private() {
    let origin = Origin::new(|_, _| {
        let mut response = fresh("a");
        let value = HeaderValue::from_bytes(b"x=\xff\xfe, private, max-age=60").unwrap();
        response.headers_mut().insert("cache-control", value);
        response
    });
    let client = origin.cached();
    get(&client).await;
    get(&client).await;
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn must_understand_needs_a_status_that_is_understood() {
    let control = "max-age=60, must-understand, no-store";
    let origin = Origin::new(move |_, _| respond(599, &[("cache-control", control)]));
    let client = origin.cached();
    get(&client).await;
    get(&client).await;
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_authorised_response_is_shared_only_if_it_says_so() {
    let mine = &[("authorization", "Basic eA==")];
    assert!(!is_stored(mine, &[FRESH]).await);
    for control in ["max-age=60, public", "max-age=60, must-revalidate", "s-maxage=60"] {
        assert!(is_stored(mine, vec![("cache-control", control)].leak()).await, "{control}");
    }
    assert!(!is_stored(mine, &[("cache-control", "max-age=60, s-maxage=x")]).await);
}

#[tokio::test(start_paused = true)]
async fn a_private_cache_stores_what_is_its_users() {
    let origin =
        Origin::new(|_, _| ok(&[("cache-control", "private, max-age=60, s-maxage=0")], "a"));
    let layer = CacheLayer::private(MemoryStore::new(1 << 20).unwrap());
    let client = origin.behind(&layer);
    for _ in 0..2 {
        get_with(&client, &[("authorization", "Basic eA==")]).await;
    }
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn cookies_are_reused_by_the_rfc_and_not_by_the_safe_profile() {
    let origin =
        Origin::new(|_, _| ok(&[FRESH, ("set-cookie", "a=1"), ("set-cookie", "b=2")], "a"));
    let client = origin.cached();
    get(&client).await;
    let hit = get(&client).await;
    assert_eq!(hit.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(origin.calls(), 1);

    let safe = origin.behind(&layer().profile(Profile::safe()));
    get(&safe).await;
    get(&safe).await;
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_hit_has_the_fields_of_the_miss_line_by_line() {
    let origin = Origin::new(|_, _| {
        let fields = [
            FRESH,
            ("link", "</a>; rel=next"),
            ("link", "</b>; rel=prev"),
            ("x-empty", ""),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("set-cookie", "c=3"),
            ("date", "Fri, 06 Nov 2099 08:49:37 GMT"),
        ];
        let mut response = ok(&fields, "a");
        let obs = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        response.headers_mut().insert("x-obs-text", obs);
        response
    });
    let client = origin.cached();
    let (miss, hit) = (get(&client).await, get(&client).await);
    assert_eq!(hit.result, Some(CacheResult::Hit));
    for name in miss.headers.keys().filter(|name| *name != "cache-status") {
        let lines =
            |got: &support::Got| got.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        assert_eq!(lines(&miss), lines(&hit), "{name}");
    }
    assert_eq!(hit.headers.keys_len(), miss.headers.keys_len() + 1, "and Age");
}

#[tokio::test(start_paused = true)]
async fn fields_of_the_connection_and_those_withheld_are_not_stored() {
    let origin = Origin::new(|_, _| {
        ok(
            &[
                ("cache-control", "max-age=60, no-cache=\"a, B\", private=c"),
                ("connection", "x-hop, close"),
                ("x-hop", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-authenticate", "Basic"),
                ("proxy-authentication-info", "x"),
                ("proxy-connection", "close"),
                ("te", "x"),
                ("upgrade", "x"),
                ("a", "1"),
                ("b", "1"),
                ("c", "1"),
                ("d", "1"),
            ],
            "a",
        )
    });
    let client = origin.cached();
    get(&client).await;
    let hit = get(&client).await;
    assert_eq!(hit.result, Some(CacheResult::Hit));
    for gone in [
        "connection",
        "x-hop",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-connection",
        "te",
        "upgrade",
        "a",
        "b",
        "c",
    ] {
        assert_eq!(hit.field(gone), None, "{gone}");
    }
    assert_eq!(hit.field("d"), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn each_variant_goes_to_those_who_asked_for_it() {
    let origin = Origin::new(|parts, _| {
        let language = parts.headers.get("accept-language").map(|value| value.to_str().unwrap());
        ok(&[FRESH, ("vary", "Accept-Language, Foo")], language.unwrap_or("none"))
    });
    let client = origin.cached();
    for (language, calls) in [("de", 1), ("fr", 2), ("de", 2), ("fr", 2), ("DE", 2)] {
        let got = get_with(&client, &[("accept-language", language)]).await;
        assert_eq!(got.text(), language.to_lowercase());
        assert_eq!(origin.calls(), calls, "{language}");
    }
    assert_eq!(get(&client).await.text(), "none");
    assert_eq!(get_with(&client, &[("accept-language", "")]).await.text(), "");
    assert_eq!(get(&client).await.text(), "none");
    assert_eq!(origin.calls(), 4);
    get_with(&client, &[("accept-language", "de"), ("foo", "1")]).await;
    assert_eq!(origin.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_variants_take_the_room_of_a_few() {
    let origin = Origin::new(|_, _| ok(&[FRESH, ("vary", "foo")], "a"));
    let layer = layer();
    let client = origin.behind(&layer);
    for number in 0..10_000 {
        get_with(&client, &[("foo", &number.to_string())]).await;
    }
    assert!(layer.handle().statistics().usage.slots <= 33, "{:?}", layer.handle().statistics());
}

#[tokio::test(start_paused = true)]
async fn a_vary_of_64_kib_is_not_stored_and_ten_thousand_lines_are_read() {
    let origin = Origin::new(|_, number| {
        let long = "x,".repeat(32 * 1024);
        let mut response = if number < 2 { ok(&[FRESH, ("vary", &long)], "a") } else { fresh("a") };
        if number >= 2 {
            for _ in 0..10_000 {
                response
                    .headers_mut()
                    .append("cache-control", HeaderValue::from_static("max-age=1"));
            }
        }
        response
    });
    let client = origin.cached();
    get(&client).await;
    get(&client).await;
    assert_eq!(origin.calls(), 2);
    get(&client).await;
    assert_eq!(get(&client).await.result, Some(CacheResult::Hit));
    pass(1).await;
    assert_eq!(get(&client).await.result, Some(CacheResult::Miss));
}

#[tokio::test(start_paused = true)]
async fn hosts_are_told_apart_and_forwarding_headers_are_not_reflected() {
    let origin = Origin::new(|parts, _| {
        let host = parts.headers.get("x-forwarded-host").or_else(|| parts.headers.get("host"));
        ok(&[FRESH], host.unwrap().to_str().unwrap())
    });
    let client = origin.cached();
    for host in ["evil.example", "good.example", "evil.example"] {
        let got = ask(&client, "GET", "/", &[("host", host)]).await;
        assert_eq!(got.text(), host);
    }
    assert_eq!(origin.calls(), 2);
    let poison = [("host", "new.example"), ("x-forwarded-host", "evil.example")];
    assert_eq!(ask(&client, "GET", "/", &poison).await.text(), "evil.example");
    assert_eq!(ask(&client, "GET", "/", &[("host", "new.example")]).await.text(), "new.example");
    let mismatch = [("host", "other.example")];
    let got = ask(&client, "GET", "http://good.example/", &mismatch).await;
    assert_eq!(got.result, Some(CacheResult::Bypass));
}

#[tokio::test(start_paused = true)]
async fn directives_of_the_program_go_before_those_of_the_response() {
    let origin = Origin::new(|_, number| ok(&[], &number.to_string()));
    let layer = layer();
    let client = origin.behind(&layer);
    let with = |directive: CacheDirective| {
        let mut request = request("GET", support::URI, &[]);
        request.extensions_mut().insert(directive);
        let client = client.clone();
        async move { read(send(&client, request).await.unwrap()).await.unwrap() }
    };
    let lasting = CacheDirective::new().ttl(std::time::Duration::from_secs(60)).tag("t");
    assert_eq!(with(lasting.clone()).await.text(), "0");
    assert_eq!(with(lasting.clone()).await.text(), "0");
    assert_eq!(get(&client).await.text(), "0");
    assert_eq!(with(CacheDirective::bypass()).await.text(), "1");
    assert_eq!(with(lasting.clone().scope("b")).await.text(), "2");
    assert_eq!(with(CacheDirective::only_if_cached().scope("c")).await.status, 504);
    assert_eq!(with(CacheDirective::only_if_cached()).await.text(), "0");
    let refresh = CacheDirective::refresh().ttl(std::time::Duration::from_secs(60));
    assert_eq!(with(refresh).await.text(), "3");
    assert_eq!(get(&client).await.text(), "3");
    let handle = layer.handle();
    handle.purge_tag(&Tag::from("t"), buttress_cache::Removal::Hard).await.unwrap();
    assert_eq!(get(&client).await.text(), "3", "the refreshed one has no tag");
    handle.purge_uri(&support::URI.parse().unwrap(), buttress_cache::Removal::Hard).await.unwrap();
    assert_eq!(get(&client).await.text(), "4");
}

#[tokio::test(start_paused = true)]
async fn other_methods_are_passed_on_and_not_stored() {
    let origin = Origin::new(|_, _| fresh("a"));
    let client = origin.cached();
    for method in ["OPTIONS", "TRACE", "PUT", "M-SEARCH", "PROPFIND"] {
        for _ in 0..2 {
            ask(&client, method, support::URI, &[]).await;
        }
    }
    assert_eq!(origin.calls(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_says_so_is_what_get_gets() {
    for (location, hits) in [("/x", true), ("/y", false)] {
        let origin = Origin::new(move |_, number| {
            let body = number.to_string();
            ok(&[FRESH, ("content-location", location)], &body)
        });
        let client = origin.cached();
        ask(&client, "POST", support::URI, &[]).await;
        assert_eq!(get(&client).await.text() == "0", hits);
        ask(&client, "POST", support::URI, &[]).await;
        assert_ne!(get(&client).await.text(), "0", "a second POST replaces it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_too_large_is_not_stored() {
    for fields in [&[FRESH][..], &[FRESH, ("content-length", "100")]] {
        let fields = fields.to_vec();
        let origin = Origin::new(move |_, _| {
            respond_with(200, &fields, Script::chunks(vec!["0123456789"; 10], 1))
        });
        let client = origin.behind(&layer().max_body(99));
        assert_eq!(get(&client).await.body.len(), 100);
        assert_eq!(get(&client).await.body.len(), 100);
        assert_eq!(origin.calls(), 2);
        let client = origin.behind(&layer().max_body(100));
        get(&client).await;
        get(&client).await;
        assert_eq!(origin.calls(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_cannot_be_stored_takes_the_place_of_the_one_that_is() {
    for status in [404, 200] {
        let origin = Origin::new(move |_, number| match number {
            0 => ok(&[("cache-control", "max-age=1"), ("etag", "\"a\"")], "old"),
            1 => respond_with(status, &[("cache-control", "no-store")], Script::new().data("new")),
            _ => ok(&[("cache-control", "no-store")], "newer"),
        });
        let client = origin.cached();
        get(&client).await;
        pass(2).await;
        assert_eq!(get(&client).await.text(), "new");
        assert_eq!(get_with(&client, &[("cache-control", "max-stale")]).await.text(), "newer");
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_request_with_content_is_for_nobody_else() {
    let origin = Origin::new(|_, number| fresh(&number.to_string()));
    let client = origin.cached();
    for fields in [("content-length", "3"), ("transfer-encoding", "chunked")] {
        let got = get_with(&client, &[fields]).await;
        assert_eq!(got.result, Some(CacheResult::Bypass), "{fields:?}");
        assert!(got.field("cache-status").is_some_and(|said| said.ends_with("detail=content")));
    }
    assert_eq!(get(&client).await.text(), "2");
    assert_eq!(get_with(&client, &[("content-length", "0")]).await.text(), "2");
    assert_eq!(get_with(&client, &[("content-length", "3")]).await.text(), "3");
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_the_range_of_a_request_is_not_stored_for_the_uri() {
    let origin = Origin::new(|parts, _| match parts.headers.get("range") {
        Some(_) => respond(416, &[FRESH, ("content-range", "bytes */10")]),
        None => fresh("whole"),
    });
    let client = origin.cached();
    let beyond = [("range", "bytes=50-")];
    assert_eq!(get_with(&client, &beyond).await.status, 416);
    assert_eq!(get(&client).await.text(), "whole");
    let got = get_with(&client, &beyond).await;
    assert_eq!((got.status, got.result), (416, Some(CacheResult::Hit)));
    // A cache in front of this one must not keep it either.
    for name in ["cache-control", "expires", "etag", "last-modified"] {
        assert_eq!(got.field(name), None, "{name}");
    }
    assert!(got.field("date").is_some());
}
