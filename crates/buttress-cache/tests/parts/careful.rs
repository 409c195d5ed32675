//! What a part that comes must not do to what is stored.

use buttress_cache::CacheResult;

use crate::{
    FRESH, TAG, WHOLE, asked, asked_for, part, serve,
    support::{Origin, get, get_with, ok},
};

/// A server that leaves out of a part what a client that sends `If-Range` knows (RFC 9110 section
/// 15.3.7).
fn terse(tag: &'static str) -> Origin {
    Origin::new(move |parts, _| {
        let all =
            [FRESH, ("etag", tag), ("content-type", "text/plain"), ("content-language", "en")];
        let known = parts.headers.get("if-range").is_some_and(|known| known == tag);
        serve(parts, if known { &all[..2] } else { &all })
    })
}

#[tokio::test(start_paused = true)]
async fn a_part_for_who_knows_the_rest_is_not_kept_by_itself() {
    let origin = terse("\"a\"");
    let client = origin.cached();
    let own = [("range", "bytes=0-3"), ("if-range", "\"a\"")];
    assert_eq!(get_with(&client, &own).await.status, 206);
    let got = part(&client, "bytes=0-3").await;
    assert_eq!(
        (got.result, got.field("content-type")),
        (Some(CacheResult::Miss), Some("text/plain"))
    );
    for _ in 0..2 {
        let got = get(&client).await;
        assert_eq!((got.status, got.text()), (200, WHOLE));
        assert_eq!(got.field("content-type"), Some("text/plain"));
        assert_eq!(got.field("content-language"), Some("en"));
    }
    assert_eq!(asked(&origin, 2), asked_for("bytes=4-9"));
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_part_for_who_knows_the_rest_is_kept_with_what_is_stored_of_the_same() {
    let origin = terse("\"a\"");
    let client = origin.cached();
    part(&client, "bytes=0-3").await;
    get_with(&client, &[("range", "bytes=4-5"), ("if-range", "\"a\"")]).await;
    let got = part(&client, "bytes=2-5").await;
    assert_eq!((got.text(), got.result), ("2345", Some(CacheResult::Hit)));
    assert_eq!(got.field("content-type"), Some("text/plain"));
    let got = get(&client).await;
    assert_eq!((got.text(), got.field("content-type")), (WHOLE, Some("text/plain")));
    assert_eq!(asked(&origin, 2), asked_for("bytes=6-9"));
}

#[tokio::test(start_paused = true)]
async fn a_part_for_who_knows_something_else_leaves_what_is_stored() {
    let origin = Origin::new(|parts, number| {
        let tag = ("etag", if number == 1 { "\"b\"" } else { "\"a\"" });
        serve(parts, &[FRESH, tag])
    });
    let client = origin.cached();
    part(&client, "bytes=0-3").await;
    let own = [("range", "bytes=4-5"), ("if-range", "\"b\"")];
    assert_eq!(get_with(&client, &own).await.field("etag"), Some("\"b\""));
    let got = part(&client, "bytes=0-3").await;
    assert_eq!((got.result, got.field("etag")), (Some(CacheResult::Hit), Some("\"a\"")));
    assert_eq!(part(&client, "bytes=4-5").await.result, Some(CacheResult::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_whole_for_one_user_leaves_the_part_for_all() {
    let origin = Origin::new(|parts, _| {
        if parts.headers.contains_key("authorization") {
            return ok(&[FRESH, ("etag", "\"mine\"")], "mine");
        }
        serve(parts, &[FRESH, TAG])
    });
    let client = origin.cached();
    part(&client, "bytes=0-3").await;
    assert_eq!(get_with(&client, &[("authorization", "x")]).await.text(), "mine");
    assert_eq!(part(&client, "bytes=0-3").await.result, Some(CacheResult::Hit));
    assert_eq!(origin.calls(), 2);
}
