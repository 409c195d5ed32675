//! What a client may ask for, and what an upstream is sent, in so much time.

#![expect(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use support::{Gateway, Head, OK, Upstream, run};
use tokio::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// Answers so many requests, each on a connection of its own.
fn answering(
    upstream: Upstream,
    requests: usize,
    answer: &'static str,
) -> JoinHandle<Vec<Instant>> {
    thread::spawn(move || {
        let one = |_| {
            let mut server = upstream.accept();
            let head = server.head();
            if let Some(length) = head.field("content-length") {
                server.bytes(length.parse().unwrap());
            }
            let now = Instant::now();
            server.send(answer);
            now
        };
        (0..requests).map(one).collect()
    })
}

fn ask(gateway: &Gateway, request: &str) -> (Head, Vec<u8>) {
    let mut client = gateway.connect();
    client.send(request);
    let head = client.head();
    let body = client.body(&head);
    (head, body)
}

fn statuses(gateway: &Gateway, requests: &[&str]) -> Vec<u16> {
    requests.iter().map(|request| ask(gateway, request).0.status()).collect()
}

#[test]
fn a_client_that_asks_too_much_is_told_when_to_come_back() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--limit", "3/hour"]);
    let server = answering(upstream, 3, OK);
    assert_eq!(statuses(&gateway, &[GET; 3]), [200; 3]);
    server.join().unwrap();
    let (head, body) = ask(&gateway, GET);
    assert_eq!(head.status(), 429);
    let after: u32 = head.field("retry-after").unwrap().parse().unwrap();
    assert!((1_190..=1_200).contains(&after), "{after}");
    assert!(head.field("ratelimit").unwrap().starts_with("\"per-hour\";r=0;t="));
    assert_eq!(head.field("ratelimit-policy"), Some("\"per-hour\";q=3;w=3600"));
    assert_eq!(head.field("content-type"), Some("application/json"));
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(error["error"]["type"], "rate_limit_error");
    assert_eq!(error["error"]["code"], "rate_limited");
}

#[test]
fn several_limits_hold_together_and_one_may_have_a_burst() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--limit", "100/day 2/hour"]);
    let server = answering(upstream, 2, OK);
    assert_eq!(statuses(&gateway, &[GET; 4]), [200, 200, 429, 429]);
    server.join().unwrap();
    let upstream = Upstream::new();
    let flags = ["--limit", "100/day", "--limit-burst", "1"];
    let gateway = Gateway::start(&upstream.url(), &flags);
    let server = answering(upstream, 1, OK);
    assert_eq!(statuses(&gateway, &[GET; 3]), [200, 429, 429]);
    server.join().unwrap();
}

#[test]
fn what_a_client_says_of_its_address_counts_only_behind_a_trusted_proxy() {
    let from = |address: &str| {
        format!(
            "GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {address}\r\nconnection: close\r\n\r\n"
        )
    };
    let requests = ["1.1.1.1", "2.2.2.2", "3.3.3.3, 2.2.2.2"].map(from);
    let requests: Vec<_> = requests.iter().map(String::as_str).collect();
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--limit", "1/hour"]);
    let server = answering(upstream, 1, OK);
    assert_eq!(statuses(&gateway, &requests), [200, 429, 429]);
    server.join().unwrap();
    let upstream = Upstream::new();
    let flags = ["--limit", "1/hour", "--trusted-proxy", "10.0.0.0/8 127.0.0.1"];
    let gateway = Gateway::start(&upstream.url(), &flags);
    let server = answering(upstream, 2, OK);
    assert_eq!(statuses(&gateway, &requests), [200, 200, 429]);
    server.join().unwrap();
}

#[test]
fn clients_can_be_told_apart_by_their_credentials() {
    let with = |key: &str| {
        let field = format!("authorization: Bearer {key}\r\nconnection: close");
        format!("GET / HTTP/1.1\r\nhost: x\r\n{field}\r\n\r\n")
    };
    let (a, b) = (with("sk-a"), with("sk-b"));
    let upstream = Upstream::new();
    let gateway =
        Gateway::start(&upstream.url(), &["--limit", "1/hour", "--limit-key", "credential"]);
    let server = answering(upstream, 3, OK);
    assert_eq!(statuses(&gateway, &[&a, &b, &a, GET, GET, &b]), [200, 200, 429, 200, 429, 429]);
    server.join().unwrap();
    assert!(!gateway.log().contains("sk-"));
}

#[test]
fn a_dry_run_refuses_nobody_and_says_whom_it_would_have() {
    let upstream = Upstream::new();
    let flags = ["--limit", "1/hour", "--limit-dry-run"];
    let gateway = Gateway::start(&upstream.url(), &flags);
    let server = answering(upstream, 3, OK);
    assert_eq!(statuses(&gateway, &[GET; 3]), [200; 3]);
    server.join().unwrap();
    let log = gateway.log();
    assert_eq!(log.matches("would have been refused by --limit").count(), 2, "{log}");
}

#[test]
fn requests_beyond_the_upstreams_limit_wait_in_line() {
    let upstream = Upstream::new();
    // One in 55 ms, after a burst of 120.
    let gateway = Gateway::start(&upstream.url(), &["--upstream-rpm", "1200"]);
    let (begun, server) = (Instant::now(), answering(upstream, 124, OK));
    assert_eq!(statuses(&gateway, &[GET; 124]), [200; 124]);
    let took = server.join().unwrap()[123].duration_since(begun);
    assert!(took >= Duration::from_millis(200), "{took:?}");
}

#[test]
fn a_wait_that_would_be_too_long_is_refused_at_once_and_not_tried_again() {
    let upstream = Upstream::new();
    let flags = ["--upstream-rpm", "1", "--upstream-max-wait", "2s", "--policy", "llm"];
    let gateway = Gateway::start(&upstream.url(), &flags);
    let server = answering(upstream, 1, OK);
    let begun = Instant::now();
    assert_eq!(ask(&gateway, GET).0.status(), 200);
    server.join().unwrap();
    let (head, body) = ask(&gateway, GET);
    assert_eq!(head.status(), 429);
    assert!(begun.elapsed() < Duration::from_secs(5), "it was not waited for");
    let after: u32 = head.field("retry-after").unwrap().parse().unwrap();
    assert!((55..=61).contains(&after), "{after}");
    assert_eq!(head.field("x-should-retry"), None, "the client may try again");
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(error["error"]["code"], "upstream_rate_limited");
}

#[test]
fn tokens_are_estimated_and_put_right_by_the_answer() {
    const USED: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\
        content-length: 29\r\n\r\n{\"usage\":{\"total_tokens\":10}}";
    let body = "x".repeat(400);
    let post = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-length: 400\r\n\r\n{body}"
    );
    let flags = ["--upstream-tpm", "1400", "--upstream-max-wait", "1ms"];
    // Estimated at 100 of input and 500 of output; 700 may go at once.
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &flags);
    let server = answering(upstream, 5, USED);
    assert_eq!(statuses(&gateway, &[&*post; 5]), [200; 5]);
    server.join().unwrap();
    // Where the answer does not say, the estimate stands.
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &flags);
    let server = answering(upstream, 1, OK);
    assert_eq!(statuses(&gateway, &[&*post; 3]), [200, 429, 429]);
    server.join().unwrap();
}

const BUSY: &str = "HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\nretry-after: 60\r\n\
    content-length: 0\r\n\r\n";

#[test]
fn an_upstream_that_says_when_to_come_back_is_left_alone_until_then() {
    let upstream = Upstream::new();
    let flags = ["--upstream-rpm", "1000", "--upstream-max-wait", "5s", "--policy", "off"];
    let gateway = Gateway::start(&upstream.url(), &flags);
    let server = answering(upstream, 1, BUSY);
    let (head, _) = ask(&gateway, GET);
    assert_eq!((head.status(), head.field("retry-after")), (429, Some("60")), "the upstream's own");
    server.join().unwrap();
    let (head, body) = ask(&gateway, GET);
    assert_eq!(head.status(), 429);
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(error["error"]["code"], "upstream_rate_limited");
}

#[test]
fn an_upstream_that_says_that_it_allows_less_is_sent_less() {
    const LESS: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\
        x-ratelimit-limit-requests: 100\r\ncontent-length: 0\r\n\r\n";
    let upstream = Upstream::new();
    // 100 at once; of 100 in a minute 11, and then one in two thirds of a second.
    let flags = ["--upstream-rpm", "1000", "--upstream-max-wait", "1ms", "--policy", "off"];
    let gateway = Gateway::start(&upstream.url(), &flags);
    let begun = Instant::now();
    // It is sent fewer than it would answer, so it is not waited for.
    drop(answering(upstream, 60, LESS));
    let passed = statuses(&gateway, &[GET; 60]).into_iter().filter(|status| *status == 200).count();
    let more = usize::try_from(begun.elapsed().as_millis() / 600).unwrap();
    assert!((11..=12 + more).contains(&passed), "{passed}");
}

#[test]
fn one_of_several_upstreams_that_says_so_does_not_hold_back_the_others() {
    let (one, other) = (Upstream::new(), Upstream::new());
    let flags = ["--upstream-rpm", "1000", "--upstream-max-wait", "5s", "--policy", "off"];
    let gateway = Gateway::over(&[&one.url(), &other.url()], &flags);
    let servers = [one, other].map(|upstream| answering(upstream, 1, BUSY));
    for _ in 0..2 {
        // Each from another upstream, neither of the gateway's own.
        let (head, body) = ask(&gateway, GET);
        assert_eq!((head.status(), head.field("retry-after")), (429, Some("60")));
        assert!(body.is_empty());
    }
    servers.into_iter().for_each(|server| drop(server.join().unwrap()));
}

#[test]
fn without_flags_nothing_is_limited() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let server = answering(upstream, 50, OK);
    assert_eq!(statuses(&gateway, &[GET; 50]), [200; 50]);
    server.join().unwrap();
}

#[test]
fn every_bad_limit_is_named_on_one_line() {
    for flags in [
        &["--limit", "60"][..],
        &["--limit", "60/week"],
        &["--limit", "0/minute"],
        &["--limit", "-1/minute"],
        &["--limit", "99999999999/second"],
        &["--limit-burst", "0"],
        &["--limit-burst", "5"],
        &["--limit-burst", "5", "--limit", "1/s 2/day"],
        &["--limit", "1/s 2/s"],
        &["--limit-key", "cookie"],
        &["--trusted-proxy", "proxy.example"],
        &["--trusted-proxy", "10.0.0.0/33"],
        &["--upstream-rpm", "0"],
        &["--upstream-tpm", "many"],
        &["--upstream-max-wait", "0s"],
        &["--upstream-max-queue", "-1"],
    ] {
        let output =
            run(&[&["serve", "--no-check", "--upstream", "http://127.0.0.1:9"], flags].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {error}");
        let line = error.strip_suffix('\n').unwrap();
        assert!(line.starts_with("error: ") && !line.contains('\n'), "{flags:?}: {error}");
        assert!(line.contains(flags[0]), "{flags:?}: {error}");
    }
}
