//! Bodies pass as they come, byte for byte, in both directions.

mod support;

use support::{Gateway, OK, Upstream};

#[test]
fn an_answer_passes_chunk_by_chunk() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("GET /events HTTP/1.1\r\nhost: x\r\n\r\n");

    let mut server = upstream.accept();
    server.head();
    server.send(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    let head = client.head();
    assert_eq!(head.status(), 200);
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    // Each chunk must be through before the next one is sent.
    for n in 0..20 {
        let event = format!("data: {n}\n\n");
        server.send_chunk(&event);
        assert_eq!(client.chunk(), event.as_bytes());
    }
    server.send("0\r\n\r\n");
    assert_eq!(client.chunks(), b"");
}

#[test]
fn a_model_answer_passes_chunk_by_chunk_too() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}");

    let mut server = upstream.accept();
    server.head();
    assert_eq!(server.bytes(2), b"{}");
    server.send(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    // A comment is no beginning yet; it comes with the first event.
    server.send_chunk(": keep-alive\n\n");
    server.send_chunk("data: {\"a\": \"\\u00e4\"}\n\n");
    assert_eq!(client.head().status(), 200);
    assert_eq!(client.chunk(), b": keep-alive\n\n");
    assert_eq!(client.chunk(), b"data: {\"a\": \"\\u00e4\"}\n\n");
    server.send_chunk("data: [DONE]\n\n");
    assert_eq!(client.chunk(), b"data: [DONE]\n\n");
    server.send("0\r\n\r\n");
    assert_eq!(client.chunks(), b"");
}

#[test]
fn an_upload_passes_chunk_by_chunk() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("PUT /file HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut server = upstream.accept();
    assert_eq!(server.head().field("transfer-encoding"), Some("chunked"));
    for n in 0..20 {
        let piece = format!("piece {n}");
        client.send_chunk(&piece);
        assert_eq!(server.chunk(), piece.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(server.chunks(), b"");
    server.send(OK);
    assert_eq!(client.head().status(), 200);
}

#[test]
fn both_directions_flow_at_once() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    for n in 0..20 {
        client.send_chunk(format!("ping {n}"));
        assert_eq!(server.chunk(), format!("ping {n}").as_bytes());
        server.send_chunk(format!("pong {n}"));
        assert_eq!(client.chunk(), format!("pong {n}").as_bytes());
    }
}

#[test]
fn large_bodies_are_the_same_bytes_on_the_other_side() {
    let bytes: Vec<u8> =
        (0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    let (sent, address) = (bytes.clone(), upstream);
    let server = std::thread::spawn(move || {
        let mut server = address.accept();
        let head = server.head();
        let body = server.body(&head);
        server.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
            body.len()
        ));
        server.send(&body);
        body
    });
    client.send(format!(
        "PUT /v1/blob HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        sent.len()
    ));
    client.send(&sent);
    let head = client.head();
    assert_eq!(head.field("content-encoding"), Some("gzip"));
    assert!(client.body(&head) == bytes, "the answer differs");
    assert!(server.join().unwrap() == bytes, "the upload differs");
}

#[test]
fn trailers_pass_in_both_directions() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send(
        "POST / HTTP/1.1\r\nhost: x\r\nte: trailers\r\nconnection: te\r\ntrailer: x-sum\r\n\
         transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 9\r\n\r\n",
    );
    let mut server = upstream.accept();
    let head = server.head();
    assert_eq!(head.field("te"), Some("trailers"));
    assert_eq!(head.field("connection"), Some("te"));
    assert_eq!(head.field("trailer"), Some("x-sum"));
    assert_eq!(server.chunk(), b"hi");
    assert_eq!(server.chunk(), b"");
    assert_eq!(server.line().to_ascii_lowercase(), "x-sum: 9");
    assert_eq!(server.line(), "");
    server.send(
        "HTTP/1.1 200 OK\r\ntrailer: x-end\r\ntransfer-encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\nx-end: 7\r\n\r\n",
    );
    assert_eq!(client.head().field("trailer"), Some("x-end"));
    assert_eq!(client.chunk(), b"ok");
    assert_eq!(client.chunk(), b"");
    assert_eq!(client.line().to_ascii_lowercase(), "x-end: 7");
    assert_eq!(client.line(), "");
}

#[test]
fn a_client_that_expects_100_is_asked_for_its_body_when_it_is_wanted() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("PUT / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    let mut server = upstream.accept();
    assert_eq!(server.head().field("expect"), Some("100-continue"));
    assert_eq!(client.head().start, "HTTP/1.1 100 Continue");
    client.send("body");
    assert_eq!(server.bytes(4), b"body");
    server.send("HTTP/1.1 100 Continue\r\n\r\n");
    server.send(OK);
    assert_eq!(client.head().status(), 200);
}

#[test]
fn the_gateways_own_refusal_does_not_ask_for_the_body() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send(
        "PUT / HTTP/1.1\r\nhost: x\r\nhost: y\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n",
    );
    assert_eq!(client.head().status(), 400);
}
