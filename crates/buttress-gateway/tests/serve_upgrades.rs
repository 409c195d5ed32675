//! A connection that changes its protocol is carried through.

mod support;

use support::{Gateway, Peer, Upstream};

const ASK: &str = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                      upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\r\n\r\n";

fn switched(gateway: &Gateway, upstream: &Upstream) -> (Peer, Peer) {
    let mut client = gateway.connect();
    client.send(ASK);
    let mut server = upstream.accept();
    let asked = server.head();
    assert_eq!(asked.field("upgrade"), Some("websocket"));
    assert_eq!(asked.field("connection"), Some("upgrade"));
    assert!(asked.field("sec-websocket-key").is_some());
    server.send(SWITCH);
    let head = client.head();
    assert_eq!(head.status(), 101);
    assert_eq!(head.field("upgrade"), Some("websocket"));
    assert_eq!(head.field("connection"), Some("upgrade"));
    assert!(head.field("sec-websocket-accept").is_some());
    (client, server)
}

#[test]
fn bytes_go_both_ways_after_the_switch() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let (mut client, mut server) = switched(&gateway, &upstream);
    for n in 0..20 {
        client.send(format!("ping{n:02}"));
        assert_eq!(server.bytes(6), format!("ping{n:02}").as_bytes());
        server.send(format!("pong{n:02}"));
        assert_eq!(client.bytes(6), format!("pong{n:02}").as_bytes());
    }
    client.shut_write();
    assert_eq!(server.rest().0, b"");
    server.send("bye");
    drop(server);
    assert_eq!(client.rest().0, b"bye");
}

#[test]
fn bytes_that_come_with_the_switch_are_not_lost() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send(format!("{ASK}early"));
    let mut server = upstream.accept();
    server.head();
    server.send(format!("{SWITCH}first"));
    assert_eq!(server.bytes(5), b"early");
    assert_eq!(client.head().status(), 101);
    assert_eq!(client.bytes(5), b"first");
}

#[test]
fn a_refusal_to_switch_is_an_answer_like_any_other() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send(ASK);
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(client.head().status(), 503);
    assert!(!upstream.has_caller(), "an upgrade is not made again");
}

#[test]
fn a_tunnel_ends_with_the_drain_timeout() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--drain-timeout", "100ms"]);
    let (mut client, mut server) = switched(&gateway, &upstream);
    gateway.signal("TERM");
    client.rest();
    server.rest();
    assert_eq!(gateway.wait().0.code(), Some(1));
}

#[test]
fn a_tunnel_holds_its_place_among_the_connections() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--max-requests", "1"]);
    let (client, mut server) = switched(&gateway, &upstream);
    let mut other = gateway.connect();
    other.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(other.head().status(), 503);
    drop(client);
    server.rest();
}
