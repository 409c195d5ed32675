//! What an intermediary does to header fields, seen from both sides.

mod support;

use support::{Gateway, Head, OK, Peer, Upstream};

/// Sends a request through, answers it, and gives both heads.
fn exchange(flags: &[&str], base: &str, request: &str, answer: &str) -> (Head, Head) {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&format!("{}{base}", upstream.url()), flags);
    let mut client = gateway.connect();
    client.send(request);
    let mut server = upstream.accept();
    let forwarded = server.head();
    server.send(answer);
    (forwarded, client.head())
}

fn refused(request: &str) -> (Head, Peer) {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send(request);
    let head = client.head();
    assert!(!upstream.has_caller(), "the upstream heard of it");
    (head, client)
}

#[test]
fn fields_of_one_connection_stay_on_it() {
    let (request, answer) = exchange(
        &[],
        "",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
         Keep-Alive: 5\r\n\
         Proxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\
         Proxy-Authorization: Basic eDp5\r\nAuthorization: Bearer t\r\nX-End: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: X-Back\r\nX-Back: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Authenticate: Basic\r\nWWW-Authenticate: Bearer\r\n\
         X-End: 3\r\nContent-Length: 0\r\n\r\n",
    );
    for name in [
        "connection",
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "te",
        "upgrade",
        "http2-settings",
        "proxy-authorization",
    ] {
        assert_eq!(request.field(name), None, "{name}");
    }
    assert_eq!(request.field("authorization"), Some("Bearer t"));
    assert_eq!(request.field("x-end"), Some("2"));
    for name in ["connection", "x-back", "keep-alive", "proxy-authenticate"] {
        assert_eq!(answer.field(name), None, "{name}");
    }
    assert_eq!(answer.field("www-authenticate"), Some("Bearer"));
    assert_eq!(answer.field("x-end"), Some("3"));
}

#[test]
fn both_directions_name_the_gateway_in_via() {
    let (request, answer) = exchange(
        &[],
        "",
        "GET / HTTP/1.1\r\nhost: x\r\nvia: 1.0 fred\r\n\r\n",
        "HTTP/1.0 200 OK\r\nvia: 1.1 p.example\r\ncontent-length: 0\r\n\r\n",
    );
    assert_eq!(request.all("via"), ["1.0 fred", "1.1 buttress"]);
    assert_eq!(answer.all("via"), ["1.1 p.example", "1.0 buttress"]);
}

#[test]
fn names_keep_their_case_and_values_their_bytes() {
    let (request, answer) = exchange(
        &[],
        "",
        "GET /a%2Fb?q=%20+x&&y HTTP/1.1\r\nHost: x\r\nX-MiXeD: a  b;\"c\"\r\n\
         Accept-Encoding: gzip, br\r\n\r\n",
        "HTTP/1.1 299 Quite Fine\r\nX-OddCase: v\r\nSet-Cookie: a=1\r\n\
         Set-Cookie: b=2\r\ncontent-length: 0\r\n\r\n",
    );
    assert_eq!(request.start, "GET /a%2Fb?q=%20+x&&y HTTP/1.1");
    assert!(
        request.fields.contains(&("X-MiXeD".to_owned(), "a  b;\"c\"".to_owned())),
        "{request:?}"
    );
    assert_eq!(request.field("accept-encoding"), Some("gzip, br"));
    assert_eq!(answer.start, "HTTP/1.1 299 Quite Fine");
    assert!(answer.fields.contains(&("X-OddCase".to_owned(), "v".to_owned())), "{answer:?}");
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
    assert!(answer.field("date").is_some(), "a date is added where none came");
}

#[test]
fn the_host_is_the_upstreams() {
    let request = "GET / HTTP/1.1\r\nhost: me.example:81\r\n\r\n";
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send(request);
    let head = upstream.accept().head();
    assert_eq!(head.field("host"), Some(upstream.address().to_string().as_str()));
    assert_eq!(head.field("x-forwarded-host"), Some("me.example:81"));
    assert_eq!(head.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.field("x-forwarded-proto"), Some("http"));
}

#[test]
fn the_clients_host_passes_when_asked_to() {
    let request = "GET / HTTP/1.1\r\nhost: me.example:81\r\n\r\n";
    let (head, _) = exchange(&["--preserve-host"], "", request, OK);
    assert_eq!(head.field("host"), Some("me.example:81"));
}

#[test]
fn what_the_client_says_of_itself_is_kept_replaced_or_left_alone() {
    let request = "GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 6.6.6.6\r\n\r\n";
    let seen = |flags: &[&str]| {
        let (head, _) = exchange(flags, "", request, OK);
        head.all("x-forwarded-for").join(", ")
    };
    assert_eq!(seen(&[]), "6.6.6.6, 127.0.0.1");
    assert_eq!(seen(&["--forwarded", "replace"]), "127.0.0.1");
    assert_eq!(seen(&["--forwarded", "off"]), "6.6.6.6");
}

#[test]
fn the_upstreams_path_goes_before_the_requests() {
    let request = "GET /x?y=1 HTTP/1.1\r\nhost: x\r\n\r\n";
    let (head, _) = exchange(&[], "/base/", request, OK);
    assert_eq!(head.start, "GET /base/x?y=1 HTTP/1.1");
}

#[test]
fn an_absolute_target_names_the_host() {
    let request = "GET http://other.example:8/p?q HTTP/1.1\r\nhost: ignored\r\n\r\n";
    let (head, _) = exchange(&["--preserve-host"], "", request, OK);
    assert_eq!(head.start, "GET /p?q HTTP/1.1");
    assert_eq!(head.field("host"), Some("other.example:8"));
}

#[test]
fn options_of_the_whole_server_pass() {
    let request = "OPTIONS * HTTP/1.1\r\nhost: x\r\nmax-forwards: 3\r\n\r\n";
    let (head, _) = exchange(&[], "/base", request, OK);
    assert_eq!(head.start, "OPTIONS * HTTP/1.1");
    assert_eq!(head.field("max-forwards"), Some("2"));
}

#[test]
fn a_request_at_its_last_hop_ends_here() {
    for method in ["OPTIONS", "TRACE"] {
        let (head, _) =
            refused(&format!("{method} / HTTP/1.1\r\nhost: x\r\nmax-forwards: 0\r\n\r\n"));
        assert_eq!(head.status(), 200);
        assert!(head.field("allow").unwrap().contains("OPTIONS"));
    }
}

#[test]
fn connect_is_refused_and_the_connection_stays_usable() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n");
    let head = client.head();
    assert_eq!(head.status(), 501);
    assert_eq!(head.all("via"), ["1.1 buttress"]);
    let body = client.body(&head);
    assert!(String::from_utf8(body).unwrap().contains("\"code\":\"not_implemented\""));
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    server.send(OK);
    assert_eq!(client.head().status(), 200);
}

#[test]
fn head_has_the_length_and_no_body() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("HEAD / HTTP/1.1\r\nhost: x\r\n\r\nGET /next HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut server = upstream.accept();
    assert_eq!(server.head().start, "HEAD / HTTP/1.1");
    server.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1234\r\n\r\n");
    assert_eq!(client.head().field("content-length"), Some("1234"));
    let mut server = upstream.accept();
    assert_eq!(server.head().start, "GET /next HTTP/1.1");
    server.send(OK);
    assert_eq!(client.head().field("content-length"), Some("2"));
}

#[test]
fn answers_without_a_body_stay_without() {
    for start in ["204 No Content", "304 Not Modified"] {
        let (_, head) = exchange(
            &[],
            "",
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
            &format!("HTTP/1.1 {start}\r\netag: \"1\"\r\n\r\n"),
        );
        assert_eq!(head.start, format!("HTTP/1.1 {start}"));
        assert_eq!(head.field("transfer-encoding"), None);
        assert_eq!(head.field("etag"), Some("\"1\""));
    }
}

#[test]
fn the_upstreams_own_errors_pass_unchanged() {
    for status in [400, 404, 418, 500, 503] {
        let upstream = Upstream::new();
        let gateway = Gateway::start(&upstream.url(), &["--policy", "off"]);
        let mut client = gateway.connect();
        client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        let mut server = upstream.accept();
        server.head();
        server.send(format!(
            "HTTP/1.1 {status} Mine\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nmine"
        ));
        let head = client.head();
        assert_eq!(head.start, format!("HTTP/1.1 {status} Mine"));
        assert_eq!(head.field("retry-after"), Some("7"));
        assert_eq!(client.body(&head), b"mine");
    }
}

#[test]
fn large_heads_pass() {
    let long = "v".repeat(60_000);
    let (request, answer) = exchange(
        &[],
        "",
        &format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n"),
        &format!("HTTP/1.1 200 OK\r\nx-long: {long}\r\ncontent-length: 0\r\n\r\n"),
    );
    assert_eq!(request.field("x-long"), Some(long.as_str()));
    assert_eq!(answer.field("x-long"), Some(long.as_str()));
}

#[test]
fn a_request_that_goes_in_circles_is_stopped() {
    let via = "via: 1.1 buttress\r\n".repeat(8);
    let (head, _) = refused(&format!("GET / HTTP/1.1\r\nhost: x\r\n{via}\r\n"));
    assert_eq!(head.status(), 508);
}
