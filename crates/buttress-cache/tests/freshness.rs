//! How long a response is fresh, and how old it is (RFC 9111 section 4.2).

mod support;

use std::time::Duration;

use buttress_cache::CacheResult;
use support::{Origin, Reply, ask, fresh, get, get_with, ok, pass, respond};

/// How often the origin is asked in two requests `secs` apart, if it answers with these fields.
async fn calls_after(secs: u64, status: u16, fields: &'static [(&str, &str)]) -> usize {
    let origin = Origin::new(move |_, _| respond(status, fields));
    let client = origin.cached();
    get(&client).await;
    pass(secs).await;
    get(&client).await;
    origin.calls()
}

async fn is_reused(fields: &'static [(&str, &str)]) -> bool {
    calls_after(1, 200, fields).await == 1
}

#[tokio::test(start_paused = true)]
async fn a_response_is_reused_until_its_age_reaches_its_lifetime() {
    assert_eq!(calls_after(9, 200, &[("cache-control", "max-age=10")]).await, 1);
    assert_eq!(calls_after(10, 200, &[("cache-control", "max-age=10")]).await, 2);
    assert_eq!(calls_after(9, 200, &[("cache-control", "max-age=1, s-maxage=10")]).await, 1);
    assert_eq!(calls_after(2, 200, &[("cache-control", "s-maxage=1, max-age=10")]).await, 2);
    assert!(!is_reused(&[]).await);
    assert!(!is_reused(&[("cache-control", "max-age=0")]).await);
}

#[tokio::test(start_paused = true)]
async fn any_final_status_with_explicit_freshness_is_reused() {
    for status in
        [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599]
    {
        let fields = &[("cache-control", "max-age=10")];
        assert_eq!(calls_after(1, status, fields).await, 1, "{status}");
        assert_eq!(calls_after(11, status, fields).await, 2, "{status}");
    }
    assert_eq!(calls_after(1, 206, &[("cache-control", "max-age=10")]).await, 2);
}

#[tokio::test(start_paused = true)]
async fn expires_counts_from_date_and_an_invalid_one_is_past() {
    let date = ("date", "Sun, 06 Nov 2095 08:49:37 GMT");
    let origin = Origin::new(move |_, _| {
        respond(200, &[date, ("expires", "Sun, 06 Nov 2095 08:49:47 GMT")])
    });
    let client = origin.cached();
    get(&client).await;
    pass(9).await;
    assert_eq!(get(&client).await.result, Some(CacheResult::Hit));
    pass(1).await;
    assert_eq!(get(&client).await.result, Some(CacheResult::Miss));
    for invalid in ["0", "-1", "Sun, 06 Nov 2095 08:49:37 AEST", "tomorrow"] {
        let fields: &'static [_] = vec![("expires", invalid)].leak();
        assert!(!is_reused(fields).await, "{invalid}");
    }
    assert!(is_reused(&[("expires", "0"), ("cache-control", "max-age=60")]).await);
    assert!(
        !is_reused(&[
            ("expires", "Sun, 06 Nov 2095 08:49:37 GMT"),
            ("expires", "Sun, 06 Nov 1995 08:49:37 GMT")
        ])
        .await
    );
}

#[tokio::test(start_paused = true)]
async fn age_on_arrival_is_taken_off_the_lifetime() {
    for (age, reused) in [
        ("0", true),
        ("59", false),
        ("18446744073709551616", false),
        ("-10", true),
        ("60.0", true),
        ("60;a=b", true),
        ("x, 60", true),
        ("60, 0", false),
        ("0, 60", true),
        ("2147483648", false),
    ] {
        let fields: &'static [_] = vec![("cache-control", "max-age=60"), ("age", age)].leak();
        assert_eq!(is_reused(fields).await, reused, "{age}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_date_is_age_too() {
    let old = [("cache-control", "max-age=60"), ("date", "Sun, 06 Nov 1994 08:49:37 GMT")];
    assert!(!is_reused(Vec::from(old).leak()).await);
    // A date before 1970 or after 2100 is nonsense, and says nothing.
    for date in ["Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        assert!(is_reused(vec![("cache-control", "max-age=60"), ("date", date)].leak()).await);
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_response_counts_as_age() {
    let origin = Origin::new(|_, _| Reply::from(fresh("a")).after(Duration::from_secs(20)));
    let client = origin.cached();
    get(&client).await;
    pass(10).await;
    let hit = get(&client).await;
    assert_eq!(hit.field("age"), Some("30"));
    pass(30).await;
    assert_eq!(get(&client).await.result, Some(CacheResult::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_hit_says_how_old_it_is_and_keeps_the_date() {
    let origin = Origin::new(|_, _| ok(&[("cache-control", "max-age=60"), ("age", "10")], "a"));
    let client = origin.cached();
    let miss = get(&client).await;
    assert_eq!(miss.field("age"), Some("10"), "what the origin says is passed on");
    pass(20).await;
    let hit = get(&client).await;
    assert_eq!((hit.status, hit.text(), hit.field("age")), (200, "a", Some("30")));
    assert!(hit.field("date").is_some());
    pass(5).await;
    assert_eq!(get(&client).await.field("date"), hit.field("date"));
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_is_guessed_from_last_modified() {
    let modified: &[_] = &[
        ("date", "Fri, 06 Nov 2099 08:49:37 GMT"),
        ("last-modified", "Fri, 06 Nov 2099 08:32:57 GMT"),
    ];
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert_eq!(calls_after(99, status, modified).await, 1, "{status}");
        assert_eq!(calls_after(100, status, modified).await, 2, "{status}");
    }
    for status in [201, 202, 302, 307, 400, 403, 502, 503, 504, 599] {
        assert_eq!(calls_after(1, status, modified).await, 2, "{status}");
    }
    let public = vec![modified[0], modified[1], ("cache-control", "public")].leak();
    assert_eq!(calls_after(99, 599, public).await, 1);
    let pragma = vec![modified[0], modified[1], ("pragma", "no-cache")].leak();
    assert_eq!(calls_after(1, 200, pragma).await, 2);
}

#[tokio::test(start_paused = true)]
async fn targeted_fields_replace_cache_control() {
    let cdn = |value: &'static str, more: &'static [(&'static str, &'static str)]| {
        let mut fields = vec![("cdn-cache-control", value)];
        fields.extend_from_slice(more);
        is_reused(Vec::leak(fields))
    };
    assert!(cdn("max-age=60", &[("cache-control", "no-store")]).await);
    assert!(cdn("max-age=60", &[("cache-control", "max-age=0"), ("expires", "0")]).await);
    assert!(!cdn("max-age=0", &[("cache-control", "max-age=60")]).await);
    assert!(!cdn("no-store", &[("cache-control", "max-age=60")]).await);
    assert!(!cdn("private", &[("cache-control", "max-age=60")]).await);
    assert!(!cdn("max-age=0", &[("expires", "Sun, 06 Nov 2095 08:49:37 GMT")]).await);
    for ignored in ["", "MAX-AGE=0", "max-age=0, &&&", "max-age =0"] {
        assert!(cdn(ignored, &[("cache-control", "max-age=60")]).await, "{ignored}");
    }
    for used in ["none", "max-age=\"60\"", "max-age=60.0", "max-age=(60)"] {
        assert!(!cdn(used, &[("cache-control", "max-age=60")]).await, "{used}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_can_ask_for_fresher_and_for_staler() {
    for (secs, control, result) in [
        (5, "max-age=5", CacheResult::Hit),
        (6, "max-age=5", CacheResult::Miss),
        (0, "max-age=0", CacheResult::Miss),
        (5, "min-fresh=5", CacheResult::Hit),
        (6, "min-fresh=5", CacheResult::Miss),
        (1, "no-cache", CacheResult::Miss),
        (1, "max-age=x", CacheResult::Miss),
        (15, "max-stale=5", CacheResult::Stale),
        (16, "max-stale=5", CacheResult::Miss),
        (600, "max-stale", CacheResult::Stale),
        (12, "max-stale, max-age=11", CacheResult::Miss),
        (1, "only-if-cached", CacheResult::Hit),
        (11, "only-if-cached", CacheResult::Unsatisfied),
    ] {
        let origin =
            Origin::new(|_, _| ok(&[("cache-control", "max-age=10, stale-if-error=1000")], "a"));
        let client = origin.cached();
        get(&client).await;
        pass(secs).await;
        let got = get_with(&client, &[("cache-control", control)]).await;
        assert_eq!(got.result, Some(result), "{control} after {secs} s");
    }
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_is_a_504_when_nothing_is() {
    let origin = Origin::new(|_, _| fresh("a"));
    let client = origin.cached();
    let got = get_with(&client, &[("cache-control", "only-if-cached")]).await;
    assert_eq!((got.status, origin.calls()), (504, 0));
}

#[tokio::test(start_paused = true)]
async fn pragma_counts_where_there_is_no_cache_control() {
    let origin = Origin::new(|_, _| fresh("a"));
    let client = origin.cached();
    get(&client).await;
    get_with(&client, &[("pragma", "no-cache")]).await;
    assert_eq!(origin.calls(), 2);
    get_with(&client, &[("pragma", "no-cache"), ("cache-control", "max-age=60")]).await;
    get_with(&client, &[("pragma", "other")]).await;
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn queries_tell_uris_apart() {
    let origin = Origin::new(|_, _| fresh("a"));
    let client = origin.cached();
    for uri in [
        "http://a.example/x?a",
        "http://a.example/x?b",
        "http://a.example/x",
        "http://a.example/x?a",
    ] {
        ask(&client, "GET", uri, &[]).await;
    }
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn of_several_lines_of_age_the_first_counts() {
    let control = ("cache-control", "max-age=60");
    assert!(is_reused(&[("age", "0"), ("age", "60"), ("cache-control", "max-age=60")]).await);
    assert!(!is_reused(Vec::from([("age", "60"), ("age", "0"), control]).leak()).await);
}

/// RFC 8246: what is immutable is not asked about while it is fresh, unless the client insists.
#[tokio::test(start_paused = true)]
async fn what_is_immutable_is_as_fresh_as_it_says_and_no_longer() {
    let control = ("cache-control", "max-age=10, immutable");
    let origin = Origin::new(move |_, _| ok(&[control, ("etag", "\"a\"")], "a"));
    let client = origin.cached();
    get(&client).await;
    pass(9).await;
    assert_eq!(get(&client).await.result, Some(CacheResult::Hit));
    get_with(&client, &[("cache-control", "no-cache")]).await;
    assert_eq!(origin.calls(), 2);
    pass(11).await;
    get(&client).await;
    assert_eq!(origin.calls(), 3);
}
