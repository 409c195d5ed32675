//! The limit on requests that are passed on, and the throttle for busy upstreams.

#![expect(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::io::BufRead as _;

use support::{Gateway, Head, OK, Peer, Upstream, command};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

fn asks(gateway: &Gateway) -> Peer {
    let mut client = gateway.connect();
    client.send(GET);
    client
}

fn code(client: &mut Peer, head: &Head) -> String {
    let body: serde_json::Value = serde_json::from_slice(&client.body(head)).unwrap();
    body["error"]["code"].as_str().unwrap().to_owned()
}

#[test]
fn requests_above_the_limit_are_refused_until_an_answer_has_ended() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--max-concurrent", "1"]);
    let mut first = asks(&gateway);
    let mut server = upstream.accept();
    server.head();
    server.send(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
    );
    first.head();
    assert_eq!(first.chunk(), b"hi");
    // The head has gone out long ago; the answer still counts.
    let mut second = asks(&gateway);
    let head = second.head();
    assert_eq!(head.status(), 503);
    assert_eq!(head.field("retry-after"), Some("1"));
    assert_eq!(code(&mut second, &head), "gateway_overloaded");
    server.send("0\r\n\r\n");
    assert_eq!(first.chunks(), b"");
    let mut third = asks(&gateway);
    let mut server = upstream.accept();
    server.head();
    server.send(OK);
    assert_eq!(third.head().status(), 200);
}

#[test]
fn requests_wait_for_their_turn_in_the_order_in_which_they_came() {
    let upstream = Upstream::new();
    let flags = ["--max-concurrent", "1", "--max-concurrent-wait", "30s"];
    let gateway = Gateway::start(&upstream.url(), &flags);
    let mut first = asks(&gateway);
    let mut server = upstream.accept();
    server.head();
    let mut second = asks(&gateway);
    server.send(OK);
    assert_eq!(first.head().status(), 200);
    let mut server = upstream.accept();
    server.head();
    server.send(OK);
    assert_eq!(second.head().status(), 200);
}

#[test]
fn a_wait_ends_and_a_line_has_an_end() {
    let upstream = Upstream::new();
    let flags = ["--max-concurrent", "1", "--max-concurrent-wait", "200ms"];
    let gateway = Gateway::start(&upstream.url(), &flags);
    let _first = asks(&gateway);
    let mut server = upstream.accept();
    server.head();
    let mut late = asks(&gateway);
    assert_eq!(late.head().status(), 503);

    let upstream = Upstream::new();
    let flags = [&flags[..3], &["30s", "--max-concurrent-queue", "0"]].concat();
    let gateway = Gateway::start(&upstream.url(), &flags);
    let _first = asks(&gateway);
    let mut server = upstream.accept();
    server.head();
    let mut turned_away = asks(&gateway);
    assert_eq!(turned_away.head().status(), 503);
}

#[test]
fn a_client_that_leaves_gives_its_turn_to_the_next() {
    let upstream = Upstream::new();
    let flags = ["--max-concurrent", "1", "--max-concurrent-wait", "30s"];
    let gateway = Gateway::start(&upstream.url(), &flags);
    let mut first = asks(&gateway);
    let mut server = upstream.accept();
    server.head();
    let waits_in_vain = asks(&gateway);
    let mut last = gateway.connect();
    last.send("GET /last HTTP/1.1\r\nhost: x\r\n\r\n");
    drop(waits_in_vain);
    server.send(OK);
    assert_eq!(first.head().status(), 200);
    loop {
        // It may be the turn of the one that leaves when the gateway hears of that.
        let mut server = upstream.accept();
        let mut line = String::new();
        if server.stream.read_line(&mut line).is_ok() && line.contains("/last") {
            while server.line() != "" {}
            server.send(OK);
            break;
        }
    }
    assert_eq!(last.head().status(), 200);
}

#[test]
fn a_limit_that_is_found_lets_requests_through() {
    for way in ["aimd", "gradient"] {
        let upstream = Upstream::new();
        let gateway = Gateway::start(&upstream.url(), &["--max-concurrent", way]);
        for _ in 0..30 {
            let mut client = asks(&gateway);
            let mut server = upstream.accept();
            server.head();
            server.send(OK);
            assert_eq!(client.head().status(), 200, "{way}");
        }
    }
}

#[test]
fn a_changed_protocol_counts_until_the_connection_has_ended() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--max-concurrent", "1"]);
    let mut client = gateway.connect();
    client.send(
        "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let mut server = upstream.accept();
    server.head();
    server.send(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n",
    );
    assert_eq!(client.head().status(), 101);
    client.send("ping");
    assert_eq!(server.bytes(4), b"ping");
    let mut other = asks(&gateway);
    assert_eq!(other.head().status(), 503);
    drop(server);
    client.rest();
    drop(client);
    // The place is free a moment after both ends have closed.
    let answered = std::thread::spawn(move || {
        let mut server = upstream.accept();
        server.head();
        server.send(OK);
    });
    while asks(&gateway).head().status() != 200 {}
    answered.join().unwrap();
}

#[test]
fn upstreams_that_mostly_say_busy_are_spared() {
    let upstream = Upstream::new();
    let flags = ["--throttle", "1.5", "--policy", "off", "--max-hold", "off"];
    let gateway = Gateway::start(&upstream.url(), &flags);
    let url = gateway.address;
    // It answers each request that reaches it, until one says to stop.
    let server = std::thread::spawn(move || {
        let mut seen = 0;
        loop {
            let mut server = upstream.accept();
            if server.head().start.contains("/stop") {
                server.send(OK);
                return seen;
            }
            seen += 1;
            server.send(BUSY);
        }
    });
    let (mut busy, mut spared) = (0, 0);
    for _ in 0..200 {
        let mut client = asks(&gateway);
        let head = client.head();
        assert_eq!(head.status(), 503);
        match head.field("content-type") {
            Some(_) => {
                assert!(head.field("retry-after").is_some());
                assert_eq!(code(&mut client, &head), "upstream_busy");
                spared += 1;
            }
            None => busy += 1,
        }
    }
    assert!(spared > 100, "{spared} of 200, {url}");
    // Until one gets through.
    loop {
        let mut client = gateway.connect();
        client.send("GET /stop HTTP/1.1\r\nhost: x\r\n\r\n");
        if client.head().status() == 200 {
            break;
        }
    }
    assert_eq!(server.join().unwrap(), busy, "what was refused was not sent");
}

#[test]
fn without_the_flag_nothing_is_spared() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--policy", "off"]);
    for _ in 0..50 {
        let mut client = asks(&gateway);
        let mut server = upstream.accept();
        server.head();
        server.send(BUSY);
        let head = client.head();
        assert_eq!((head.status(), head.field("content-type")), (503, None));
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    for (flag, value) in [
        ("--max-concurrent", "0"),
        ("--max-concurrent", "some"),
        ("--max-concurrent", "99999999999"),
        ("--max-concurrent-wait", "long"),
        ("--throttle", "1"),
        ("--throttle", "NaN"),
        ("--throttle-window", "1s"),
    ] {
        let output = command()
            .args(["serve", "--listen", "127.0.0.1:0", "--no-check"])
            .args(["--upstream", "http://127.0.0.1:9", flag, value])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag} {value}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(flag), "{flag} {value}: {text}");
    }
}
