//! Which stored response a 304 speaks of, and what becomes of one that speaks of none (RFC 9111
//! sections 4.3.2 to 4.3.4).

mod support;

use std::time::Duration;

use buttress_cache::CacheResult;
use buttress_testkit::Script;
use futures_util::future::join_all;
use support::{Origin, Reply, get, get_with, layer, ok, pass, respond, respond_with};
use tower::ServiceExt;

const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const SLOW: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_client_that_has_what_the_origin_has_now_is_not_sent_it() {
    let origin = Origin::new(|parts, number| {
        let known = parts.headers.get("if-none-match").map(|known| known.to_str().unwrap());
        match known {
            Some(known) if known.contains("\"new\"") => respond(304, &[("etag", "\"new\"")]),
            _ if number == 0 => ok(&[("cache-control", "max-age=1"), ("etag", "\"old\"")], "old"),
            _ => ok(&[("cache-control", "max-age=60"), ("etag", "\"new\"")], "new"),
        }
    });
    let client = origin.cached();
    get(&client).await;
    pass(2).await;
    let own = [("if-none-match", "\"other\", W/\"new\", \"old\"")];
    let got = get_with(&client, &own).await;
    assert_eq!((got.status, got.field("etag"), got.body.len()), (304, Some("\"new\""), 0));
    assert_eq!(origin.seen(1)["if-none-match"], "\"old\", \"other\", W/\"new\"");
    assert_eq!(get(&client).await.text(), "new", "and what is stored was not taken for it");
    assert_eq!(origin.seen(2)["if-none-match"], "\"old\"");
}

#[tokio::test(start_paused = true)]
async fn a_304_that_does_not_say_whose_tag_it_means_is_asked_again() {
    let origin = Origin::new(|parts, _| match parts.headers.get("if-none-match") {
        Some(_) => respond(304, &[]),
        None => ok(&[("cache-control", "max-age=1"), ("etag", "\"a\"")], "body"),
    });
    let client = origin.cached();
    get(&client).await;
    pass(2).await;
    assert_eq!(get_with(&client, &[("if-none-match", "\"b\"")]).await.text(), "body");
    assert_eq!(origin.calls(), 3);
    pass(2).await;
    let same = get_with(&client, &[("if-none-match", "\"a\"")]).await;
    assert_eq!((same.status, same.result), (304, Some(CacheResult::Revalidated)));
    assert_eq!(origin.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_304_of_something_that_was_modified_since_is_asked_again() {
    for (named, calls) in [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 2),
        ("Sun, 06 Nov 1994 08:49:59 GMT", 2),
        ("Sun, 06 Nov 1994 09:49:37 GMT", 3),
    ] {
        let origin = Origin::new(move |_, number| match number {
            1 => respond(304, &[("last-modified", named), ("cache-control", "max-age=60")]),
            _ => ok(&[("cache-control", "max-age=1"), ("last-modified", OLD)], "body"),
        });
        let client = origin.cached();
        get(&client).await;
        pass(2).await;
        assert_eq!(get(&client).await.text(), "body");
        assert_eq!(origin.calls(), calls, "{named}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_success_can_be_unchanged_and_two_dates_are_none() {
    let origin = Origin::new(|_, _| {
        let fields = [("cache-control", "max-age=60"), ("etag", "\"a\""), ("last-modified", OLD)];
        respond_with(203, &fields, Script::new().data("body"))
    });
    let client = origin.cached();
    assert_eq!(get(&client).await.status, 203);
    assert_eq!(get_with(&client, &[("if-none-match", "\"a\"")]).await.status, 304);
    assert_eq!(get_with(&client, &[("if-modified-since", OLD)]).await.status, 304);
    let twice = [("if-modified-since", OLD), ("if-modified-since", OLD)];
    assert_eq!(get_with(&client, &twice).await.status, 203);
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_304_that_names_another_response_updates_nothing_and_is_asked_again() {
    for (stored, named) in [("\"a\"", "\"b\""), ("W/\"a\"", "\"b\""), ("\"a\"", "W/\"b\"")] {
        let origin = Origin::new(move |parts, number| match number {
            0 => ok(&[("cache-control", "max-age=1"), ("etag", stored), ("x", "1")], "body"),
            1 => respond(304, &[("etag", named), ("x", "2")]),
            _ => {
                assert!(!parts.headers.contains_key("if-none-match"));
                ok(&[("cache-control", "max-age=60"), ("etag", named)], "new")
            }
        });
        let client = origin.cached();
        get(&client).await;
        pass(2).await;
        let got = get_with(&client, &[("if-none-match", "\"mine\"")]).await;
        assert_eq!((got.status, got.text(), got.field("x")), (200, "new", None));
        assert_eq!(get(&client).await.result, Some(CacheResult::Hit));
        assert_eq!(origin.calls(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_with_a_weaker_or_stronger_tag_confirms_and_leaves_the_tag_as_it_is() {
    for (stored, named) in [("W/\"a\"", "\"a\""), ("\"a\"", "W/\"a\"")] {
        let origin = Origin::new(move |_, number| match number {
            0 => ok(&[("cache-control", "max-age=1"), ("etag", stored)], "body"),
            _ => respond(304, &[("etag", named), ("cache-control", "max-age=60")]),
        });
        let client = origin.cached();
        get(&client).await;
        pass(2).await;
        let got = get(&client).await;
        assert_eq!((got.text(), got.field("etag")), ("body", Some(stored)));
        let hit = get(&client).await;
        assert_eq!((hit.result, hit.field("etag")), (Some(CacheResult::Hit), Some(stored)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_coded_body_never_gets_the_tag_of_what_it_was_coded_from() {
    for (tag, coding, date, after) in [
        (Some("W/\"a\""), Some("gzip"), None, Some("W/\"a\"")),
        (None, Some("gzip"), None, None),
        (None, None, None, Some("\"a\"")),
        // It may have been modified twice in that second.
        (None, None, Some(OLD), None),
    ] {
        let origin = Origin::new(move |_, number| {
            let mut fields = vec![("last-modified", OLD)];
            fields.extend(tag.map(|tag| ("etag", tag)));
            fields.extend(coding.map(|coding| ("content-encoding", coding)));
            fields.extend(date.map(|date| ("date", date)));
            match number {
                0 => {
                    fields.push(("cache-control", "max-age=1"));
                    ok(&fields, "body")
                }
                _ => respond(304, &[("etag", "\"a\""), ("cache-control", "max-age=60")]),
            }
        });
        let client = origin.cached();
        get(&client).await;
        pass(2).await;
        get(&client).await;
        let hit = get(&client).await;
        assert_eq!((hit.result, hit.field("etag")), (Some(CacheResult::Hit), after));
    }
}

/// A body that nobody knows how to have again, unless he is told.
struct Once;

#[tokio::test(start_paused = true)]
async fn a_request_is_sent_again_only_if_its_body_can_be_had_again() {
    for known in [true, false] {
        let origin = Origin::new(|_, number| match number {
            0 => ok(&[("cache-control", "max-age=1"), ("etag", "\"a\"")], "body"),
            1 => respond(304, &[("etag", "\"b\"")]),
            _ => ok(&[("cache-control", "max-age=60")], "new"),
        });
        let layer = if known { layer().repeat(|_: &Once| Some(Once)) } else { layer() };
        let client = origin.behind(&layer);
        let once = async || {
            let request = http::Request::get(support::URI).body(Once).unwrap();
            support::read(client.clone().oneshot(request).await.unwrap()).await.unwrap()
        };
        once().await;
        pass(2).await;
        // Else it gets what is stored, and that goes.
        assert_eq!(once().await.text(), if known { "new" } else { "body" });
        assert_eq!(once().await.text(), "new");
        assert_eq!(origin.calls(), 3);
        assert!(!origin.seen(2).contains_key("if-none-match"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_client_has_is_asked_about_only_if_the_request_can_be_sent_again() {
    for known in [true, false] {
        let origin = Origin::new(|parts, number| {
            let known = parts.headers.get("if-none-match").map(|known| known.to_str().unwrap());
            match known {
                // It does not say which it means.
                Some(known) if known.contains("\"new\"") => respond(304, &[]),
                _ if number == 0 => {
                    ok(&[("cache-control", "max-age=1"), ("etag", "\"old\"")], "old")
                }
                _ => ok(&[("cache-control", "max-age=60"), ("etag", "\"new\"")], "new"),
            }
        });
        let layer = if known { layer().repeat(|_: &Once| Some(Once)) } else { layer() };
        let client = origin.behind(&layer);
        let once = async |tag: Option<&str>| {
            let mut request = http::Request::get(support::URI).body(Once).unwrap();
            let tag = tag.map(|tag| tag.parse().unwrap());
            request.headers_mut().extend(tag.map(|tag| (http::header::IF_NONE_MATCH, tag)));
            support::read(client.clone().oneshot(request).await.unwrap()).await.unwrap()
        };
        once(None).await;
        pass(2).await;
        let got = once(Some("\"new\"")).await;
        let sent = if known { "\"old\", \"new\"" } else { "\"old\"" };
        assert_eq!(origin.seen(1)["if-none-match"], sent);
        assert_eq!((got.status, got.text()), (200, "new"));
        let hit = once(None).await;
        assert_eq!((hit.text(), hit.result), ("new", Some(CacheResult::Hit)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_for_one_client_alone_does_not_disperse_those_who_wait() {
    let origin = Origin::new(|parts, number| {
        let known = parts.headers.get("if-none-match").map(|known| known.to_str().unwrap());
        let answer = match known {
            Some(known) if known.contains("\"new\"") => respond(304, &[("etag", "\"new\"")]),
            _ if number == 0 => ok(&[("cache-control", "max-age=1"), ("etag", "\"old\"")], "old"),
            _ => ok(&[("cache-control", "max-age=60"), ("etag", "\"new\"")], "new"),
        };
        Reply::from(answer).after(SLOW)
    });
    let client = origin.cached();
    get(&client).await;
    pass(5).await;
    let first = get_with(&client, &[("if-none-match", "\"new\"")]);
    let (first, all) = tokio::join!(first, join_all((0..8).map(|_| get(&client))));
    assert_eq!(first.status, 304);
    assert!(all.iter().all(|got| got.text() == "new"));
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_who_asked_is_fetched_once_by_the_next() {
    for with in [&[("etag", "\"a\"")][..], &[]] {
        let origin = Origin::new(|parts, _| {
            let mut fields = vec![("cache-control", "max-age=3")];
            fields.extend_from_slice(with);
            let known = parts.headers.contains_key("if-none-match");
            let answer = if known { respond(304, &fields) } else { ok(&fields, "all") };
            Reply::from(answer).after(SLOW)
        });
        let client = origin.cached();
        // With a tag, what is stored is confirmed for one user; without, it is not to be kept of one.
        if !with.is_empty() {
            get(&client).await;
            pass(5).await;
        }
        let before = origin.calls();
        let first = get_with(&client, &[("authorization", "Basic eA==")]);
        let (first, all) = tokio::join!(first, join_all((0..8).map(|_| get(&client))));
        assert!(all.iter().chain([&first]).all(|got| got.text() == "all"));
        assert_eq!(origin.calls() - before, 2, "{with:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn those_for_whom_nothing_can_be_shared_wait_for_two_at_most() {
    let origin =
        Origin::new(|_, _| Reply::from(ok(&[("cache-control", "max-age=60")], "mine")).after(SLOW));
    let client = origin.cached();
    let before = tokio::time::Instant::now();
    let mine = [("authorization", "Basic eA==")];
    let all = join_all((0..8).map(|_| get_with(&client, &mine))).await;
    assert!(all.iter().all(|got| got.text() == "mine"));
    assert_eq!(origin.calls(), 8);
    assert!(before.elapsed() <= 3 * SLOW + Duration::from_millis(10));
}

/// RFC 9211 section 2.2.
#[tokio::test(start_paused = true)]
async fn a_confirmation_says_why_it_was_asked_for() {
    let origin = Origin::new(|parts, _| {
        let fields =
            [("cache-control", "max-age=60"), ("etag", "\"a\""), ("vary", "accept-language")];
        let known = parts.headers.contains_key("if-none-match");
        Reply::from(if known { respond(304, &fields) } else { ok(&fields, "") }).after(SLOW)
    });
    let client = origin.cached();
    let said = async |fields: &[(&str, &str)]| {
        let got = get_with(&client, fields).await;
        got.field("cache-status").unwrap().to_owned()
    };
    let language = |language: &'static str| ("accept-language", language);
    assert_eq!(said(&[language("en")]).await, "buttress; fwd=uri-miss; fwd-status=200; stored");
    let french = [language("fr")];
    let (one, two) = (said(&french), said(&french));
    let (one, two) = tokio::join!(one, two);
    assert_eq!(one, "buttress; fwd=vary-miss; fwd-status=304; ttl=59");
    assert_eq!(two, "buttress; fwd=vary-miss; fwd-status=304; ttl=59; collapsed");
    let again = said(&[language("fr"), ("cache-control", "no-cache")]).await;
    assert_eq!(again, "buttress; fwd=request; fwd-status=304; ttl=59");
    pass(100).await;
    let stale = said(&[language("fr")]).await;
    assert_eq!(stale, "buttress; fwd=stale; fwd-status=304; ttl=59");
    assert_eq!(origin.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_field_that_a_304_withholds_is_no_longer_served() {
    let origin = Origin::new(|_, number| match number {
        0 => ok(&[("cache-control", "max-age=1"), ("etag", "\"a\""), ("x", "1")], "body"),
        _ => respond(304, &[("cache-control", "max-age=60, no-cache=\"x\"")]),
    });
    let client = origin.cached();
    assert_eq!(get(&client).await.field("x"), Some("1"));
    pass(2).await;
    get(&client).await;
    let hit = get(&client).await;
    assert_eq!((hit.result, hit.field("x")), (Some(CacheResult::Hit), None));
}
