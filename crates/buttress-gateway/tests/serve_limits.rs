//! Whatever a client may take up is bounded.

#![expect(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::{
    io::{ErrorKind, Write as _},
    time::Duration,
};

use support::{Gateway, OK, Peer, Upstream};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[test]
fn requests_above_the_limit_are_answered_with_503() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--max-requests", "1"]);
    let mut first = gateway.connect();
    first.send(GET);
    let mut server = upstream.accept();
    server.head();
    let mut second = gateway.connect();
    second.send(GET);
    let head = second.head();
    assert_eq!(head.status(), 503);
    assert_eq!(head.field("retry-after"), Some("1"));
    let body: serde_json::Value = serde_json::from_slice(&second.body(&head)).unwrap();
    assert_eq!(body["error"]["code"], "gateway_overloaded");

    // The place is free again when the answer has ended, not before.
    server.send(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
    );
    first.head();
    assert_eq!(first.chunk(), b"hi");
    second.send(GET);
    let head = second.head();
    assert_eq!(head.status(), 503);
    second.body(&head);
    server.send("0\r\n\r\n");
    assert_eq!(first.chunks(), b"");
    second.send(GET);
    let mut server = upstream.accept();
    server.head();
    server.send(OK);
    assert_eq!(second.head().status(), 200);
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--max-requests", "1"]);
    for _ in 0..3 {
        let mut client = gateway.connect();
        client.send(GET);
        let mut server = upstream.accept();
        server.head();
        drop(client);
        server.rest();
    }
}

#[test]
fn connections_above_the_limit_wait_their_turn() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--max-connections", "1"]);
    let mut first = gateway.connect();
    first.send(GET);
    let mut server = upstream.accept();
    server.head();
    let mut second = gateway.connect();
    second.send("GET /second HTTP/1.1\r\nhost: x\r\n\r\n");
    server.send(OK);
    let head = first.head();
    first.body(&head);
    first.send("GET /first HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut server = upstream.accept();
    assert_eq!(server.head().start, "GET /first HTTP/1.1");
    server.send(OK);
    let head = first.head();
    first.body(&head);
    drop(first);
    let mut server = upstream.accept();
    assert_eq!(server.head().start, "GET /second HTTP/1.1");
    server.send(OK);
    assert_eq!(second.head().status(), 200);
}

#[test]
fn a_client_that_dawdles_over_its_head_is_cut_off() {
    let beginnings =
        ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost:"];
    let gateway = Gateway::start("http://127.0.0.1:9", &["--header-timeout", "200ms"]);
    for beginning in beginnings {
        let mut client = gateway.connect();
        client.send(beginning);
        client.rest();
    }
}

#[test]
fn an_idle_connection_is_closed() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--header-timeout", "200ms"]);
    let mut client = gateway.connect();
    client.send(GET);
    let mut server = upstream.accept();
    server.head();
    server.send(OK);
    let head = client.head();
    client.body(&head);
    assert_eq!(client.rest().0, b"");
}

#[test]
fn a_slow_answer_is_not_cut_off_by_the_header_timeout() {
    let upstream = Upstream::new();
    let flags = ["--header-timeout", "500ms", "--first-byte-timeout", "1s", "--attempts", "1"];
    let gateway = Gateway::start(&upstream.url(), &flags);
    let mut client = gateway.connect();
    client.send(GET);
    let mut server = upstream.accept();
    server.head();
    assert_eq!(client.head().status(), 504);
}

/// What the sockets of a machine hold between the two ends, and what the gateway may add.
const HELD: usize = 32 * 1024 * 1024;

/// Sends until the other side has taken nothing for a while; gives how much it took.
fn send_until_held_back(sender: &mut Peer) -> usize {
    let stream = sender.stream.get_mut();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let piece = [b'x'; 64 * 1024];
    let mut taken = 0;
    while taken < 8 * HELD {
        match stream.write(&piece) {
            Ok(written) => taken += written,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    taken
}

#[test]
fn a_client_that_does_not_read_holds_the_upstream_back() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send(GET);
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n");
    client.head();
    let taken = send_until_held_back(&mut server);
    assert!(taken < HELD, "{taken} bytes were taken");
}

#[test]
fn an_upstream_that_does_not_read_holds_the_client_back() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999999\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    let taken = send_until_held_back(&mut client);
    assert!(taken < HELD, "{taken} bytes were taken");
}

#[test]
fn garbage_on_one_connection_leaves_the_others_alone() {
    let upstream = Upstream::new();
    let mut gateway = Gateway::start(&upstream.url(), &[]);
    let mut garbage: u32 = 1;
    for _ in 0..200 {
        let mut client = gateway.connect();
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            garbage = garbage.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            garbage.to_be_bytes()[0]
        })
        .take(64)
        .collect();
        client.send(bytes);
    }
    assert!(gateway.is_running());
    let mut client = gateway.connect();
    client.send(GET);
    let mut server = upstream.accept();
    server.head();
    server.send(OK);
    assert_eq!(client.head().status(), 200);
    let log = gateway.log();
    assert!(!log.contains("panicked"), "{log}");
}
