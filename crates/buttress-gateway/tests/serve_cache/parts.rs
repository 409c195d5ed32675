//! Parts of answers, and variants that the origin selects, over real connections.

use crate::{Head, Origin, answer, ask, get, start};

const FRESH: &str = "etag: \"a\"\ncache-control: max-age=60";

fn part(range: &str, body: &str) -> String {
    answer(206, &format!("{FRESH}\ncontent-range: bytes {range}/10"), body)
}

/// A field of a request that arrived.
fn sent<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let field = fields.iter().find(|field| field.0.eq_ignore_ascii_case(name));
    field.map(|field| field.1.as_str())
}

fn said(head: &Head) -> &str {
    head.field("cache-status").unwrap()
}

#[test]
fn a_part_is_kept_for_who_asks_for_what_lies_in_it() {
    for profile in ["rfc", "safe"] {
        let origin = Origin::new();
        let gateway = start(&origin, profile);
        origin.answers("/p", vec![part("2-6", "23456")]);
        for (range, content, body) in [
            ("bytes=2-6", "bytes 2-6/10", "23456"),
            ("bytes=2-6", "bytes 2-6/10", "23456"),
            ("bytes=3-4", "bytes 3-4/10", "34"),
            ("bytes=6-6", "bytes 6-6/10", "6"),
        ] {
            let (head, got) = get(&gateway, "/p", &format!("range: {range}"));
            assert_eq!((head.status(), got.as_str()), (206, body), "{range}");
            assert_eq!(head.field("content-range"), Some(content), "{range}");
        }
        let (head, _) = get(&gateway, "/p", "range: bytes=3-4");
        assert!(said(&head).starts_with("buttress; hit; ttl="), "{head:?}");
        assert!(head.field("age").is_some());
        let (head, _) = get(&gateway, "/p", "range: bytes=10-");
        assert_eq!((head.status(), head.field("content-range")), (416, Some("bytes */10")));
        assert_eq!(origin.calls("/p"), 1);
    }
}

#[test]
fn the_missing_bytes_are_asked_for_and_put_into_the_whole() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    for (number, (first, rest)) in [
        (("bytes=0-3", part("0-3", "0123")), ("bytes=4-9", part("4-9", "456789"))),
        (("bytes=-4", part("6-9", "6789")), ("bytes=0-5", part("0-5", "012345"))),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/j{number}");
        origin.answers(&path, vec![first.1, rest.1, answer(500, "", "")]);
        get(&gateway, &path, &format!("range: {}", first.0));
        let (head, body) = get(&gateway, &path, "");
        assert_eq!((head.status(), body.as_str()), (200, "0123456789"));
        assert_eq!((head.field("content-length"), head.field("content-range")), (Some("10"), None));
        assert!(said(&head).contains("fwd=partial; fwd-status=206; stored"), "{head:?}");
        let seen = origin.seen(&path);
        assert_eq!(sent(&seen[1], "range"), Some(rest.0));
        assert_eq!(sent(&seen[1], "if-range"), Some("\"a\""));
        assert_eq!(get(&gateway, &path, "").1, "0123456789");
        assert_eq!(get(&gateway, &path, "range: bytes=3-6").1, "3456");
        assert_eq!(origin.calls(&path), 2);
    }
}

#[test]
fn a_part_that_overlaps_is_completed_and_two_parts_become_one() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    let answers = vec![part("0-3", "0123"), part("4-5", "45"), part("6-9", "6789")];
    origin.answers("/o", answers);
    get(&gateway, "/o", "range: bytes=0-3");
    let (head, body) = get(&gateway, "/o", "range: bytes=2-5");
    assert_eq!((head.status(), body.as_str()), (206, "2345"));
    assert_eq!(head.field("content-range"), Some("bytes 2-5/10"));
    assert_eq!(get(&gateway, "/o", "range: bytes=6-9").1, "6789");
    let (head, body) = get(&gateway, "/o", "");
    assert_eq!((head.status(), body.as_str()), (200, "0123456789"));
    assert_eq!(origin.calls("/o"), 3);
}

#[test]
fn parts_of_two_versions_are_never_one() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    let new = "etag: \"b\"\ncache-control: max-age=60";
    let fields = format!("{new}\ncontent-range: bytes 4-9/10");
    let answers =
        vec![part("0-3", "0123"), answer(206, &fields, "xxxxxx"), answer(200, new, "new")];
    origin.answers("/v", answers);
    get(&gateway, "/v", "range: bytes=0-3");
    assert_eq!(get(&gateway, "/v", "").1, "new");
    let seen = origin.seen("/v");
    assert_eq!((seen.len(), sent(&seen[2], "range"), sent(&seen[2], "if-range")), (3, None, None));
    // Weak: never asked for in part.
    let weak = "etag: W/\"a\"\ncache-control: max-age=60";
    let first = answer(206, &format!("{weak}\ncontent-range: bytes 0-3/10"), "0123");
    origin.answers("/w", vec![first, answer(200, weak, "0123456789")]);
    get(&gateway, "/w", "range: bytes=0-3");
    assert_eq!(get(&gateway, "/w", "range: bytes=1-2").1, "12");
    assert_eq!(get(&gateway, "/w", "").1, "0123456789");
    assert_eq!(sent(&origin.seen("/w")[1], "range"), None);
}

#[test]
fn a_rest_that_breaks_off_is_not_taken_for_the_whole() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    let short = part("4-9", "456789").replace("456789", "45");
    origin.answers("/s", vec![part("0-3", "0123"), short, part("4-9", "456789")]);
    get(&gateway, "/s", "range: bytes=0-3");
    let mut peer = gateway.connect();
    peer.send("GET /s HTTP/1.1\r\nhost: site.example\r\n\r\n");
    let head = peer.head();
    assert_eq!((head.status(), head.field("content-length")), (200, Some("10")));
    assert!(peer.rest().0.len() < 10);
    assert_eq!(get(&gateway, "/s", "").1, "0123456789");
    assert_eq!(origin.calls("/s"), 3);
}

#[test]
fn the_origin_may_select_a_variant_for_other_values() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    let fields = format!("{FRESH}\nvary: accept-language");
    origin.answers("/l", vec![answer(200, &fields, "text"), answer(304, &fields, "")]);
    get(&gateway, "/l", "accept-language: en");
    for language in ["fr", "en", "fr"] {
        let (head, body) = get(&gateway, "/l", &format!("accept-language: {language}"));
        assert_eq!((head.status(), body.as_str()), (200, "text"));
    }
    assert_eq!(sent(&origin.seen("/l")[1], "if-none-match"), Some("\"a\""));
    assert_eq!(origin.calls("/l"), 2);
}

#[test]
fn a_304_that_names_another_answer_is_asked_again() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    let stale = "etag: \"a\"\ncache-control: max-age=0";
    let answers = vec![
        answer(200, stale, "old"),
        answer(304, "etag: \"b\"", ""),
        answer(200, "etag: \"b\"\ncache-control: max-age=60", "new"),
    ];
    origin.answers("/x", answers);
    get(&gateway, "/x", "");
    assert_eq!(get(&gateway, "/x", "").1, "new");
    assert_eq!(get(&gateway, "/x", "").1, "new");
    assert_eq!(origin.calls("/x"), 3);
}

#[test]
fn an_answer_about_the_request_or_the_moment_leaves_what_is_stored() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    let stale = "etag: \"a\"\ncache-control: max-age=0";
    for (status, stays) in [
        (401, true),
        (403, true),
        (429, true),
        (400, true),
        (500, true),
        (503, true),
        (404, false),
        (410, false),
        (451, false),
        (200, false),
        (301, false),
    ] {
        let path = format!("/n{status}");
        let no = answer(status, "cache-control: no-store", "no");
        origin.answers(&path, vec![answer(200, stale, "old"), no, answer(304, FRESH, "")]);
        get(&gateway, &path, "");
        assert_eq!(ask(&gateway, "GET", &path, "", "").0.status(), status);
        get(&gateway, &path, "");
        let asked = origin.seen(&path)[2].clone();
        assert_eq!(sent(&asked, "if-none-match").is_some(), stays, "{status}");
    }
}
