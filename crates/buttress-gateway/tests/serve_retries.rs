//! Which requests go again, and what the client hears when nothing helped.

#![expect(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use support::{Gateway, OK, Peer, Upstream};

const BUSY: &str = "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbusy";
/// Waits that a test does not notice.
const QUICK: [&str; 4] = ["--backoff-min", "1ms", "--backoff-max", "2ms"];

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// Answers the next request on a connection of its own, and says what its body was.
fn answer(upstream: &Upstream, answer: &str) -> String {
    let mut server = upstream.accept();
    let head = server.head();
    let body = if head.start.starts_with("POST") { server.body(&head) } else { Vec::new() };
    server.send(answer);
    String::from_utf8(body).unwrap()
}

fn reply(client: &mut Peer) -> (u16, String) {
    let head = client.head();
    let body = client.body(&head);
    (head.status(), String::from_utf8(body).unwrap())
}

#[test]
fn a_post_to_a_model_goes_again_after_503_with_the_same_body() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &QUICK);
    let mut client = gateway.connect();
    client.send(post("/v1/chat/completions", "{\"prompt\": 1}"));
    assert_eq!(answer(&upstream, BUSY), "{\"prompt\": 1}");
    assert_eq!(answer(&upstream, BUSY), "{\"prompt\": 1}");
    assert_eq!(answer(&upstream, OK), "{\"prompt\": 1}");
    assert_eq!(reply(&mut client), (200, "ok".to_owned()));
}

#[test]
fn a_post_to_a_model_behind_a_base_path_goes_again_too() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&format!("{}/api/v1", upstream.url()), &QUICK);
    let mut client = gateway.connect();
    client.send(post("/chat/completions", "{}"));
    answer(&upstream, BUSY);
    answer(&upstream, OK);
    assert_eq!(reply(&mut client).0, 200);
}

#[test]
fn a_chunked_upload_goes_again_whole() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &QUICK);
    let mut client = gateway.connect();
    client.send("POST /v1/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send_chunk("one ");
    client.send_chunk("two");
    client.send("0\r\n\r\n");
    assert_eq!(answer(&upstream, BUSY), "one two");
    assert_eq!(answer(&upstream, OK), "one two");
    assert_eq!(reply(&mut client).0, 200);
}

#[test]
fn any_other_post_is_sent_once() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &QUICK);
    let mut client = gateway.connect();
    client.send(post("/orders", "{}"));
    answer(&upstream, BUSY);
    assert_eq!(reply(&mut client), (503, "busy".to_owned()));
    assert!(!upstream.has_caller());
}

#[test]
fn a_get_goes_again_until_its_attempts_are_used() {
    let upstream = Upstream::new();
    let flags = [&QUICK[..], &["--attempts", "2"]].concat();
    let gateway = Gateway::start(&upstream.url(), &flags);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    answer(&upstream, BUSY);
    answer(&upstream, BUSY);
    assert_eq!(reply(&mut client), (503, "busy".to_owned()));
    assert!(!upstream.has_caller());
}

#[test]
fn the_policy_flag_decides_for_every_path() {
    for (policy, path, attempts) in
        [("llm", "/orders", 2), ("http", "/v1/x", 1), ("off", "/v1/x", 1)]
    {
        let upstream = Upstream::new();
        let flags = [&QUICK[..], &["--policy", policy, "--attempts", "2"]].concat();
        let gateway = Gateway::start(&upstream.url(), &flags);
        let mut client = gateway.connect();
        client.send(post(path, "{}"));
        for _ in 0..attempts {
            answer(&upstream, BUSY);
        }
        assert_eq!(reply(&mut client).0, 503, "{policy}");
        assert!(!upstream.has_caller(), "{policy}");
    }
}

#[test]
fn an_upload_over_the_replay_limit_is_sent_once() {
    let upstream = Upstream::new();
    let flags = [&QUICK[..], &["--max-body-replay", "4"]].concat();
    let gateway = Gateway::start(&upstream.url(), &flags);
    let mut client = gateway.connect();
    client.send(post("/v1/x", "12345"));
    assert_eq!(answer(&upstream, BUSY), "12345");
    assert_eq!(reply(&mut client).0, 503);
    assert!(!upstream.has_caller());
}

#[test]
fn an_upstream_that_is_not_there_is_a_502_that_tells_nothing() {
    let url = Upstream::new().url();
    let gateway = Gateway::start(&url, &QUICK);
    let mut client = gateway.connect();
    client.send(post("/x", "{}"));
    let head = client.head();
    assert_eq!(head.status(), 502);
    assert_eq!(head.field("content-type"), Some("application/json"));
    assert_eq!(head.field("via"), Some("1.1 buttress"));
    let body: serde_json::Value = serde_json::from_slice(&client.body(&head)).unwrap();
    assert_eq!(body["error"]["code"], "upstream_unreachable");
    assert_eq!(body["error"]["type"], "gateway_error");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(!message.contains("127.0.0.1"), "{message}");
}

#[test]
fn an_upstream_that_hangs_up_is_a_502() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send(post("/x", "{}"));
    let mut server = upstream.accept();
    server.head();
    drop(server);
    let (status, body) = reply(&mut client);
    assert_eq!(status, 502);
    assert!(body.contains("upstream_failed"), "{body}");
}

#[test]
fn an_upstream_that_talks_nonsense_is_a_502() {
    for nonsense in [
        "SSH-2.0-OpenSSH_9\r\n",
        "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ] {
        let upstream = Upstream::new();
        let gateway = Gateway::start(&upstream.url(), &["--attempts", "1"]);
        let mut client = gateway.connect();
        client.send(post("/x", "{}"));
        answer(&upstream, nonsense);
        assert_eq!(reply(&mut client).0, 502, "{nonsense}");
    }
}

#[test]
fn an_upstream_that_does_not_answer_is_a_504() {
    for flag in ["--first-byte-timeout", "--deadline", "--attempt-timeout"] {
        let upstream = Upstream::new();
        let gateway = Gateway::start(&upstream.url(), &[flag, "100ms", "--attempts", "1"]);
        let mut client = gateway.connect();
        client.send(post("/x", "{}"));
        let mut server = upstream.accept();
        server.head();
        let (status, body) = reply(&mut client);
        assert_eq!(status, 504, "{flag}: {body}");
        assert!(body.contains("upstream_timeout"), "{flag}: {body}");
        // The call was dropped, and its connection with it.
        server.rest();
    }
}

#[test]
fn a_client_that_leaves_ends_the_call_to_the_upstream() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    drop(client);
    assert_eq!(server.rest().0, b"");
}

#[test]
fn a_client_that_leaves_a_stream_ends_it_at_the_upstream() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n");
    client.head();
    assert_eq!(client.chunk(), b"hi");
    drop(client);
    assert_eq!(server.rest().0, b"");
}
