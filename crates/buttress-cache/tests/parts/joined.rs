//! What is missing is asked for, and put into what is there.

use buttress_cache::{CacheDirective, CacheResult};
use buttress_testkit::Script;
use http::Response;

use crate::{
    FRESH, TAG, WHOLE, asked, asked_for, part, serve, server,
    support::{
        self, Origin, Reply, get, get_with, layer, ok, pass, read, request, respond, respond_with,
        send, settle,
    },
};

#[tokio::test(start_paused = true)]
async fn who_wants_the_whole_of_what_is_stored_in_part_waits_for_the_rest_only() {
    for (stored, gap) in
        [("bytes=0-3", "bytes=4-9"), ("bytes=-3", "bytes=0-6"), ("bytes=0-8", "bytes=9-9")]
    {
        let origin = server(&[FRESH, TAG]);
        let client = origin.cached();
        part(&client, stored).await;
        let got = get(&client).await;
        assert_eq!((got.status, got.text()), (200, WHOLE), "{stored}");
        assert_eq!(got.field("content-length"), Some("10"));
        assert_eq!(got.field("content-range"), None);
        let said = got.field("cache-status").unwrap();
        assert!(said.contains("fwd=partial; fwd-status=206; stored"), "{said}");
        assert_eq!(asked(&origin, 1), asked_for(gap));
        assert_eq!(get(&client).await.result, Some(CacheResult::Hit));
        assert_eq!(origin.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn who_wants_a_part_that_overlaps_waits_for_the_rest_only() {
    let origin = server(&[FRESH, TAG]);
    let client = origin.cached();
    part(&client, "bytes=2-5").await;
    for (range, text, gap) in [
        ("bytes=4-7", "4567", "bytes=6-7"),
        ("bytes=1-6", "123456", "bytes=1-1"),
        ("bytes=5-", "56789", "bytes=8-9"),
    ] {
        let calls = origin.calls();
        let got = part(&client, range).await;
        assert_eq!((got.status, got.text()), (206, text), "{range}");
        let expected = format!("bytes {}-{}/10", &text[..1], &text[text.len() - 1..]);
        assert_eq!(got.field("content-range"), Some(&*expected));
        assert_eq!(got.field("content-length"), Some(&*text.len().to_string()));
        assert_eq!(asked(&origin, calls), asked_for(gap), "{range}");
    }
    assert_eq!(part(&client, "bytes=1-9").await.text(), "123456789");
    assert_eq!(origin.calls(), 4);
    // Nothing of it is here: it is asked for as the client did.
    let origin = server(&[FRESH, TAG]);
    let client = origin.cached();
    part(&client, "bytes=2-3").await;
    part(&client, "bytes=7-8").await;
    assert_eq!(asked(&origin, 1), (Some("bytes=7-8".to_owned()), None));
}

#[tokio::test(start_paused = true)]
async fn a_stale_part_is_brought_up_to_date_by_the_rest() {
    let origin = server(&[("cache-control", "max-age=1"), TAG]);
    let client = origin.cached();
    part(&client, "bytes=0-3").await;
    pass(5).await;
    let got = get(&client).await;
    assert_eq!((got.status, got.text()), (200, WHOLE));
    assert!(got.field("cache-status").unwrap().contains("fwd=stale"));
    assert_eq!(asked(&origin, 1), asked_for("bytes=4-9"));
    let hit = get(&client).await;
    assert_eq!((hit.result, hit.field("age")), (Some(CacheResult::Hit), Some("0")));
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_takes_the_place_of_the_part() {
    let origin = Origin::new(|parts, number| match number {
        0 => serve(parts, &[FRESH, TAG]),
        _ => serve(parts, &[FRESH, ("etag", "\"b\""), ("x", "new")]),
    });
    let client = origin.cached();
    part(&client, "bytes=0-3").await;
    let got = get(&client).await;
    assert_eq!((got.status, got.text(), got.field("x")), (200, WHOLE, Some("new")));
    assert_eq!(part(&client, "bytes=0-1").await.field("etag"), Some("\"b\""));
    assert_eq!(origin.calls(), 2);
}

/// Answers to a request for what is missing that do not fit what is stored.
fn misfits() -> Vec<Response<Script>> {
    let to = |fields: &[(&str, &str)], text: &str| {
        let mut all = vec![FRESH];
        all.extend_from_slice(fields);
        respond_with(206, &all, Script::new().data(text.to_owned()))
    };
    let range = |range: &'static str| ("content-range", range);
    vec![
        to(&[("etag", "\"b\""), range("bytes 4-9/10")], "xxxxxx"),
        to(&[("etag", "W/\"a\""), range("bytes 4-9/10")], "xxxxxx"),
        to(&[range("bytes 4-9/10")], "xxxxxx"),
        to(&[TAG, range("bytes 4-9/11")], "xxxxxx"),
        to(&[TAG, range("bytes 4-8/10")], "xxxxx"),
        to(&[TAG, range("bytes 5-9/10")], "xxxxx"),
        to(&[TAG, range("bytes 4-9/*")], "xxxxxx"),
        to(&[TAG, range("lines 4-9/10")], "xxxxxx"),
        to(&[TAG, range("bytes 4-9/10"), range("bytes 4-9/10")], "xxxxxx"),
        to(&[TAG, range("bytes 4-9/10"), ("content-length", "5")], "xxxxx"),
        to(&[TAG, ("content-type", "multipart/byteranges; boundary=x")], "xxxxxx"),
        respond(304, &[TAG]),
        respond(412, &[]),
        respond(416, &[("content-range", "bytes */3")]),
    ]
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_fit_is_asked_for_again_without_conditions() {
    for number in 0..misfits().len() {
        let origin = Origin::new(move |parts, calls| match calls {
            0 => serve(parts, &[FRESH, TAG]),
            1 => misfits().remove(number),
            _ => ok(&[FRESH, TAG], WHOLE),
        });
        let client = origin.cached();
        part(&client, "bytes=0-3").await;
        let got = get(&client).await;
        assert_eq!((got.status, got.text()), (200, WHOLE), "{number}");
        assert_eq!(asked(&origin, 1), asked_for("bytes=4-9"));
        assert_eq!(asked(&origin, 2), (None, None), "{number}");
        assert_eq!(get(&client).await.result, Some(CacheResult::Hit));
        assert_eq!(origin.calls(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_breaks_off_is_an_error_and_the_part_stays() {
    for body in [
        Script::new().data("45").fail("gone"),
        Script::new().data("45"),
        Script::new().data("456789x"),
    ] {
        let body = std::sync::Mutex::new(Some(body));
        let origin = Origin::new(move |parts, number| match number {
            1 => {
                let fields = [FRESH, TAG, ("content-range", "bytes 4-9/10")];
                respond_with(206, &fields, body.lock().unwrap().take().unwrap())
            }
            _ => serve(parts, &[FRESH, TAG]),
        });
        let client = origin.cached();
        part(&client, "bytes=0-3").await;
        let response = send(&client, request("GET", support::URI, &[])).await.unwrap();
        assert!(read(response).await.is_err());
        assert_eq!(part(&client, "bytes=1-2").await.result, Some(CacheResult::Hit));
        assert_eq!(get(&client).await.text(), WHOLE);
        assert_eq!(origin.calls(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn parts_without_a_strong_validator_are_never_put_together() {
    for fields in [
        &[FRESH][..],
        &[FRESH, ("etag", "W/\"a\"")],
        &[FRESH, ("etag", "a")],
        &[
            FRESH,
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("cache-control", "max-age=2000000000"),
        ],
    ] {
        let origin = server(Vec::from(fields).leak());
        let client = origin.cached();
        part(&client, "bytes=0-4").await;
        part(&client, "bytes=5-9").await;
        part(&client, "bytes=3-6").await;
        assert_eq!(asked(&origin, 2), (Some("bytes=3-6".to_owned()), None), "{fields:?}");
        assert_eq!(get(&client).await.result, Some(CacheResult::Miss));
        assert_eq!(asked(&origin, 3), (None, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_date_holds_parts_together_if_it_is_old_enough() {
    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let origin = Origin::new(|parts, number| {
        if number == 1 {
            assert_eq!(parts.headers["if-range"], OLD);
            let fields = [FRESH, ("last-modified", OLD), ("content-range", "bytes 4-9/10")];
            return respond_with(206, &fields, Script::new().data("456789"));
        }
        serve(parts, &[FRESH, ("last-modified", OLD)])
    });
    let client = origin.cached();
    part(&client, "bytes=0-3").await;
    assert_eq!(get(&client).await.text(), WHOLE);
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn spans_are_never_served_as_one_whatever_a_304_says() {
    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Sun, 06 Nov 1994 08:49:59 GMT";
    for (field, stored, named) in
        [("etag", "\"a\"", "W/\"a\""), ("last-modified", OLD, NEW), ("date", OLD, NEW)]
    {
        let origin = Origin::new(move |parts, number| match number {
            0 | 1 => {
                let mut fields = vec![("cache-control", "max-age=1"), (field, stored)];
                if field == "date" {
                    fields.push(TAG);
                }
                serve(parts, &fields)
            }
            _ => respond(304, &[("cache-control", "max-age=60"), (field, named)]),
        });
        let client = origin.cached();
        part(&client, "bytes=2-5").await;
        part(&client, "bytes=8-9").await;
        pass(5).await;
        let condition = if field == "date" { TAG.1 } else { stored };
        let own = [("range", "bytes=3-4"), ("if-range", condition)];
        let got = get_with(&client, &own).await;
        assert_eq!((got.status, got.text()), (206, "34"), "{field}");
        assert_eq!(got.field("content-range"), Some("bytes 3-4/10"), "{field}");
        assert_eq!(origin.calls(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn parts_that_are_coded_otherwise_are_of_other_bytes() {
    let origin = Origin::new(|parts, number| match number {
        0 => serve(parts, &[FRESH, TAG, ("content-encoding", "gzip")]),
        _ => serve(parts, &[FRESH, TAG]),
    });
    let client = origin.cached();
    part(&client, "bytes=0-4").await;
    part(&client, "bytes=5-9").await;
    let got = get(&client).await;
    assert_eq!((got.text(), got.field("content-encoding")), (WHOLE, None));
}

#[tokio::test(start_paused = true)]
async fn a_304_does_not_make_a_date_stand_for_the_bytes() {
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:47 GMT";
    // Modified in the second in which the first answer was made; or with a date that was old enough.
    for (first, stands) in [(AT, false), ("Sun, 06 Nov 1994 08:49:39 GMT", true)] {
        let origin = Origin::new(move |parts, number| {
            let with =
                |date| [("cache-control", "max-age=2000000000"), ("last-modified", AT), date];
            match number {
                0 => ok(&with(("date", first)), WHOLE),
                _ if parts.headers.contains_key("if-modified-since") => {
                    respond(304, &with(("date", LATER)))
                }
                _ => ok(&with(("date", LATER)), WHOLE),
            }
        });
        let client = origin.cached();
        get(&client).await;
        for _ in 0..2 {
            get_with(&client, &[("cache-control", "no-cache")]).await;
            assert_eq!(get(&client).await.field("date"), Some(LATER));
            let own = [("range", "bytes=3-4"), ("if-range", AT)];
            let got = get_with(&client, &own).await;
            let expected = if stands { (206, "34") } else { (200, WHOLE) };
            assert_eq!((got.status, got.text()), expected, "{first}");
            assert_eq!(got.result, Some(CacheResult::Hit));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn parts_are_not_put_together_by_a_date_that_a_304_has_made_old() {
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:47 GMT";
    let origin = Origin::new(|parts, number| {
        let with = |date| [("cache-control", "max-age=2000000000"), ("last-modified", AT), date];
        match number {
            0 => serve(parts, &with(("date", AT))),
            1 => respond(304, &with(("date", LATER))),
            _ => serve(parts, &with(("date", LATER))),
        }
    });
    let client = origin.cached();
    part(&client, "bytes=0-3").await;
    let again = [("range", "bytes=0-3"), ("cache-control", "no-cache")];
    assert_eq!(get_with(&client, &again).await.result, Some(CacheResult::Revalidated));
    assert_eq!(part(&client, "bytes=2-6").await.text(), "23456");
    assert_eq!(asked(&origin, 2), (Some("bytes=2-6".to_owned()), None));
}

#[tokio::test(start_paused = true)]
async fn a_clients_own_if_range_is_judged_by_what_is_stored() {
    let origin = server(&[FRESH, TAG]);
    let client = origin.cached();
    part(&client, "bytes=2-5").await;
    let with = async |range: &str, condition: &str| {
        get_with(&client, &[("range", range), ("if-range", condition)]).await
    };
    assert_eq!(with("bytes=3-4", "\"a\"").await.result, Some(CacheResult::Hit));
    assert_eq!(with("bytes=4-6", "\"a\"").await.text(), "456");
    assert_eq!(asked(&origin, 1), asked_for("bytes=6-6"));
    // The origin knows whether it has another; it answers with the whole.
    let other = with("bytes=3-4", "\"b\"").await;
    assert_eq!((other.status, other.text()), (200, WHOLE));
    assert_eq!(asked(&origin, 2).1.as_deref(), Some("\"b\""));
}

#[tokio::test(start_paused = true)]
async fn who_asks_meanwhile_reads_the_rest_along() {
    let origin = Origin::new(|parts, _| {
        let reply = Reply::from(serve(parts, &[FRESH, TAG]));
        reply.after(std::time::Duration::from_secs(1))
    });
    let client = origin.cached();
    part(&client, "bytes=0-3").await;
    let all = (0..20).map(|_| get(&client));
    for got in futures_util::future::join_all(all).await {
        assert_eq!((got.status, got.text()), (200, WHOLE));
    }
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_renewed_in_the_background_is_nobodys_whole() {
    let origin = Origin::new(|parts, number| {
        let fields = [("cache-control", "max-age=1, stale-while-revalidate=60"), TAG];
        let renewed = number == 1;
        let reply =
            Reply::from(if renewed { respond(304, &fields) } else { serve(parts, &fields) });
        reply.after(std::time::Duration::from_secs(u64::from(renewed)))
    });
    let client = origin.cached();
    part(&client, "bytes=0-3").await;
    pass(2).await;
    assert_eq!(part(&client, "bytes=0-1").await.result, Some(CacheResult::Stale));
    settle().await;
    let got = get(&client).await;
    assert_eq!((got.status, got.text()), (200, WHOLE));
}

#[tokio::test(start_paused = true)]
async fn what_is_refreshed_is_asked_for_as_a_whole() {
    let origin = server(&[FRESH, TAG]);
    let client = origin.cached();
    part(&client, "bytes=0-3").await;
    let mut refresh = request("GET", support::URI, &[]);
    refresh.extensions_mut().insert(CacheDirective::refresh());
    assert_eq!(read(send(&client, refresh).await.unwrap()).await.unwrap().text(), WHOLE);
    assert_eq!(asked(&origin, 1), (None, None));
}

#[tokio::test(start_paused = true)]
async fn parts_take_no_more_room_than_a_body_may() {
    let origin = server(&[FRESH, TAG]);
    for (small, large) in [("bytes=6-8", "bytes=0-3"), ("bytes=7-8", "bytes=0-4")] {
        for order in [[small, large], [large, small]] {
            let client = origin.behind(&layer().max_body(5));
            for range in order {
                part(&client, range).await;
            }
            assert_eq!(part(&client, large).await.result, Some(CacheResult::Hit), "{order:?}");
            assert_eq!(part(&client, small).await.result, Some(CacheResult::Miss));
            let got = get(&client).await;
            assert_eq!((got.status, got.text()), (200, WHOLE));
            assert_eq!(part(&client, large).await.result, Some(CacheResult::Hit), "it stays");
        }
    }
}
