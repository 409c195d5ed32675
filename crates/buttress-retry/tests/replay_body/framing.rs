#![expect(clippy::unwrap_used, reason = "helpers assert on behalf of the tests that call them")]

use std::time::Duration;

use buttress_core::cause;
use buttress_retry::{ReplayBody, Superseded};
use buttress_testkit::Script;
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::timeout,
};

use crate::support::{KIB, record};

type Body = ReplayBody<Script>;

/// An HTTP/1.1 connection: what is sent on it, the task that drives it, and the far end.
async fn connect(body: Body) -> (impl Future<Output = Response<Incoming>>, Driver, DuplexStream) {
    let (near, far) = duplex(64 * KIB);
    let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::post("/upload").header("host", "test").body(body).unwrap();
    (async move { sender.send_request(request).await.unwrap() }, driver, far)
}

type Driver = JoinHandle<hyper::Result<()>>;

/// Reads until what came ends with this.
async fn read_until(far: &mut DuplexStream, end: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        assert_ne!(far.read_buf(&mut seen).await.unwrap(), 0, "closed before {end:?}");
    }
    String::from_utf8(seen).unwrap()
}

async fn answer(far: &mut DuplexStream, status: &str) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    far.write_all(head.as_bytes()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_is_framed_like_the_first() {
    let sized = || Script::new().data("he").data("llo").exact();
    let stream = || Script::new().data("he").data("llo");
    let cases = [
        (sized(), "\r\ncontent-length: 5\r\n", "\r\n\r\nhello"),
        (stream(), "\r\ntransfer-encoding: chunked\r\n", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
    ];
    for (source, framing, payload) in cases {
        let (refused, replay) = record(source);
        drop(refused);
        // The replayed data need not come in the same chunks, so the first to be sent is the third.
        let _unsent = replay.body().unwrap();
        let (send, _driver, mut far) = connect(replay.body().unwrap()).await;
        let serve = async {
            let request = read_until(&mut far, payload).await;
            answer(&mut far, "200 OK").await;
            request
        };
        let (response, request) = tokio::join!(send, serve);
        assert_eq!(response.status(), StatusCode::OK);
        assert!(request.contains(framing), "{request:?}");
        assert_eq!(request.matches("llo").count(), 1, "{request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_early_503_in_mid_upload_leaves_the_whole_body_to_the_next_attempt() {
    let source = Script::new().data("one").hold().data("two").data("three");
    let gate = source.handle();
    let (first, replay) = record(source);

    let (send, driver, mut far) = connect(first).await;
    let serve = async {
        let _ = read_until(&mut far, "one\r\n").await;
        answer(&mut far, "503 Service Unavailable").await;
    };
    let (response, ()) = tokio::join!(send, serve);
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!driver.is_finished(), "the connection still holds the body");

    let second = replay.body().unwrap();
    let error = timeout(Duration::from_secs(1), driver).await.expect("it was woken");
    let error = error.unwrap().unwrap_err();
    assert!(cause::<Superseded>(&error).is_some(), "told why: {error:?}");

    gate.release();
    let (send, _driver, mut far) = connect(second).await;
    let serve = async {
        let request = read_until(&mut far, "\r\n0\r\n\r\n").await;
        answer(&mut far, "200 OK").await;
        request
    };
    let (response, request) = tokio::join!(send, serve);
    assert_eq!(response.status(), StatusCode::OK);
    assert!(request.ends_with("3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"), "{request:?}");
}
