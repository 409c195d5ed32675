//! HTTP/2 on either side.

#![expect(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::{convert::Infallible, net::SocketAddr};

use http_body_util::{BodyExt as _, Empty, Full, channel::Channel};
use hyper::{
    HeaderMap, Request, Response, Version,
    body::{Bytes, Incoming},
    client::conn::http2,
    server,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{Gateway, OK, Upstream};
use tokio::{
    net::{TcpListener, TcpStream},
    task::block_in_place,
};

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

async fn connect(gateway: SocketAddr) -> http2::SendRequest<Body> {
    let stream = TcpStream::connect(gateway).await.unwrap();
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// An HTTP/2 server without TLS that sends every request's body, trailers and head back.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<Incoming>| async {
                let mut response = Response::builder()
                    .header("seen-version", format!("{:?}", request.version()))
                    .header("seen-authority", request.uri().authority().unwrap().as_str());
                for name in ["te", "via", "host", "cookie"] {
                    for value in request.headers().get_all(name) {
                        response = response.header(format!("seen-{name}"), value);
                    }
                }
                response.body(request.into_body())
            });
            let serve = server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serve);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_2_client_reaches_an_http_1_upstream() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut sender = connect(gateway.address).await;
    let request = Request::get("http://me.example/p?q")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Empty::new().boxed_unsync())
        .unwrap();
    let answered = tokio::spawn(sender.send_request(request));
    let head = block_in_place(|| {
        let mut server = upstream.accept();
        let head = server.head();
        server.send(OK);
        head
    });
    assert_eq!(head.start, "GET /p?q HTTP/1.1");
    assert_eq!(head.field("cookie"), Some("a=1; b=2"));
    assert_eq!(head.field("via"), Some("2 buttress"));
    assert_eq!(head.field("x-forwarded-host"), Some("me.example"));
    let response = answered.await.unwrap().unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(response.headers()["via"], "1.1 buttress");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_passes_from_end_to_end_with_trailers_frame_by_frame() {
    let upstream = echo().await;
    let gateway = Gateway::start(&format!("http://{upstream}"), &["--upstream-protocol", "http2"]);
    let mut sender = connect(gateway.address).await;
    let (mut upload, body) = Channel::<Bytes, Infallible>::new(1);
    let request = Request::post("http://me.example/grpc.Service/Call")
        .header("te", "trailers")
        .body(body.boxed_unsync())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.headers()["seen-version"], "HTTP/2.0");
    assert_eq!(response.headers()["seen-te"], "trailers");
    assert_eq!(response.headers()["seen-via"], "2 buttress");
    assert_eq!(response.headers()["seen-authority"], upstream.to_string().as_str());
    assert_eq!(response.headers()["via"], "2 buttress");
    let mut body = response.into_body();
    for n in 0..20 {
        let piece = Bytes::from(format!("message {n}"));
        upload.send_data(piece.clone()).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    upload.send_trailers(trailers.clone()).await.unwrap();
    drop(upload);
    assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
    assert!(body.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_share_a_connection() {
    let upstream = echo().await;
    let gateway = Gateway::start(&format!("http://{upstream}"), &["--upstream-protocol", "http2"]);
    let sender = connect(gateway.address).await;
    let calls = (0..100).map(|n| {
        let mut sender = sender.clone();
        tokio::spawn(async move {
            let body = Full::from(format!("call {n}")).boxed_unsync();
            let request = Request::put(format!("http://x/{n}")).body(body).unwrap();
            let response = sender.send_request(request).await.unwrap();
            let echoed = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(echoed, format!("call {n}"));
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_an_http_2_stream() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut sender = connect(gateway.address).await;
    let request = Request::get("http://x/").body(Empty::new().boxed_unsync()).unwrap();
    let answered = tokio::spawn(sender.send_request(request));
    let mut server = block_in_place(|| {
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
        server
    });
    let mut body = answered.await.unwrap().unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    gateway.signal("TERM");
    while TcpStream::connect(gateway.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.send("3\r\ntwo\r\n0\r\n\r\n");
    assert_eq!(body.collect().await.unwrap().to_bytes(), "two");
    assert_eq!(block_in_place(|| gateway.wait()).0.code(), Some(0));
}
