//! What `buttress serve --cache` does with answers, seen from both ends of real connections.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a helper that panics fails its test")]

mod origin;
mod parts;
mod rows;
#[path = "../support/mod.rs"]
mod support;

use origin::Origin;
use rows::{
    FAR, ROWS,
    Second::{Asked, Kept},
};
use support::{Gateway, Head};

fn answer(status: u16, fields: &str, body: &str) -> String {
    let fields = fields.replace('\n', "\r\n");
    let length = body.len();
    let fields = if fields.is_empty() { fields } else { format!("{fields}\r\n") };
    let framing = if matches!(status, 204 | 304) {
        String::new()
    } else {
        format!("content-length: {length}\r\n")
    };
    format!("HTTP/1.1 {status} Status\r\nconnection: close\r\n{framing}{fields}\r\n{body}")
}

/// Sends one request and reads its answer.
fn ask(gateway: &Gateway, method: &str, path: &str, fields: &str, body: &str) -> (Head, String) {
    let mut peer = gateway.connect();
    let fields = fields.replace('\n', "\r\n");
    let fields = if fields.is_empty() { fields } else { format!("{fields}\r\n") };
    let length =
        if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    peer.send(format!(
        "{method} {path} HTTP/1.1\r\nhost: site.example\r\n{length}{fields}\r\n{body}"
    ));
    let head = peer.head();
    let bodiless = method == "HEAD" || matches!(head.status(), 204 | 304);
    let body = if bodiless { Vec::new() } else { peer.body(&head) };
    (head, String::from_utf8(body).unwrap())
}

fn get(gateway: &Gateway, path: &str, fields: &str) -> (Head, String) {
    ask(gateway, "GET", path, fields, "")
}

fn start(origin: &Origin, profile: &str) -> Gateway {
    let flags = ["--cache", "16MiB", "--cache-profile", profile, "--policy", "off"];
    Gateway::start(&origin.url, &flags)
}

#[test]
fn the_second_of_two_equal_requests() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    for (number, (section, status, fields, request, second)) in ROWS.iter().enumerate() {
        let path = format!("/{number}");
        let case = format!("section {section}, {status}: {fields:?} for {request:?}");
        let (one, two) = (answer(*status, fields, "one"), answer(*status, "", "two"));
        origin.answers(&path, vec![one, two]);
        get(&gateway, &path, request);
        let (head, body) = get(&gateway, &path, request);
        let expected = match second {
            Kept if *status == 204 => ("", head.field("age").is_some()),
            Kept => ("one", head.field("age").is_some()),
            Asked => ("two", false),
        };
        let came = (body.as_str(), head.field("age").is_some());
        assert_eq!(came, (expected.0, *second == Kept), "{case}: {head:?}");
        assert_eq!(head.status(), *status, "{case}");
        assert_eq!(head.all("cache-status").len(), 1, "{case}");
    }
}

#[test]
fn an_expiry_is_a_date_in_one_of_three_formats_and_nothing_else() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    let dates = [
        (FAR, Kept),
        ("sun, 06 NOV 2095 08:49:37 gmt", Kept),
        ("Sun Nov  6 08:49:37 2095", Kept),
        ("Sunday, 06-Nov-50 08:49:37 GMT", Kept),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Asked),
        ("0", Asked),
        ("Sun, 6 Nov 2095 08:49:37 GMT", Asked),
        ("Sun, 06-Nov-2095 08:49:37 GMT", Asked),
        ("Sun, 06 Nov 2095 08:49:37 AEST", Asked),
        ("Sun 06 Nov 2095 08:49:37 GMT", Asked),
    ];
    for (number, (date, second)) in dates.iter().enumerate() {
        let path = format!("/{number}");
        let fields = format!("expires: {date}");
        origin.answers(&path, vec![answer(200, &fields, "one"), answer(200, "", "two")]);
        get(&gateway, &path, "");
        let (_, body) = get(&gateway, &path, "");
        assert_eq!(body == "one", *second == Kept, "{date}");
    }
}

#[test]
fn a_stale_answer_is_confirmed_and_brought_up_to_date() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    let stale =
        "etag: \"a\"\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\ncache-control: max-age=0\nx: 1";
    let fresh = "etag: \"a\"\ncache-control: max-age=60\nx: 2\ny: 3\nkeep-alive: timeout=9";
    origin.answers("/a", vec![answer(200, stale, "body"), answer(304, fresh, "")]);
    get(&gateway, "/a", "");
    for _ in 0..2 {
        let (head, body) = get(&gateway, "/a", "");
        assert_eq!((head.status(), body.as_str()), (200, "body"));
        assert_eq!((head.field("x"), head.field("y")), (Some("2"), Some("3")));
        assert_eq!(head.field("content-length"), Some("4"));
        assert_eq!(head.field("keep-alive"), None);
    }
    let seen = origin.seen("/a");
    assert_eq!(seen.len(), 2);
    let sent = |name: &str| seen[1].iter().find(|field| field.0.eq_ignore_ascii_case(name));
    assert_eq!(sent("if-none-match").unwrap().1, "\"a\"");
    assert!(sent("if-modified-since").is_some());
}

#[test]
fn a_client_that_has_it_gets_304_and_one_that_wants_a_part_gets_206() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    let fields = "etag: \"a\"\ncache-control: max-age=60\ncontent-type: text/plain";
    origin.answers("/a", vec![answer(200, fields, "0123456789")]);
    get(&gateway, "/a", "");
    for tags in ["\"a\"", "W/\"a\"", "\"x\", \"a\"", "*"] {
        let (head, _) = get(&gateway, "/a", &format!("if-none-match: {tags}"));
        assert_eq!((head.status(), head.field("etag")), (304, Some("\"a\"")), "{tags}");
    }
    for (range, status, part) in [
        ("bytes=2-4", 206, "234"),
        ("bytes=-2", 206, "89"),
        ("bytes=7-", 206, "789"),
        ("bytes=50-", 416, ""),
        ("x=1-2", 200, "0123456789"),
    ] {
        let (head, body) = get(&gateway, "/a", &format!("range: {range}"));
        assert_eq!((head.status(), body.as_str()), (status, part), "{range}");
    }
    let (head, body) = ask(&gateway, "HEAD", "/a", "", "");
    assert_eq!((head.status(), head.field("content-length"), body.as_str()), (200, Some("10"), ""));
    assert_eq!(origin.calls("/a"), 1);
}

#[test]
fn other_methods_reach_the_origin_and_make_answers_invalid() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    for (number, method) in ["POST", "PUT", "DELETE", "M-SEARCH"].into_iter().enumerate() {
        for (status, gone) in [(200, true), (500, false)] {
            let path = format!("/{number}/{status}");
            let other = format!("/other/{number}/{status}");
            let absolute = format!("location: http://site.example{other}");
            let fresh = answer(200, "cache-control: max-age=60", "a");
            origin
                .answers(&path, vec![fresh.clone(), answer(status, &absolute, ""), fresh.clone()]);
            origin.answers(&other, vec![fresh]);
            get(&gateway, &path, "");
            get(&gateway, &other, "");
            assert_eq!(ask(&gateway, method, &path, "", "").0.status(), status);
            get(&gateway, &path, "");
            get(&gateway, &other, "");
            assert_eq!(origin.calls(&path), 2 + usize::from(gone), "{method} {status}");
            assert_eq!(origin.calls(&other), 1 + usize::from(gone), "{method} {status}");
        }
    }
    for method in ["OPTIONS", "PROPFIND"] {
        origin.answers("/m", vec![answer(200, "cache-control: max-age=60", "a")]);
        let before = origin.calls("/m");
        ask(&gateway, method, "/m", "", "");
        ask(&gateway, method, "/m", "", "");
        assert_eq!(origin.calls("/m"), before + 2);
    }
}

#[test]
fn variants_are_kept_side_by_side() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    let fields = "cache-control: max-age=60\nvary: accept-language, foo";
    origin.answers("/v", vec![answer(200, fields, "de"), answer(200, fields, "fr")]);
    for _ in 0..2 {
        for (asked, got) in [("de", "de"), ("fr", "fr"), ("DE", "de")] {
            assert_eq!(get(&gateway, "/v", &format!("accept-language: {asked}")).1, got);
        }
    }
    assert_eq!(origin.calls("/v"), 2);
}

#[test]
fn an_origin_that_is_gone_is_stood_in_for_only_where_that_is_allowed() {
    for (profile, control, status) in [
        ("rfc", "max-age=60", 200),
        ("rfc", "max-age=60, must-revalidate", 502),
        ("rfc", "s-maxage=60", 502),
        ("rfc", "max-age=60, no-cache", 502),
        ("safe", "max-age=60", 502),
        ("safe", "max-age=60, stale-if-error=60", 200),
    ] {
        let origin = Origin::new();
        let gateway = start(&origin, profile);
        let first = answer(200, &format!("age: 61\netag: \"a\"\ncache-control: {control}"), "a");
        // An empty answer is a connection that ends.
        origin.answers("/s", vec![first, String::new()]);
        get(&gateway, "/s", "");
        assert_eq!(get(&gateway, "/s", "").0.status(), status, "{profile}: {control}");
    }
}

#[test]
fn a_host_or_a_forwarding_header_of_ones_own_reaches_nobody_else() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    let fresh = "cache-control: max-age=60";
    origin.answers("/h", vec![answer(200, fresh, "evil"), answer(200, fresh, "good")]);
    assert_eq!(get(&gateway, "/h", "x-forwarded-host: evil.example").1, "evil");
    assert_eq!(get(&gateway, "/h", "").1, "good");
    assert_eq!(get(&gateway, "/h", "x-forwarded-host: evil.example").1, "evil");
    assert_eq!(get(&gateway, "/h", "").1, "good");
}

#[test]
fn the_same_prompt_is_answered_once_for_each_credential() {
    let origin = Origin::new();
    let flags = ["--cache", "16MiB", "--cache-posts", "/v1/chat/completions", "--cache-ttl", "1h"];
    let gateway = Gateway::start(&origin.url, &flags);
    let path = "/v1/chat/completions";
    let stream = "content-type: text/event-stream";
    let answers = (0..5).map(|number| answer(200, stream, &format!("data: {number}\n\n")));
    origin.answers(path, answers.collect());
    let prompt = |key: &str, body: &str| {
        let fields = format!("authorization: Bearer {key}\ncontent-type: application/json");
        ask(&gateway, "POST", path, &fields, body)
    };
    let one = r#"{"model":"m","messages":[{"content":"hello"}],"stream":true}"#;
    let same = r#"{ "stream": true, "messages": [{"content":"hello"}], "model": "m" }"#;
    let other = r#"{"model":"m","messages":[{"content":"bye"}],"stream":true}"#;
    assert_eq!(prompt("alice", one).1, "data: 0\n\n");
    let (head, body) = prompt("alice", same);
    assert_eq!(body, "data: 0\n\n");
    assert!(head.field("cache-status").unwrap().starts_with("buttress; hit"), "{head:?}");
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    assert_eq!(prompt("bob", one).1, "data: 1\n\n");
    assert_eq!(prompt("alice", other).1, "data: 2\n\n");
    assert_eq!(ask(&gateway, "POST", path, "", one).1, "data: 3\n\n", "nobody's is nobody's");
    assert_eq!(ask(&gateway, "POST", path, "", one).1, "data: 4\n\n");
    let sent = &origin.seen.lock().unwrap()[0];
    assert_eq!(sent.2, one.as_bytes(), "the body passes as it came");
}

#[test]
fn the_answer_to_a_get_with_content_is_for_nobody_else() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    let fresh = "cache-control: max-age=60";
    let one = |text| answer(200, fresh, text);
    origin.answers("/f", vec![one("chunked"), one("long"), one("plain")]);
    let mut peer = gateway.connect();
    peer.send("GET /f HTTP/1.1\r\nhost: site.example\r\ntransfer-encoding: chunked\r\n\r\n");
    // The upload goes on while the answer comes.
    let head = peer.head();
    assert_eq!(peer.body(&head), b"chunked");
    assert_eq!(ask(&gateway, "GET", "/f", "", "content").1, "long");
    for _ in 0..2 {
        assert_eq!(get(&gateway, "/f", "").1, "plain");
    }
}

#[test]
fn without_the_flag_nothing_is_kept_and_nothing_is_said() {
    let origin = Origin::new();
    let gateway = Gateway::start(&origin.url, &[]);
    origin.answers("/n", vec![answer(200, "cache-control: max-age=60", "a")]);
    get(&gateway, "/n", "");
    assert_eq!(get(&gateway, "/n", "").0.field("cache-status"), None);
    assert_eq!(origin.calls("/n"), 2);
}

#[test]
fn a_setting_that_cannot_be_met_is_named() {
    for (flags, word) in [
        (&["--cache", "1KiB"][..], "--cache"),
        (&["--cache", "much"], "--cache"),
        (&["--cache", "1MiB", "--cache-posts", "chat"], "--cache-posts"),
        (&["--cache", "1MiB", "--cache-scope", "all"], "--cache-scope"),
        (&["--cache", "1MiB", "--cache-ttl", "0s"], "--cache-ttl"),
        (&["--cache-posts", "/chat"], "--cache <SIZE>"),
    ] {
        let mut arguments = vec!["serve", "--upstream", "http://127.0.0.1:9", "--no-check"];
        arguments.extend_from_slice(flags);
        let output = support::run(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn an_answer_is_taken_as_it_is_unless_retries_are_asked_for() {
    for (flags, calls) in [(&[][..], 1), (&["--policy", "http", "--backoff-max", "1ms"], 3)] {
        let origin = Origin::new();
        let mut all = vec!["--cache", "16MiB"];
        all.extend_from_slice(flags);
        let gateway = Gateway::start(&origin.url, &all);
        origin.answers("/e", vec![answer(503, "cache-control: max-age=60", "busy")]);
        for _ in 0..2 {
            assert_eq!(get(&gateway, "/e", "").1, "busy");
        }
        assert_eq!(origin.calls("/e"), calls, "{flags:?}");
    }
}

#[test]
fn spellings_of_one_host_are_one_resource_and_a_change_is_of_all_its_answers() {
    let origin = Origin::new();
    let gateway = start(&origin, "rfc");
    let ask_at = |method: &str, host: &str, fields: &str| {
        let mut peer = gateway.connect();
        peer.send(format!("{method} /s HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n"));
        let head = peer.head();
        String::from_utf8(peer.body(&head)).unwrap()
    };
    let answers =
        (0..20).map(|number| answer(200, "cache-control: max-age=60", &number.to_string()));
    origin.answers("/s", answers.collect());
    let spellings = ["site.example", "SITE.example", "site.example:80", "site.example:"];
    for spelling in spellings {
        assert_eq!(ask_at("GET", spelling, ""), "0", "{spelling}");
    }
    let heard = |head: &[(String, String)]| {
        let host = head.iter().find(|field| field.0.eq_ignore_ascii_case("x-forwarded-host"));
        host.unwrap().1.clone()
    };
    assert_eq!(heard(&origin.seen("/s")[0]), "site.example");
    let mut calls = 1;
    for spelling in spellings {
        assert_eq!(ask_at("PUT", spelling, ""), calls.to_string());
        assert_eq!(ask_at("GET", "site.example", ""), (calls + 1).to_string(), "{spelling}");
        calls += 2;
    }
    for fields in ["x-forwarded-host: a\r\n", "x-forwarded-proto: https\r\n", "x-host: a\r\n"] {
        assert_eq!(ask_at("DELETE", "site.example", fields), calls.to_string());
        assert_eq!(ask_at("GET", "site.example", ""), (calls + 1).to_string(), "{fields}");
        calls += 2;
    }
    assert_eq!(ask_at("GET", "site.example:81", ""), calls.to_string(), "another server");
}
