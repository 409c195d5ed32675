//! Validation: of what is stored, and of what clients have (RFC 9111 section 4.3).

mod support;

use buttress_cache::CacheResult;
use support::{Origin, ask, get, get_with, ok, pass, respond};

const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

#[tokio::test(start_paused = true)]
async fn a_stale_response_is_revalidated_with_its_validators() {
    let origin = Origin::new(|_, number| match number {
        0 => ok(
            &[
                ("cache-control", "max-age=1"),
                ("etag", "\"a\""),
                ("last-modified", OLD),
                ("x", "1"),
            ],
            "body",
        ),
        _ => respond(
            304,
            &[("cache-control", "max-age=60"), ("etag", "\"a\""), ("x", "2"), ("y", "3")],
        ),
    });
    let client = origin.cached();
    get(&client).await;
    pass(2).await;
    let got = get_with(&client, &[("if-none-match", "\"mine\"")]).await;
    assert_eq!((got.status, got.text()), (200, "body"));
    assert_eq!(got.result, Some(CacheResult::Revalidated));
    assert_eq!((got.field("x"), got.field("y")), (Some("2"), Some("3")));
    let asked = origin.seen(1);
    assert_eq!(asked["if-none-match"], "\"a\", \"mine\"");
    assert_eq!(asked["if-modified-since"], OLD);
    pass(50).await;
    let hit = get(&client).await;
    assert_eq!(
        (hit.result, hit.field("y"), hit.field("age")),
        (Some(CacheResult::Hit), Some("3"), Some("50"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_304_updates_all_but_what_describes_the_stored_bytes() {
    let names = [
        "content-foo",
        "content-location",
        "content-md5",
        "content-security-policy",
        "content-type",
        "clear-site-data",
        "set-cookie",
        "x-frame-options",
        "x-test",
    ];
    let kept = ["content-encoding", "content-range"];
    let origin = Origin::new(move |_, number| {
        let value = if number == 0 { "old" } else { "new" };
        let mut fields =
            vec![("etag", "\"a\""), ("cache-control", "max-age=1"), ("connection", "x-hop")];
        fields.extend(names.iter().chain(&kept).chain(&["x-hop"]).map(|name| (*name, value)));
        fields.push(("content-length", if number == 0 { "4" } else { "7" }));
        if number == 0 { ok(&fields, "body") } else { respond(304, &fields) }
    });
    let client = origin.cached();
    get(&client).await;
    pass(2).await;
    get(&client).await;
    let got = get(&client).await;
    assert_eq!((origin.calls(), got.text()), (2, "body"));
    for name in names {
        assert_eq!(got.field(name), Some("new"), "{name}");
    }
    for name in kept {
        assert_eq!(got.field(name), Some("old"), "{name}");
    }
    assert_eq!((got.field("content-length"), got.field("x-hop")), (Some("4"), None));
}

#[tokio::test(start_paused = true)]
async fn a_304_without_validators_confirms_what_was_asked_about() {
    let origin = Origin::new(|_, number| match number {
        0 => ok(&[("cache-control", "max-age=1"), ("etag", "W/\"a\"")], "body"),
        _ => respond(304, &[]),
    });
    let client = origin.cached();
    get(&client).await;
    pass(2).await;
    assert_eq!(get(&client).await.text(), "body");
    assert_eq!(get(&client).await.result, Some(CacheResult::Hit), "max-age=1 begins anew");
}

#[tokio::test(start_paused = true)]
async fn a_new_response_takes_the_place_of_the_stale_one() {
    let origin = Origin::new(|_, number| {
        ok(&[("cache-control", "max-age=1"), ("etag", "\"a\"")], &number.to_string())
    });
    let client = origin.cached();
    get(&client).await;
    pass(2).await;
    assert_eq!(get(&client).await.text(), "1");
    assert_eq!(get(&client).await.text(), "1");
}

#[tokio::test(start_paused = true)]
async fn no_cache_is_revalidated_each_time() {
    let origin = Origin::new(|_, number| match number {
        0 => ok(&[("cache-control", "no-cache, max-age=60"), ("etag", "\"a\"")], "body"),
        _ => respond(304, &[]),
    });
    let client = origin.cached();
    for _ in 0..3 {
        assert_eq!(get(&client).await.text(), "body");
    }
    assert_eq!(origin.calls(), 3);
    assert_eq!(origin.seen(2)["if-none-match"], "\"a\"");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_it_is_told_so() {
    let origin = Origin::new(|_, _| {
        ok(
            &[
                ("cache-control", "max-age=60"),
                ("etag", "\"a\""),
                ("last-modified", OLD),
                ("content-type", "text/plain"),
                ("vary", "foo"),
                ("content-location", "/x"),
            ],
            "body",
        )
    });
    let client = origin.cached();
    get(&client).await;
    for (name, value, status) in [
        ("if-none-match", "\"a\"", 304),
        ("if-none-match", "W/\"a\"", 304),
        ("if-none-match", "\"x\", \"a\"", 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"x\"", 200),
        ("if-none-match", "a", 200),
        ("if-modified-since", OLD, 304),
        ("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT", 304),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ("if-modified-since", "nonsense", 200),
    ] {
        let got = get_with(&client, &[(name, value)]).await;
        assert_eq!(got.status, status, "{name}: {value}");
        if status == 304 {
            assert!(got.body.is_empty());
            assert_eq!(got.field("content-type"), None);
            for name in ["cache-control", "etag", "vary", "content-location", "date"] {
                assert!(got.field(name).is_some(), "{name}");
            }
        }
    }
    let both = [("if-none-match", "\"x\""), ("if-modified-since", OLD)];
    assert_eq!(get_with(&client, &both).await.status, 200, "the tag goes first");
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_last_modified_the_date_counts() {
    let origin = Origin::new(|_, _| {
        ok(
            &[("cache-control", "max-age=600000000"), ("date", "Fri, 06 Nov 2099 08:49:37 GMT")],
            "body",
        )
    });
    let client = origin.cached();
    get(&client).await;
    for (since, status) in
        [("Fri, 06 Nov 2099 08:49:37 GMT", 304), ("Fri, 06 Nov 2099 08:49:36 GMT", 200)]
    {
        assert_eq!(get_with(&client, &[("if-modified-since", since)]).await.status, status);
    }
}

#[tokio::test(start_paused = true)]
async fn the_clients_validators_reach_the_origin_when_nothing_is_stored() {
    let origin = Origin::new(|parts, _| match parts.headers.get("if-none-match") {
        Some(_) => respond(304, &[("etag", "\"a\"")]),
        None => ok(&[("cache-control", "max-age=60"), ("etag", "\"a\"")], "body"),
    });
    let client = origin.cached();
    assert_eq!(get_with(&client, &[("if-none-match", "\"a\"")]).await.status, 304);
    assert_eq!(get(&client).await.text(), "body");
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn head_is_answered_from_get_and_brings_it_up_to_date() {
    let origin = Origin::new(|parts, _| {
        let fields =
            [("cache-control", "max-age=10"), ("etag", "\"a\""), ("x", parts.method.as_str())];
        if parts.method == "HEAD" { respond(200, &fields) } else { ok(&fields, "body") }
    });
    let client = origin.cached();
    get(&client).await;
    let head = ask(&client, "HEAD", support::URI, &[]).await;
    assert_eq!((head.result, head.field("content-length")), (Some(CacheResult::Hit), Some("4")));
    assert!(head.body.is_empty());
    pass(11).await;
    ask(&client, "HEAD", support::URI, &[]).await;
    let hit = get(&client).await;
    assert_eq!((hit.text(), hit.field("x"), hit.field("age")), ("body", Some("HEAD"), Some("0")));
    assert_eq!(origin.methods(), ["GET", "HEAD"]);
}

#[tokio::test(start_paused = true)]
async fn head_that_differs_makes_get_stale() {
    for (status, etag) in [(200, "\"b\""), (410, "\"a\"")] {
        let origin = Origin::new(move |parts, _| {
            let fields = [("cache-control", "max-age=10"), ("etag", "\"a\"")];
            if parts.method == "HEAD" {
                respond(status, &[("cache-control", "max-age=10"), ("etag", etag)])
            } else {
                ok(&fields, "body")
            }
        });
        let client = origin.cached();
        get(&client).await;
        ask(&client, "HEAD", support::URI, &[("cache-control", "no-cache")]).await;
        get(&client).await;
        assert_eq!(origin.methods(), ["GET", "HEAD", "GET"]);
    }
}

#[tokio::test(start_paused = true)]
async fn preconditions_of_the_origin_are_left_to_it() {
    let origin =
        Origin::new(|_, _| ok(&[("cache-control", "max-age=60"), ("etag", "\"a\"")], "body"));
    let client = origin.cached();
    get(&client).await;
    get_with(&client, &[("if-match", "\"b\"")]).await;
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_304_that_changes_what_selects_the_response_ends_its_storage() {
    let origin = Origin::new(|_, number| match number {
        0 => ok(&[("cache-control", "max-age=1"), ("etag", "\"a\"")], "body"),
        1 => respond(304, &[("cache-control", "max-age=60"), ("vary", "foo")]),
        _ => ok(&[("cache-control", "max-age=60"), ("vary", "foo")], "other"),
    });
    let client = origin.cached();
    get(&client).await;
    pass(2).await;
    assert_eq!(get_with(&client, &[("foo", "1")]).await.text(), "body");
    assert_eq!(get_with(&client, &[("foo", "2")]).await.text(), "other");
}

#[tokio::test(start_paused = true)]
async fn a_length_that_a_transfer_coding_overrides_is_not_believed() {
    let origin = Origin::new(|_, _| {
        let fields = [("transfer-encoding", "chunked"), ("content-length", "99")];
        ok(&[fields[0], fields[1], ("cache-control", "max-age=60")], "body")
    });
    let client = origin.cached();
    assert_eq!(get(&client).await.text(), "body");
    let hit = get(&client).await;
    assert_eq!((hit.text(), hit.field("content-length")), ("body", None));
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_one_user_does_not_push_out_what_is_for_all() {
    for (method, tag) in [("GET", "\"a\""), ("GET", "\"b\""), ("HEAD", "\"a\""), ("HEAD", "\"b\"")]
    {
        let origin = Origin::new(move |parts, _| {
            let mine = parts.headers.contains_key("authorization");
            let tag = ("etag", if mine { tag } else { "\"a\"" });
            let fields = [("cache-control", "max-age=60"), tag, ("content-length", "4")];
            if parts.method == "HEAD" { respond(200, &fields) } else { ok(&fields, "body") }
        });
        let client = origin.cached();
        get(&client).await;
        let mine = [("cache-control", "no-cache"), ("authorization", "x")];
        assert_eq!(ask(&client, method, support::URI, &mine).await.status, 200);
        assert_eq!(get(&client).await.result, Some(CacheResult::Hit), "{method} {tag}");
        assert_eq!(origin.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_kept_pushes_out_only_what_it_differs_from() {
    for (method, tag, left) in [
        ("GET", "\"a\"", true),
        ("GET", "\"b\"", false),
        ("HEAD", "\"a\"", true),
        ("HEAD", "\"b\"", false),
    ] {
        let origin = Origin::new(move |parts, number| {
            let fields = [("cache-control", "max-age=60"), ("etag", "\"a\"")];
            let cookie = [fields[0], ("etag", tag), ("set-cookie", "a=1")];
            let fields = if number == 1 { &cookie[..] } else { &fields };
            if parts.method == "HEAD" { respond(200, fields) } else { ok(fields, "body") }
        });
        let client = origin.behind(&support::layer().profile(buttress_cache::Profile::safe()));
        get(&client).await;
        ask(&client, method, support::URI, &[("cache-control", "no-cache")]).await;
        let hit = get(&client).await.result == Some(CacheResult::Hit);
        assert_eq!(hit, left, "{method} {tag}");
    }
}
