//! An upstream that dies within an answer ends the client's in an error, never in a clean end; what
//! came before the end is passed on.

#![expect(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::{error::Error, net::SocketAddr};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{Gateway, Peer, Upstream};

/// Two ways for an upstream to die.
#[derive(Clone, Copy, Debug)]
enum Death {
    Close,
    Reset,
}

const DEATHS: [Death; 2] = [Death::Close, Death::Reset];

impl Death {
    fn of(self, server: Peer) {
        match self {
            Self::Close => drop(server),
            Self::Reset => server.reset(),
        }
    }
}

/// Asks for `path`, has the upstream begin its answer with `head` and `piece`, and gives both ends.
fn begun(gateway: &Gateway, upstream: &Upstream, request: &str, answer: &str) -> (Peer, Peer) {
    let mut client = gateway.connect();
    client.send(request);
    let mut server = upstream.accept();
    server.head();
    server.send(answer);
    (client, server)
}

const GET: &str = "GET /x HTTP/1.1\r\nhost: x\r\n\r\n";

#[test]
fn a_chunked_answer_is_left_without_its_last_chunk() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    for death in DEATHS {
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        let (mut client, server) = begun(&gateway, &upstream, GET, answer);
        client.head();
        assert_eq!(client.chunk(), b"hello");
        death.of(server);
        let (rest, _) = client.rest();
        assert_eq!(rest, b"", "{death:?}: something that looks like an end");
    }
}

#[test]
fn an_answer_of_known_length_stays_short() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    for death in DEATHS {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
        let (mut client, server) = begun(&gateway, &upstream, GET, answer);
        assert_eq!(client.head().field("content-length"), Some("10"));
        assert_eq!(client.bytes(5), b"hello");
        death.of(server);
        assert_eq!(client.rest().0, b"", "{death:?}");
    }
}

#[test]
fn an_event_stream_of_a_model_is_left_without_its_last_chunk() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    for death in DEATHS {
        let (mut client, server) = begun(
            &gateway,
            &upstream,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
             transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
        );
        client.head();
        assert_eq!(client.chunk(), b"data: 1\n\n");
        death.of(server);
        assert_eq!(client.rest().0, b"", "{death:?}");
    }
}

#[test]
fn what_came_with_the_end_is_passed_on_first() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    for _ in 0..20 {
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nlast\r\n";
        let (mut client, server) = begun(&gateway, &upstream, GET, answer);
        drop(server);
        client.head();
        assert_eq!(client.chunk(), b"last");
        assert_eq!(client.rest().0, b"");
    }
}

#[test]
fn a_broken_chunk_is_not_repaired() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nnonsense\r\n";
    let (mut client, _server) = begun(&gateway, &upstream, GET, answer);
    client.head();
    assert_eq!(client.chunk(), b"ok");
    assert_eq!(client.rest().0, b"");
}

/// For HTTP/1.0 the end of the connection is the end of the answer, so only a reset tells.
#[test]
fn an_http_1_0_client_sees_a_reset() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    for death in DEATHS {
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        let (mut client, server) = begun(&gateway, &upstream, "GET / HTTP/1.0\r\n\r\n", answer);
        assert_eq!(client.head().status(), 200);
        assert_eq!(client.bytes(5), b"hello");
        death.of(server);
        assert_eq!(client.rest(), (Vec::new(), true), "{death:?}");
    }
}

#[test]
fn an_upstream_that_falls_silent_is_cut_off() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--idle-read-timeout", "200ms"]);
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let (mut client, _server) = begun(&gateway, &upstream, GET, answer);
    client.head();
    assert_eq!(client.chunk(), b"hello");
    assert_eq!(client.rest().0, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_2_client_sees_its_stream_reset() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    for death in DEATHS {
        for answer in [
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        ] {
            let asked = tokio::spawn(ask(gateway.address));
            let server = tokio::task::block_in_place(|| {
                let mut server = upstream.accept();
                server.head();
                server.send(answer);
                server
            });
            let head = asked.await.unwrap();
            let mut body = head.into_body();
            let first = body.frame().await.unwrap().unwrap();
            assert_eq!(first.into_data().unwrap(), "hello");
            death.of(server);
            let error = body.frame().await.expect("no clean end").unwrap_err();
            let reset = error.source().unwrap().downcast_ref::<h2::Error>().unwrap();
            assert!(reset.is_reset() && reset.is_remote(), "{death:?}: {reset:?}");
        }
    }
}

async fn ask(gateway: SocketAddr) -> hyper::Response<hyper::body::Incoming> {
    let stream = tokio::net::TcpStream::connect(gateway).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://gateway/x").body(Empty::<Bytes>::new()).unwrap();
    sender.send_request(request).await.unwrap()
}

#[test]
fn a_failure_that_breaks_off_is_left_without_its_last_chunk() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    // The answers of both policies: under /v1/ a failure is held to its end, if it has one.
    for path in ["/v1/x", "/x"] {
        for death in DEATHS {
            let answer =
                "HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
            let (mut client, server) = begun(&gateway, &upstream, &request, answer);
            death.of(server);
            assert_eq!(client.head().field("content-length"), None);
            let (rest, _) = client.rest();
            assert!(!rest.ends_with(b"0\r\n\r\n"), "{path}, {death:?}: a clean end");
        }
    }
}
