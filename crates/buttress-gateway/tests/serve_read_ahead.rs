//! Requests that are read before they are sent, where their tokens are limited.

#![expect(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use support::{Gateway, OK, Upstream};
use tokio::time::Instant;

const HEAD: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
    content-type: application/json\r\n";

/// 700 tokens may go at once.
const TPM: [&str; 4] = ["--upstream-tpm", "1400", "--upstream-max-wait", "1ms"];

fn asking(tokens: u32) -> String {
    let body = format!("{{\"max_tokens\":{tokens}}}");
    format!("{HEAD}content-length: {}\r\n\r\n{body}", body.len())
}

/// Answers so many requests, each on a connection of its own, and returns their bodies.
fn answering(upstream: Upstream, answers: Vec<&'static str>) -> JoinHandle<Vec<Vec<u8>>> {
    thread::spawn(move || {
        let one = |answer| {
            let mut server = upstream.accept();
            let head = server.head();
            let body = server.bytes(head.field("content-length").unwrap().parse().unwrap());
            server.send(answer);
            body
        };
        answers.into_iter().map(one).collect()
    })
}

/// The answers to these requests, one after the other, of which those with a 200 come from an upstream.
fn statuses(flags: &[&str], requests: &[String], expected: &[u16]) {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), flags);
    let passing = expected.iter().filter(|status| **status == 200).count();
    let server = answering(upstream, vec![OK; passing]);
    let ask = |request: &String| {
        let mut client = gateway.connect();
        client.send(request);
        client.head().status()
    };
    let statuses: Vec<_> = requests.iter().map(ask).collect();
    assert_eq!(statuses, expected, "{flags:?}");
    server.join().unwrap();
}

#[test]
fn the_tokens_that_a_request_allows_are_counted_before_they_come() {
    // By their length alone they would be taken for 504.
    statuses(&TPM, &[asking(600), asking(600)], &[200, 429]);
    statuses(&TPM, &[asking(200), asking(200), asking(200)], &[200, 200, 200]);
}

#[test]
fn a_request_for_which_there_is_no_room_is_judged_by_its_length() {
    let flags = [&TPM[..], &["--replay-memory", "0"]].concat();
    statuses(&flags, &[asking(200), asking(200)], &[200, 429]);
    // There is room for one at a time.
    let flags = [&TPM[..], &["--replay-memory", "1KiB"]].concat();
    statuses(&flags, &[asking(200), asking(200), asking(200)], &[200, 200, 200]);
}

#[test]
fn a_request_is_read_once_however_often_it_is_sent() {
    const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\
        content-length: 0\r\n\r\n";
    const BODY: &str = "{\"max_tokens\":100,\"messages\":[]}";
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--upstream-tpm", "100000"]);
    let server = answering(upstream, vec![BUSY, BUSY, OK]);
    let mut client = gateway.connect();
    // It comes in two pieces, and in a chunked coding, of which the upstream sees neither.
    let (front, back) = BODY.split_at(9);
    let size = front.len();
    client.send(format!("{HEAD}transfer-encoding: chunked\r\n\r\n{size:x}\r\n{front}\r\n"));
    client.send(format!("{:x}\r\n{back}\r\n0\r\n\r\n", back.len()));
    assert_eq!(client.head().status(), 200);
    assert_eq!(server.join().unwrap(), vec![BODY.as_bytes(); 3]);
}

#[test]
fn who_asks_before_sending_is_refused_without_having_sent() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &TPM);
    let server = answering(upstream, vec![OK]);
    let mut client = gateway.connect();
    client.send(asking(600));
    assert_eq!(client.head().status(), 200);
    server.join().unwrap();
    let mut client = gateway.connect();
    client.send(format!("{HEAD}expect: 100-continue\r\ncontent-length: 900\r\n\r\n"));
    assert_eq!(client.head().status(), 429, "and no 100 before it");
}

#[test]
fn the_time_in_which_a_request_is_read_is_part_of_what_it_has() {
    let upstream = Upstream::new();
    let flags = ["--upstream-tpm", "100000", "--deadline", "1s"];
    let gateway = Gateway::start(&upstream.url(), &flags);
    let mut client = gateway.connect();
    let begun = Instant::now();
    client.send(format!("{HEAD}content-length: 100\r\n\r\n{{"));
    assert_eq!(client.head().status(), 504);
    // It would be five seconds more.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
