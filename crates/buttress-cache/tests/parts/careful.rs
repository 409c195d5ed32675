//! What a part that comes must not do to what is stored.

use std::time::Duration;

use buttress_cache::{CacheDirective, CacheResult, Removal, Tag};
use buttress_testkit::Script;

use crate::{
    FRESH, TAG, WHOLE, asked, asked_for, part, serve, server,
    support::{
        self, Origin, Reply, get, get_with, layer, ok, pass, read, request, respond_with, send,
        settle,
    },
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

#[tokio::test(start_paused = true)]
async fn a_stale_whole_is_renewed_in_the_background_as_a_whole() {
    for tag in [Some(TAG), None] {
        let origin = Origin::new(move |parts, number| {
            let control =
                [("cache-control", "max-age=1, stale-while-revalidate=60"), FRESH][number.min(1)];
            let fields: Vec<_> = [control].into_iter().chain(tag).collect();
            serve(parts, &fields)
        });
        let client = origin.cached();
        get(&client).await;
        pass(2).await;
        let own = [("range", "bytes=0-1"), ("if-range", "\"a\"")];
        let range = if tag.is_some() { &own[..] } else { &own[..1] };
        assert_eq!(get_with(&client, range).await.result, Some(CacheResult::Stale));
        settle().await;
        assert_eq!(asked(&origin, 1), (None, None));
        let got = get(&client).await;
        assert_eq!((got.status, got.text(), got.result), (200, WHOLE, Some(CacheResult::Hit)));
        assert_eq!(origin.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_nobody_asked_for_keeps_nobody_from_sharing() {
    let origin = Origin::new(|_, number| match number {
        0 => {
            let fields = [FRESH, TAG, ("content-range", "bytes 0-3/10")];
            Reply::from(respond_with(206, &fields, Script::new().data("0123")))
        }
        _ => Reply::from(ok(&[FRESH, TAG], WHOLE)).after(Duration::from_secs(1)),
    });
    let client = origin.cached();
    assert_eq!(get(&client).await.status, 206);
    let all = (0..5).map(|_| get(&client));
    for got in futures_util::future::join_all(all).await {
        assert_eq!((got.status, got.text()), (200, WHOLE));
    }
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_whole_that_was_put_together_is_found_by_the_tags_of_its_parts() {
    let origin = server(&[FRESH, TAG]);
    let layer = layer();
    let (client, handle) = (origin.behind(&layer), layer.handle());
    let tagged = |tag: &str, range: Option<&str>| {
        let mut request = request("GET", support::URI, &[]);
        if let Some(range) = range {
            request.headers_mut().insert("range", range.parse().unwrap());
        }
        request.extensions_mut().insert(CacheDirective::new().tag(tag));
        request
    };
    read(send(&client, tagged("part", Some("bytes=0-3"))).await.unwrap()).await.unwrap();
    read(send(&client, tagged("whole", None)).await.unwrap()).await.unwrap();
    assert_eq!(asked(&origin, 1), asked_for("bytes=4-9"));
    assert_eq!(get(&client).await.result, Some(CacheResult::Hit));
    assert_eq!(handle.purge_tag(&Tag::from("part"), Removal::Hard).await.unwrap(), 1);
    assert_eq!(get(&client).await.result, Some(CacheResult::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_part_that_does_not_vary_leaves_the_variants() {
    for tag in [TAG, ("etag", "W/\"a\"")] {
        let origin = Origin::new(move |parts, _| {
            let vary = ("vary", "accept-language");
            if parts.headers.contains_key("range") {
                return serve(parts, &[FRESH, tag]);
            }
            ok(&[FRESH, vary], parts.headers["accept-language"].to_str().unwrap())
        });
        let client = origin.cached();
        for language in ["de", "en"] {
            get_with(&client, &[("accept-language", language)]).await;
        }
        get_with(&client, &[("accept-language", "it"), ("range", "bytes=0-3")]).await;
        for language in ["de", "en"] {
            let got = get_with(&client, &[("accept-language", language)]).await;
            assert_eq!((got.text(), got.result), (language, Some(CacheResult::Hit)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_leaves_the_whole_that_was_stored_while_it_came() {
    for (tag, vary) in [("\"a\"", None), ("W/\"a\"", None), ("\"a\"", Some(("vary", "foo")))] {
        let origin = Origin::new(move |parts, _| {
            let part = parts.headers.contains_key("range");
            let fields: Vec<_> =
                [FRESH, ("etag", tag)].into_iter().chain(vary.filter(|_| part)).collect();
            serve(parts, &fields)
        });
        let client = origin.cached();
        let part = request("GET", support::URI, &[("range", "bytes=0-3")]);
        let part = send(&client, part).await.unwrap();
        assert_eq!(get(&client).await.text(), WHOLE);
        assert_eq!(read(part).await.unwrap().text(), "0123");
        let got = get(&client).await;
        assert_eq!((got.text(), got.result), (WHOLE, Some(CacheResult::Hit)), "{tag} {vary:?}");
        assert_eq!(origin.calls(), 2);
    }
}
