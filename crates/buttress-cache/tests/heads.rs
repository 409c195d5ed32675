//! HEAD: answered, kept, and what it says of a stored GET (RFC 9110 section 9.3.2, RFC 9111 section
//! 4.3.5).

mod support;

use buttress_cache::CacheResult;
use support::{Client, Got, Origin, Reply, ask, get, get_with, ok, pass, respond};

async fn head(client: &Client) -> Got {
    ask(client, "HEAD", support::URI, &[]).await
}

/// An origin that sends these fields to HEAD and to GET, with a body that says which request it was.
fn origin(fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |parts, number| {
        if parts.method == "HEAD" { respond(200, fields) } else { ok(fields, &number.to_string()) }
    })
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_head_is_kept_for_head_and_for_nothing_else() {
    let origin = origin(&[("cache-control", "max-age=60"), ("etag", "\"a\""), ("x", "1")]);
    let client = origin.cached();
    assert_eq!(head(&client).await.result, Some(CacheResult::Miss));
    let hit = head(&client).await;
    assert_eq!((hit.status, hit.result, hit.field("x")), (200, Some(CacheResult::Hit), Some("1")));
    assert_eq!(hit.field("content-length"), None, "how long the body is was not said");
    let told = ask(&client, "HEAD", support::URI, &[("if-none-match", "\"a\"")]).await;
    assert_eq!(told.status, 304);
    let got = get(&client).await;
    assert_eq!(got.result, Some(CacheResult::Miss));
    assert!(got.field("cache-status").is_some_and(|said| said.contains("fwd=uri-miss")));
    let hit = head(&client).await;
    assert_eq!((hit.result, hit.field("content-length")), (Some(CacheResult::Hit), Some("1")));
    assert_eq!(origin.methods(), ["HEAD", "GET"]);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_stale_is_asked_for_again_and_a_change_ends_it() {
    let origin = origin(&[("cache-control", "max-age=10")]);
    let client = origin.cached();
    head(&client).await;
    pass(11).await;
    assert_eq!(head(&client).await.result, Some(CacheResult::Miss));
    assert_eq!(head(&client).await.result, Some(CacheResult::Hit));
    ask(&client, "PUT", support::URI, &[]).await;
    assert_eq!(head(&client).await.result, Some(CacheResult::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_head_does_not_push_out_what_is_stored_for_get() {
    let origin = Origin::new(|parts, _| {
        let fields = [("cache-control", "max-age=60"), ("vary", "foo")];
        if parts.method == "HEAD" { respond(200, &fields[..1]) } else { ok(&fields, "a") }
    });
    let client = origin.cached();
    get_with(&client, &[("foo", "1")]).await;
    ask(&client, "HEAD", support::URI, &[("foo", "2")]).await;
    assert_eq!(get_with(&client, &[("foo", "1")]).await.result, Some(CacheResult::Hit));
}

#[tokio::test(start_paused = true)]
async fn what_may_be_stale_for_an_error_may_be_so_for_head() {
    for down in [true, false] {
        let origin = Origin::new(move |parts, _| -> Reply {
            let fields = [("cache-control", "max-age=10, stale-if-error=60"), ("x", "1")];
            match parts.method.as_str() {
                "HEAD" if down => Reply::failure(),
                "HEAD" => respond(503, &[]).into(),
                _ => ok(&fields, "body").into(),
            }
        });
        let client = origin.cached();
        get(&client).await;
        pass(20).await;
        let got = head(&client).await;
        assert_eq!((got.status, got.result), (200, Some(CacheResult::Stale)));
        assert_eq!((got.field("content-length"), got.field("x")), (Some("4"), Some("1")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_with_a_condition_is_answered_from_the_stored_get() {
    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const OLDER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    let fields = [("cache-control", "max-age=60"), ("etag", "\"a\""), ("last-modified", OLD)];
    let origin = Origin::new(move |_, _| ok(&fields, "body"));
    let client = origin.cached();
    get(&client).await;
    for (name, value, status) in [
        ("if-none-match", "\"b\", \"a\"", 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"b\"", 200),
        ("if-modified-since", OLD, 304),
        ("if-modified-since", OLDER, 200),
        ("range", "bytes=0-0", 200),
    ] {
        let got = ask(&client, "HEAD", support::URI, &[(name, value)]).await;
        assert_eq!((got.status, got.body.len()), (status, 0), "{name}: {value}");
        let length = (status == 200).then_some("4");
        assert_eq!(got.field("content-length"), length, "{name}: {value}");
    }
    assert_eq!(origin.calls(), 1);
}

/// RFC 9110 section 14.2: a range is of a GET.
#[tokio::test(start_paused = true)]
async fn nothing_is_learnt_from_a_head_of_a_part() {
    for (status, length) in [(206, "4"), (416, "0")] {
        let origin = Origin::new(move |parts, _| {
            let all =
                [("cache-control", "max-age=60"), ("etag", "\"a\""), ("content-length", "10")];
            if parts.headers.contains_key("range") {
                let range = ("content-range", "bytes 0-3/10");
                return respond(status, &[all[0], all[1], range, ("content-length", length)]);
            }
            respond(200, &all)
        });
        let client = origin.cached();
        let part = ask(&client, "HEAD", support::URI, &[("range", "bytes=0-3")]).await;
        assert_eq!(part.status, status);
        for result in [CacheResult::Miss, CacheResult::Hit] {
            let got = head(&client).await;
            assert_eq!((got.status, got.result), (200, Some(result)));
            assert_eq!(
                (got.field("content-length"), got.field("content-range")),
                (Some("10"), None)
            );
        }
    }
}
