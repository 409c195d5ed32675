//! What is kept of parts, and who gets it.

use buttress_cache::{CacheResult, Profile};
use buttress_testkit::Script;
use http::StatusCode;

use crate::{
    FRESH, TAG, WHOLE, asked, asked_for, part, serve, server,
    support::{self, Origin, ask, get, get_with, layer, ok, pass, respond, respond_with},
};

#[tokio::test(start_paused = true)]
async fn parts_are_served_out_of_the_whole() {
    let origin = Origin::new(|_, _| {
        respond_with(
            200,
            &[
                ("cache-control", "max-age=60"),
                ("etag", "\"a\""),
                ("content-length", "10"),
                ("x", "1"),
            ],
            Script::chunks(["0123", "456789"], 1),
        )
    });
    let client = origin.cached();
    get(&client).await;
    for (range, status, text, field) in [
        ("bytes=2-5", 206, "2345", Some("bytes 2-5/10")),
        ("bytes=8-", 206, "89", Some("bytes 8-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=20-", 416, "", Some("bytes */10")),
        ("lines=1-2", 200, "0123456789", None),
    ] {
        let got = get_with(&client, &[("range", range)]).await;
        assert_eq!(
            (got.status, got.text(), got.field("content-range")),
            (status, text, field),
            "{range}"
        );
        if status == 206 {
            assert_eq!(got.field("content-length"), Some(&*text.len().to_string()));
            assert_eq!((got.field("x"), got.field("etag")), (Some("1"), Some("\"a\"")));
        }
    }
    let several = get_with(&client, &[("range", "bytes=0-1,-2")]).await;
    assert!(several.field("content-type").unwrap().starts_with("multipart/byteranges"));
    let old = [("range", "bytes=0-1"), ("if-range", "\"b\"")];
    assert_eq!(get_with(&client, &old).await.status, 200);
    let same = [("range", "bytes=0-1"), ("if-range", "\"a\"")];
    assert_eq!(get_with(&client, &same).await.status, 206);
    let unchanged = [("range", "bytes=0-1"), ("if-none-match", "\"a\"")];
    assert_eq!(get_with(&client, &unchanged).await.status, 304);
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_range_of_nothing_stored_goes_to_the_origin() {
    let origin = Origin::new(|parts, _| {
        assert_eq!(parts.headers["range"], "bytes=0-1");
        let fields = [("cache-control", "max-age=60"), ("content-range", "bytes 0-1/10")];
        respond_with(StatusCode::PARTIAL_CONTENT.as_u16(), &fields, Script::new().data("01"))
    });
    let client = origin.cached();
    assert_eq!(get_with(&client, &[("range", "bytes=0-1")]).await.status, 206);
}

#[tokio::test(start_paused = true)]
async fn a_part_is_kept_for_those_whose_part_lies_in_it() {
    let origin = Origin::new(|parts, _| {
        let fields = [("cache-control", "max-age=60"), ("etag", "\"a\"")];
        match parts.headers.get("range").map(|range| range.to_str().unwrap()) {
            Some("bytes=2-5") => {
                let fields = [fields[0], fields[1], ("content-range", "bytes 2-5/10")];
                respond_with(206, &fields, Script::new().data("2345"))
            }
            Some(_) => respond(416, &[]),
            None => ok(&fields, "0123456789"),
        }
    });
    let client = origin.cached();
    let part = async |range: &str| get_with(&client, &[("range", range)]).await;
    part("bytes=2-5").await;
    for (range, text, field) in [
        ("bytes=2-5", "2345", "bytes 2-5/10"),
        ("bytes=3-4", "34", "bytes 3-4/10"),
        ("bytes=5-5", "5", "bytes 5-5/10"),
    ] {
        let got = part(range).await;
        assert_eq!((got.status, got.text()), (206, text), "{range}");
        assert_eq!(got.field("content-range"), Some(field));
        assert_eq!(got.result, Some(CacheResult::Hit));
    }
    assert_eq!(origin.calls(), 1);
    // What overlaps is asked for in part, and then as the client did.
    for (range, calls) in [("bytes=1-3", 2), ("bytes=5-6", 2), ("bytes=-1", 1), ("bytes=2-", 2)] {
        let before = origin.calls();
        assert_eq!(part(range).await.result, Some(CacheResult::Miss), "{range}");
        assert_eq!(origin.calls(), before + calls, "{range}");
    }
    let before = origin.calls();
    assert_eq!(get(&client).await.text(), "0123456789");
    assert_eq!(part("bytes=-1").await.text(), "9", "the whole has every part");
    assert_eq!(origin.calls(), before + 1);
    ask(&client, "PUT", support::URI, &[]).await;
    part("bytes=2-5").await;
    ask(&client, "PUT", support::URI, &[]).await;
    assert_eq!(part("bytes=3-4").await.status, 416, "a change reaches the part");
}

#[tokio::test(start_paused = true)]
async fn parts_become_one_and_at_last_the_whole() {
    let origin = server(&[FRESH, TAG, ("content-type", "text/plain")]);
    let client = origin.cached();
    for range in ["bytes=0-1", "bytes=6-7", "bytes=-2", "bytes=2-5"] {
        assert_eq!(part(&client, range).await.result, Some(CacheResult::Miss), "{range}");
    }
    assert_eq!(origin.calls(), 4);
    for (range, text) in [("bytes=0-9", WHOLE), ("bytes=1-8", "12345678"), ("bytes=-4", "6789")] {
        let got = part(&client, range).await;
        assert_eq!((got.status, got.text()), (206, text), "{range}");
    }
    let got = get(&client).await;
    assert_eq!((got.status, got.text(), got.result), (200, WHOLE, Some(CacheResult::Hit)));
    assert_eq!(got.field("content-range"), None);
    assert_eq!(got.field("content-length"), Some("10"));
    assert_eq!(got.field("content-type"), Some("text/plain"));
    let head = ask(&client, "HEAD", support::URI, &[]).await;
    assert_eq!((head.status, head.field("content-length")), (200, Some("10")));
    assert_eq!(origin.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn parts_are_kept_side_by_side_until_they_meet() {
    let origin = server(&[FRESH, TAG]);
    let client = origin.cached();
    part(&client, "bytes=0-1").await;
    part(&client, "bytes=5-6").await;
    for (range, text, field) in
        [("bytes=0-1", "01", "bytes 0-1/10"), ("bytes=6-6", "6", "bytes 6-6/10")]
    {
        let got = part(&client, range).await;
        assert_eq!((got.text(), got.field("content-range")), (text, Some(field)));
        assert_eq!(got.result, Some(CacheResult::Hit));
        assert_eq!(got.headers.get_all("content-range").iter().count(), 1);
    }
    let several = part(&client, "bytes=0-0,5-6").await;
    assert_eq!((several.status, several.result), (206, Some(CacheResult::Hit)));
    assert!(several.field("content-type").unwrap().starts_with("multipart/byteranges"));
    assert_eq!(several.field("content-range"), None);
    assert!(several.text().contains("Content-Range: bytes 5-6/10\r\n\r\n56\r\n"));
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stale_part_is_confirmed_for_who_wants_what_lies_in_it() {
    let origin = Origin::new(move |parts, _| match parts.headers.get("if-none-match") {
        Some(_) => respond(304, &[FRESH, TAG, ("x", "2")]),
        None => serve(parts, &[("cache-control", "max-age=1"), TAG, ("x", "1")]),
    });
    let client = origin.cached();
    part(&client, "bytes=0-3").await;
    part(&client, "bytes=6-7").await;
    pass(2).await;
    for result in [CacheResult::Revalidated, CacheResult::Hit] {
        let got = part(&client, "bytes=2-3").await;
        assert_eq!((got.status, got.text(), got.field("x")), (206, "23", Some("2")));
        assert_eq!((got.result, got.field("content-range")), (Some(result), Some("bytes 2-3/10")));
    }
    assert_eq!(part(&client, "bytes=6-7").await.result, Some(CacheResult::Hit), "all of it is");
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_beyond_the_known_end_is_not_asked_for() {
    let origin = server(&[FRESH, TAG]);
    let client = origin.cached();
    part(&client, "bytes=0-3").await;
    let got = part(&client, "bytes=10-").await;
    assert_eq!((got.status, got.field("content-range")), (416, Some("bytes */10")));
    assert!(got.body.is_empty());
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_the_part_already_is_told_so() {
    let origin = server(&[FRESH, TAG]);
    let client = origin.cached();
    part(&client, "bytes=2-5").await;
    let both = [("range", "bytes=3-4"), ("if-none-match", "\"a\"")];
    let got = get_with(&client, &both).await;
    assert_eq!((got.status, got.field("content-range")), (304, None));
    // What is incomplete answers no request for the whole, not even so (section 3.3).
    get_with(&client, &[("if-none-match", "\"a\"")]).await;
    assert_eq!(origin.seen(1)["if-none-match"], "\"a\"");
}

#[tokio::test(start_paused = true)]
async fn a_part_answers_neither_head_nor_who_wants_only_what_is_stored() {
    let origin = server(&[FRESH, TAG]);
    let client = origin.cached();
    part(&client, "bytes=2-5").await;
    let only = [("cache-control", "only-if-cached")];
    assert_eq!(get_with(&client, &only).await.status, 504);
    let inside = [("cache-control", "only-if-cached"), ("range", "bytes=2-3")];
    assert_eq!(get_with(&client, &inside).await.status, 206);
    let head = ask(&client, "HEAD", support::URI, &[]).await;
    assert_eq!((head.status, head.result), (200, Some(CacheResult::Miss)));
    assert_eq!(origin.methods(), ["GET", "HEAD"]);
}

#[tokio::test(start_paused = true)]
async fn a_part_does_not_take_the_place_of_the_whole() {
    let origin = Origin::new(|parts, number| match number {
        0 => ok(&[("cache-control", "max-age=1"), TAG], WHOLE),
        _ => serve(parts, &[FRESH, TAG]),
    });
    let client = origin.cached();
    get(&client).await;
    pass(2).await;
    // It should have been a 304.
    assert_eq!(part(&client, "bytes=0-1").await.text(), "01");
    let stale = get_with(&client, &[("cache-control", "max-stale")]).await;
    assert_eq!((stale.text(), stale.result), (WHOLE, Some(CacheResult::Stale)));
}

#[tokio::test(start_paused = true)]
async fn a_part_of_something_newer_takes_the_place_of_the_old_whole() {
    let origin = Origin::new(|parts, number| match number {
        0 => ok(&[("cache-control", "max-age=1"), ("etag", "\"old\"")], "old"),
        _ => serve(parts, &[FRESH, TAG]),
    });
    let client = origin.cached();
    get(&client).await;
    pass(2).await;
    assert_eq!(part(&client, "bytes=0-4").await.text(), "01234");
    assert_eq!(part(&client, "bytes=0-1").await.result, Some(CacheResult::Hit));
    assert_eq!(get(&client).await.text(), WHOLE);
    assert_eq!(asked(&origin, 2), asked_for("bytes=5-9"));
}

#[tokio::test(start_paused = true)]
async fn parts_of_each_variant_are_kept_apart() {
    let origin = Origin::new(|parts, _| {
        let language = parts.headers["accept-language"].to_str().unwrap();
        serve(parts, &[FRESH, ("etag", &format!("\"{language}\"")), ("vary", "accept-language")])
    });
    let client = origin.cached();
    let of = async |language: &str, range: &str| {
        get_with(&client, &[("accept-language", language), ("range", range)]).await
    };
    of("de", "bytes=0-3").await;
    of("fr", "bytes=4-9").await;
    assert_eq!(of("de", "bytes=1-2").await.result, Some(CacheResult::Hit));
    assert_eq!(of("de", "bytes=4-5").await.result, Some(CacheResult::Miss));
    let whole = get_with(&client, &[("accept-language", "fr")]).await;
    assert_eq!((whole.text(), whole.field("etag")), (WHOLE, Some("\"fr\"")));
    assert_eq!(asked(&origin, 3).0.as_deref(), Some("bytes=0-3"));
    assert_eq!(of("de", "bytes=0-5").await.result, Some(CacheResult::Hit), "and de is as it was");
}

#[tokio::test(start_paused = true)]
async fn the_safe_profile_keeps_parts_too_and_no_other_cookies() {
    for (fields, hits) in [(&[FRESH, TAG][..], true), (&[FRESH, TAG, ("set-cookie", "a=1")], false)]
    {
        let origin = server(Vec::from(fields).leak());
        let client = origin.behind(&layer().profile(Profile::safe()));
        part(&client, "bytes=0-3").await;
        assert_eq!(part(&client, "bytes=0-3").await.result == Some(CacheResult::Hit), hits);
    }
}

#[tokio::test(start_paused = true)]
async fn a_206_to_no_range_and_one_of_several_parts_are_not_stored() {
    let one = [FRESH, TAG, ("content-range", "bytes 0-3/10")];
    let several = [FRESH, TAG, ("content-type", "multipart/byteranges; boundary=x")];
    for (fields, range) in [(&one[..], None), (&several[..], Some(("range", "bytes=0-1,3-4")))] {
        let fields = fields.to_vec();
        let origin =
            Origin::new(move |_, _| respond_with(206, &fields, Script::new().data("0123")));
        let client = origin.cached();
        let request: Vec<_> = range.into_iter().collect();
        for _ in 0..2 {
            assert_eq!(get_with(&client, &request).await.result, Some(CacheResult::Miss));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_as_long_as_it_says_is_not_stored() {
    let origin = Origin::new(|_, _| {
        let fields = [FRESH, TAG, ("content-range", "bytes 0-3/10")];
        respond_with(206, &fields, Script::new().data("012"))
    });
    let client = origin.cached();
    for _ in 0..2 {
        assert_eq!(part(&client, "bytes=0-3").await.result, Some(CacheResult::Miss));
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_agrees_brings_a_part_up_to_date_and_one_that_does_not_ends_it() {
    for (length, left) in [("10", true), ("11", false)] {
        let origin = Origin::new(move |parts, _| {
            let fields = [("cache-control", "max-age=10"), TAG];
            if parts.method == "HEAD" {
                respond(200, &[fields[0], fields[1], ("content-length", length)])
            } else {
                serve(parts, &fields)
            }
        });
        let client = origin.cached();
        part(&client, "bytes=0-3").await;
        pass(9).await;
        ask(&client, "HEAD", support::URI, &[]).await;
        pass(2).await;
        let hit = part(&client, "bytes=0-3").await.result == Some(CacheResult::Hit);
        assert_eq!(hit, left, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_all_there_is_is_the_whole() {
    for fields in [&[FRESH, TAG][..], &[FRESH, ("etag", "W/\"a\"")], &[FRESH]] {
        let origin = server(Vec::from(fields).leak());
        let client = origin.cached();
        part(&client, "bytes=0-").await;
        let got = get(&client).await;
        assert_eq!((got.status, got.text(), got.result), (200, WHOLE, Some(CacheResult::Hit)));
        assert_eq!(got.field("content-length"), Some("10"));
        assert_eq!(part(&client, "bytes=-1").await.text(), "9");
        assert_eq!(origin.calls(), 1);
    }
}
