//! Rules that are easily missed: what may be stored at all, what a window counts from, who gets what a
//! response withholds, and what is said of an answer that stood in for another.

mod support;

use buttress_cache::{CacheLayer, CacheResult, MemoryStore};
use buttress_testkit::Script;
use http_body_util::BodyExt;
use support::{Origin, Reply, get, get_with, ok, pass, request, respond, respond_with, send};

const TAG: (&str, &str) = ("etag", "\"a\"");

/// RFC 9111 section 3: a validator says nothing of storing, nor does how stale a response may be.
#[tokio::test(start_paused = true)]
async fn a_status_of_its_own_is_stored_only_if_the_response_says_so() {
    for status in [201, 202, 302, 303, 307, 400, 401, 403, 422, 500, 503, 299, 499, 599] {
        for (fields, stored) in [
            (&[TAG][..], false),
            (&[("cache-control", "stale-while-revalidate=60"), TAG], false),
            (&[("cache-control", "no-cache"), TAG], false),
            (&[("cache-control", "public"), TAG], true),
            (&[("cache-control", "max-age=0"), TAG], true),
            (&[("expires", "0"), TAG], true),
            (&[("cdn-cache-control", "x"), ("expires", "0"), TAG], false),
        ] {
            let fields = fields.to_vec();
            let origin = Origin::new(move |_, number| match number {
                0 => respond(status, &fields),
                _ => ok(&[], "other"),
            });
            let client = origin.cached();
            get(&client).await;
            let stale = get_with(&client, &[("cache-control", "max-stale")]).await;
            assert_eq!(stale.status == status, stored, "{status}");
        }
    }
}

/// RFC 6585 sections 3 to 6.
#[tokio::test(start_paused = true)]
async fn what_no_cache_may_store_is_not_stored_whatever_it_says() {
    for status in [428, 429, 431, 511] {
        let origin = Origin::new(move |_, _| respond(status, &[("cache-control", "max-age=60")]));
        let client = origin.cached();
        for _ in 0..2 {
            assert_eq!(get(&client).await.status, status);
        }
        assert_eq!(origin.calls(), 2, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_private_cache_stores_what_is_private_whatever_its_status() {
    let fields = [("cache-control", "private"), TAG];
    let origin = Origin::new(move |_, _| respond(403, &fields));
    let client = origin.behind(&CacheLayer::private(MemoryStore::new(1 << 20).unwrap()));
    get(&client).await;
    let stale = get_with(&client, &[("cache-control", "max-stale")]).await;
    assert_eq!(stale.result, Some(CacheResult::Stale));
}

#[tokio::test(start_paused = true)]
async fn an_error_does_not_push_out_what_can_still_be_confirmed() {
    let origin = Origin::new(|parts, number| match number {
        0 => ok(&[("cache-control", "max-age=1"), TAG], "body"),
        1 => respond(503, &[("etag", "\"error\"")]),
        _ => {
            assert_eq!(parts.headers["if-none-match"], "\"a\"");
            respond(304, &[TAG])
        }
    });
    let client = origin.cached();
    get(&client).await;
    pass(2).await;
    assert_eq!(get(&client).await.status, 503);
    assert_eq!(get(&client).await.text(), "body");
}

/// RFC 9111 section 4.2.1: `Expires` less `Date` may be less than nothing.
#[tokio::test(start_paused = true)]
async fn what_expired_before_it_was_sent_has_been_stale_since() {
    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 2095 08:49:37 GMT");
    const EARLIER: (&str, &str) = ("expires", "Sun, 06 Nov 2095 08:47:57 GMT");
    for (control, request, stale) in [
        ("", "max-stale=99", false),
        ("", "max-stale=100", true),
        ("stale-while-revalidate=99", "", false),
        ("stale-while-revalidate=101", "", true),
        ("stale-if-error=99", "", false),
        ("stale-if-error=100", "", true),
    ] {
        let origin = Origin::new(move |_, number| match number {
            0 => ok(&[DATE, EARLIER, TAG, ("cache-control", control)], "old"),
            _ => respond(503, &[]),
        });
        let client = origin.cached();
        get(&client).await;
        let got = get_with(&client, &[("cache-control", request)]).await;
        assert_eq!(got.text() == "old", stale, "{control} {request}");
        if stale {
            assert!(got.field("cache-status").is_some_and(|said| said.contains("ttl=-100")));
        }
    }
}

/// RFC 9111 section 5.2.2.4.
#[tokio::test(start_paused = true)]
async fn whoever_asked_for_the_confirmation_has_what_it_withholds_from_others() {
    let origin = Origin::new(|_, number| match number {
        0 => ok(&[("cache-control", "max-age=1, no-cache=\"x\""), TAG, ("x", "1")], "body"),
        _ => respond(304, &[("cache-control", "max-age=60, no-cache=\"x\""), TAG, ("x", "2")]),
    });
    let client = origin.cached();
    assert_eq!(get(&client).await.field("x"), Some("1"));
    pass(2).await;
    let confirmed = get(&client).await;
    assert_eq!((confirmed.text(), confirmed.field("x")), ("body", Some("2")));
    let hit = get(&client).await;
    assert_eq!((hit.result, hit.field("x")), (Some(CacheResult::Hit), None));
}

/// RFC 9211 section 2.1: what was asked for is no hit, whatever is served.
#[tokio::test(start_paused = true)]
async fn an_answer_that_stands_in_says_that_the_origin_was_asked() {
    for (down, said) in [
        (true, "buttress; fwd=stale; ttl=-8"),
        (false, "buttress; fwd=stale; fwd-status=503; ttl=-8"),
    ] {
        let origin = Origin::new(move |_, number| -> Reply {
            match number {
                0 => {
                    let fields = [("cache-control", "max-age=2, stale-if-error=60")];
                    let other = ("cache-status", "other; hit");
                    ok(&[fields[0], other], "body").into()
                }
                _ if down => Reply::failure(),
                _ => respond(503, &[]).into(),
            }
        });
        let client = origin.cached();
        get(&client).await;
        pass(10).await;
        let got = get(&client).await;
        assert_eq!(got.result, Some(CacheResult::Stale));
        let lines: Vec<_> = got.headers.get_all("cache-status").iter().collect();
        assert_eq!(lines, ["other; hit", said]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_its_last_byte_is_stored_before_that_is_read() {
    let origin = Origin::new(|_, number| {
        let fields = [("cache-control", "max-age=60"), ("content-length", "4")];
        let body = Script::new().data("01").data(format!("2{number}")).hide_end();
        respond_with(200, &fields, body)
    });
    let client = origin.cached();
    let mut body = send(&client, request("GET", support::URI, &[])).await.unwrap().into_body();
    let mut read = 0;
    while read < 4 {
        read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    // Nobody has asked for the end.
    assert_eq!(get(&client).await.result, Some(CacheResult::Hit));
    drop(body);
}

/// RFC 9111 section 4: of several responses that match, the one with the newest `Date`.
#[tokio::test(start_paused = true)]
async fn of_several_that_answer_a_request_the_newest_does() {
    let dates = ["Sun, 06 Nov 2095 08:49:39 GMT", "Sun, 06 Nov 2095 08:49:37 GMT"];
    let origin = Origin::new(move |_, number| {
        let vary = if number == 0 { "foo" } else { "bar" };
        let fields = [("cache-control", "max-age=60"), ("vary", vary), ("date", dates[number])];
        ok(&fields, vary)
    });
    let client = origin.cached();
    get_with(&client, &[("foo", "1")]).await;
    get_with(&client, &[("foo", "2"), ("bar", "1")]).await;
    let both = get_with(&client, &[("foo", "1"), ("bar", "1")]).await;
    assert_eq!((both.text(), both.result), ("foo", Some(CacheResult::Hit)));
}

/// RFC 9110 section 15.3.7: who sends `If-Range` has the other fields.
#[tokio::test(start_paused = true)]
async fn a_part_for_who_has_another_part_repeats_nothing() {
    let origin = Origin::new(|_, _| {
        let fields = [
            ("cache-control", "max-age=60"),
            TAG,
            ("content-type", "text/plain"),
            ("content-language", "en"),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("vary", "foo"),
        ];
        ok(&fields, "0123456789")
    });
    let client = origin.cached();
    get(&client).await;
    let part = get_with(&client, &[("range", "bytes=2-3"), ("if-range", "\"a\"")]).await;
    assert_eq!((part.status, part.text()), (206, "23"));
    for name in ["content-type", "content-language", "last-modified"] {
        assert_eq!(part.field(name), None, "{name}");
    }
    for name in ["cache-control", "etag", "vary", "date", "content-range"] {
        assert!(part.field(name).is_some(), "{name}");
    }
    let part = get_with(&client, &[("range", "bytes=2-3")]).await;
    assert_eq!(part.field("content-type"), Some("text/plain"));
}

/// RFC 9111 section 5.2.1.7.
#[tokio::test(start_paused = true)]
async fn whoever_wants_only_what_is_stored_is_never_sent_on() {
    let origin = Origin::new(|_, _| ok(&[("cache-control", "max-age=60"), TAG], "body"));
    let client = origin.cached();
    get(&client).await;
    for field in [("if-match", "\"b\""), ("content-length", "3"), ("host", "a b")] {
        let got = get_with(&client, &[("cache-control", "only-if-cached"), field]).await;
        assert_eq!(got.status, 504, "{field:?}");
    }
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_one_users_does_not_part_the_others() {
    let origin = Origin::new(|_, _| {
        let reply = Reply::from(ok(&[("cache-control", "max-age=60")], "body"));
        reply.after(std::time::Duration::from_secs(1))
    });
    let client = origin.cached();
    get_with(&client, &[("authorization", "Basic eA==")]).await;
    futures_util::future::join_all((0..20).map(|_| get(&client))).await;
    assert_eq!(origin.calls(), 2);
}

/// RFC 9110 section 9.3.3, where the origin knows itself by another name than its clients do.
#[tokio::test(start_paused = true)]
async fn a_post_may_name_its_target_as_the_origin_does() {
    for (named, kept) in [("http://inside.test:81/x", true), ("http://other.test/x", false)] {
        let origin = Origin::new(move |_, _| {
            ok(&[("cache-control", "max-age=60"), ("content-location", named)], "body")
        });
        let alias = http::uri::Authority::from_static("inside.test:81");
        let client = origin.behind(&support::layer().alias(alias));
        support::ask(&client, "POST", support::URI, &[("host", "a.example")]).await;
        assert_eq!(get(&client).await.result == Some(CacheResult::Hit), kept, "{named}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_one_user_or_moment_ends_nothing() {
    for (method, status, fields) in [
        ("GET", 401, ("authorization", "Basic eA==")),
        ("GET", 416, ("range", "bytes=99-")),
        ("GET", 429, ("x", "1")),
        ("HEAD", 401, ("authorization", "Basic eA==")),
        ("HEAD", 429, ("x", "1")),
    ] {
        let origin = Origin::new(move |_, number| match number {
            0 => ok(&[("cache-control", "max-age=60"), TAG], "body"),
            _ => respond(status, &[]),
        });
        let client = origin.cached();
        get(&client).await;
        let reload = [("cache-control", "no-cache"), fields];
        let got = support::ask(&client, method, support::URI, &reload).await;
        assert_eq!(got.status, status);
        assert_eq!(get(&client).await.result, Some(CacheResult::Hit), "{method} {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_for_an_authorised_user_leaves_what_was_stored_for_all() {
    let origin = Origin::new(|_, number| match number {
        0 => ok(&[("cache-control", "max-age=1"), TAG], "body"),
        _ => respond(304, &[TAG, ("cache-control", "max-age=60")]),
    });
    let client = origin.cached();
    get(&client).await;
    pass(2).await;
    let mine = [("authorization", "Basic eA==")];
    assert_eq!(get_with(&client, &mine).await.text(), "body");
    assert_eq!(get(&client).await.text(), "body");
    assert_eq!(origin.seen(2)["if-none-match"], "\"a\"");
    assert_eq!(get(&client).await.result, Some(CacheResult::Hit));
}

/// RFC 9110 section 6.5: trailers go to who reads the message as it comes, and are not stored.
#[tokio::test(start_paused = true)]
async fn trailers_are_for_those_who_read_the_answer_as_it_comes() {
    let origin = Origin::new(|_, _| {
        let trailers = http::HeaderMap::from_iter([(
            http::HeaderName::from_static("x-sum"),
            http::HeaderValue::from_static("1"),
        )]);
        let body = Script::new().data("body").trailers(trailers);
        respond_with(200, &[("cache-control", "max-age=60"), ("trailer", "x-sum")], body)
    });
    let client = origin.cached();
    for (result, trailers) in [(CacheResult::Miss, true), (CacheResult::Hit, false)] {
        let response = send(&client, request("GET", support::URI, &[])).await.unwrap();
        let outcome = response.extensions().get::<buttress_cache::CacheOutcome>().unwrap();
        assert_eq!(outcome.result, result);
        let read = response.into_body().collect().await.unwrap();
        assert_eq!(read.trailers().is_some_and(|fields| fields["x-sum"] == "1"), trailers);
        assert_eq!(read.to_bytes(), "body");
    }
    assert_eq!(origin.calls(), 1);
}
