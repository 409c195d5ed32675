//! Where a message ends: nobody on either side may see it end elsewhere.

mod support;

use support::{Gateway, OK, Upstream};

/// What a raw request is answered with; the upstream must not hear of it.
fn refused(request: &[u8]) -> u16 {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send(request);
    let status = client.head().status();
    assert!(!upstream.has_caller(), "the upstream heard of it");
    status
}

#[test]
fn ambiguous_lengths_are_refused() {
    let lengths = [
        "content-length: 3\r\ncontent-length: 4\r\n",
        "content-length: 3, 4\r\n",
        "content-length: +3\r\n",
        "content-length: -1\r\n",
        "content-length: 0x3\r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length : 3\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n",
        "transfer-encoding : chunked\r\n",
    ];
    for length in lengths {
        let request = format!("POST / HTTP/1.1\r\nhost: x\r\n{length}\r\nabc");
        assert_eq!(refused(request.as_bytes()), 400, "{length}");
    }
    assert_eq!(refused(b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
}

#[test]
fn malformed_heads_are_refused() {
    let heads: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nbad name: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: a\0b\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
        b"G\x01T / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ];
    for head in heads {
        assert_eq!(refused(head), 400, "{}", head.escape_ascii());
    }
}

/// RFC 9112 section 3.2.
#[test]
fn a_host_that_is_none_is_refused_also_where_the_target_has_one() {
    for host in
        ["a b/c", "a.test/t", "u@a.test", "a.test:abc", "[::1", "http://a.test", "%zz", "<a>"]
    {
        for target in ["/", "http://a.test/"] {
            let head = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
            assert_eq!(refused(head.as_bytes()), 400, "{head}");
        }
    }
}

/// RFC 9110 section 7.4.
#[test]
fn a_target_of_another_scheme_is_not_taken_for_one_of_http() {
    for target in ["https://a.test/", "ftp://a.test/x"] {
        let head = format!("GET {target} HTTP/1.1\r\nhost: a.test\r\n\r\n");
        assert_eq!(refused(head.as_bytes()), 421, "{target}");
    }
}

/// RFC 9110 section 8.6.
#[test]
fn a_length_that_an_upstream_says_twice_is_said_once() {
    let upstream = Upstream::new();
    for flags in [&["--policy", "off"][..], &["--policy", "off", "--cache", "1MiB"]] {
        let gateway = Gateway::start(&upstream.url(), flags);
        for (lengths, status) in [
            ("content-length: 3, 3\r\n", 200),
            ("content-length: 3,3\r\n", 200),
            ("content-length: 3\r\ncontent-length: 3\r\n", 200),
            ("content-length: 3, 4\r\n", 502),
        ] {
            let mut client = gateway.connect();
            client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            let mut server = upstream.accept();
            server.head();
            server.send(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{lengths}\r\nabc"));
            drop(server);
            let head = client.head();
            assert_eq!(head.status(), status, "{lengths}");
            if status == 200 {
                assert_eq!(head.field("content-length"), Some("3"), "{lengths}");
                assert_eq!(client.body(&head), b"abc");
            }
        }
    }
}

#[test]
fn a_host_that_is_none_is_refused() {
    for host in [
        "a b",
        "a.test/x",
        "a.test?x",
        "a.test#x",
        "u@a.test",
        "a.test:abc",
        "a.test:99999",
        "[::1",
        "::1",
        "\"a\"",
        "a\\b",
        "<a>",
        "%zz",
        "http://a.test",
    ] {
        let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert_eq!(refused(head.as_bytes()), 400, "{host}");
    }
    for host in ["A.test", "a.test:", "a.test:8080", "127.0.0.1", "[::1]:80", "%41.test", ""] {
        let upstream = Upstream::new();
        let gateway = Gateway::start(&upstream.url(), &[]);
        let mut client = gateway.connect();
        client.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        let mut server = upstream.accept();
        server.head();
        server.send(OK);
        assert_eq!(client.head().status(), 200, "{host}");
    }
}

#[test]
fn a_length_that_is_said_twice_passes_once() {
    for length in ["content-length: 3, 3", "content-length: 3\r\ncontent-length: 3"] {
        let upstream = Upstream::new();
        let gateway = Gateway::start(&upstream.url(), &[]);
        let mut client = gateway.connect();
        client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        let mut server = upstream.accept();
        server.head();
        server.send(format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\nabc"));
        let head = client.head();
        assert_eq!(head.all("content-length"), ["3"], "{length}");
        assert_eq!(client.bytes(3), b"abc");
    }
}

#[test]
fn a_coding_that_nobody_here_undoes_is_refused() {
    let request =
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(refused(request), 501);
}

#[test]
fn a_head_without_end_is_refused() {
    let mut request = b"GET / HTTP/1.1\r\nhost: x\r\n".to_vec();
    request.extend(b"x: y\r\n".repeat(101));
    request.extend(b"\r\n");
    assert_eq!(refused(&request), 431);
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "p".repeat(70_000));
    assert_eq!(refused(long.as_bytes()), 414);
}

/// RFC 9112 section 6.3 lets `Transfer-Encoding` win if the connection is closed afterwards. What
/// would be a second request to one who counts bytes must not become one to anybody.
#[test]
fn a_request_with_both_framings_is_one_request_with_one_framing() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    for lengths in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
    ] {
        let mut client = gateway.connect();
        client.send(format!(
            "POST /first HTTP/1.1\r\nhost: x\r\n{lengths}\r\n0\r\n\r\n\
             GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
        ));
        let mut server = upstream.accept();
        let head = server.head();
        assert_eq!(head.start, "POST /first HTTP/1.1");
        assert_eq!(head.all("content-length").len() + head.all("transfer-encoding").len(), 1);
        assert_eq!(server.body(&head), b"");
        server.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
        let head = client.head();
        assert_eq!(head.field("connection"), Some("close"));
        assert_eq!(client.rest().0, b"ok");
        assert!(!upstream.has_caller(), "the second request was sent");
    }
}

#[test]
fn an_answer_with_both_framings_passes_with_one() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    server.send(
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n",
    );
    let head = client.head();
    assert_eq!(head.field("content-length"), None);
    assert_eq!(client.chunks(), b"hello");
}

#[test]
fn a_malformed_upload_is_the_clients_fault() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n");
    let mut server = upstream.accept();
    server.head();
    assert_eq!(server.chunk(), b"hi");
    client.send("zzz\r\n");
    let head = client.head();
    assert_eq!(head.status(), 400);
    let (rest, _) = server.rest();
    assert!(!rest.windows(5).any(|end| end == b"0\r\n\r\n"), "the upload was ended cleanly");
}

#[test]
fn an_upload_that_breaks_off_is_not_ended_cleanly() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n");
    let mut server = upstream.accept();
    server.head();
    assert_eq!(server.chunk(), b"hi");
    drop(client);
    assert_eq!(server.rest().0, b"");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n");
    for n in ["1", "2"] {
        let mut server = upstream.accept();
        assert_eq!(server.head().start, format!("GET /{n} HTTP/1.1"));
        server
            .send(format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n{n}"));
        let head = client.head();
        assert_eq!(client.body(&head), n.as_bytes());
    }
}

#[test]
fn http_1_0_clients_are_served_without_chunks() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let mut server = upstream.accept();
    assert_eq!(server.head().start, "GET / HTTP/1.1");
    server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let head = client.head();
    assert_eq!(head.start, "HTTP/1.0 200 OK");
    assert_eq!(head.field("transfer-encoding"), None);
    assert_eq!(client.rest(), (b"hello".to_vec(), false));
}

#[test]
fn http_1_0_clients_may_keep_the_connection() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
        let mut server = upstream.accept();
        server.head();
        server.send(OK);
        let head = client.head();
        assert_eq!(head.field("connection"), Some("keep-alive"));
        assert_eq!(client.body(&head), b"ok");
    }
}
