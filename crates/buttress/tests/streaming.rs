//! Bodies pass piece by piece, in both directions.
#![expect(clippy::unwrap_used, reason = "a body that ends early is a failed test")]

mod support;

use std::sync::{Arc, Mutex};

use buttress::{Body, Client};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, channel::Channel};
use support::Server;
use tokio::sync::mpsc;

async fn data(body: &mut Body) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn a_download_comes_piece_by_piece() {
    for http2 in [false, true] {
        let (mut sender, body) = Channel::<Bytes>::new(1);
        let body = Arc::new(Mutex::new(Some(Body::new(body))));
        let server = Server::start(move |_| {
            let body = body.lock().unwrap().take().unwrap();
            async { Response::new(body) }
        })
        .await;
        let setup = Client::builder().llm();
        let setup = if http2 { setup.http2_prior_knowledge() } else { setup };
        let client = setup.build().unwrap();
        let uri = server.uri("/");
        let call = tokio::spawn(async move { client.get(uri).await });

        sender.send_data("data: 0\n\n".into()).await.unwrap();
        let mut body = call.await.unwrap().unwrap().into_body();
        assert_eq!(data(&mut body).await, "data: 0\n\n");
        for piece in 1..20 {
            // Sent only now that all before has arrived.
            let text = format!("data: {piece}\n\n");
            sender.send_data(text.clone().into()).await.unwrap();
            assert_eq!(data(&mut body).await, text);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", "1".parse().unwrap());
        sender.send(Frame::trailers(trailers.clone())).await.unwrap();
        drop(sender);
        if http2 {
            assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
        }
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn an_upload_goes_piece_by_piece() {
    for http2 in [false, true] {
        let (seen, mut arrived) = mpsc::channel(1);
        let server = Server::start(move |request: Request<hyper::body::Incoming>| {
            let seen = seen.clone();
            async move {
                let mut body = request.into_body();
                while let Some(frame) = body.frame().await {
                    seen.send(frame.unwrap().into_data().unwrap()).await.unwrap();
                }
                Response::new("thanks".into())
            }
        })
        .await;
        let setup = Client::builder();
        let setup = if http2 { setup.http2_prior_knowledge() } else { setup };
        let client = setup.build().unwrap();
        let (mut sender, body) = Channel::<Bytes>::new(1);
        let request = Request::put(server.uri("/")).body(Body::new(body)).unwrap();
        let call = tokio::spawn(async move { client.send(request).await });
        for piece in 0..20 {
            let text = format!("piece {piece}");
            sender.send_data(text.clone().into()).await.unwrap();
            assert_eq!(arrived.recv().await.unwrap(), text);
        }
        drop(sender);
        let response = call.await.unwrap().unwrap();
        assert_eq!(response.into_body().text(64).await.unwrap(), "thanks");
    }
}

#[tokio::test]
async fn a_body_in_memory_is_sent_with_its_length() {
    let server = Server::start(|request: Request<hyper::body::Incoming>| async move {
        let length = request.headers().get(header::CONTENT_LENGTH).cloned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut response = Response::new(body.into());
        response.headers_mut().extend(length.map(|length| (header::ETAG, length)));
        response
    })
    .await;
    let client = Client::new();
    let request = Request::post(server.uri("/")).body("hello").unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.headers()[header::ETAG], "5");
    let body = response.into_body();
    assert_eq!(http_body::Body::size_hint(&body).exact(), Some(5));
    assert_eq!(body.text(5).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_stream_of_pieces_is_a_body() {
    let pieces = ["one ", "", "two"].map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    assert!(body.try_clone().is_none());
    assert_eq!(body.text(7).await.unwrap(), "one two");
}

#[tokio::test]
async fn a_host_header_of_the_callers_own_is_left_alone() {
    let server = Server::start(|request: Request<_>| async move {
        let host = request.headers()[header::HOST].to_str().unwrap_or_default().to_owned();
        Response::new(host.into())
    })
    .await;
    let request = Request::get(server.uri("/")).header(header::HOST, "tenant.example").body(());
    let response = Client::new().send(request.unwrap()).await.unwrap();
    assert_eq!(response.into_body().text(64).await.unwrap(), "tenant.example");
}

#[tokio::test]
async fn options_for_the_whole_server_has_an_asterisk_for_its_target() {
    let server = Server::start(|request: Request<_>| async move {
        Response::new(request.uri().to_string().into())
    })
    .await;
    let uri = http::Uri::builder()
        .scheme("http")
        .authority(server.address.to_string())
        .path_and_query("*")
        .build()
        .unwrap();
    let request = Request::options(uri).body(()).unwrap();
    let response = Client::new().send(request).await.unwrap();
    assert_eq!(response.into_body().text(64).await.unwrap(), "*");
}

#[tokio::test]
async fn a_connection_can_be_upgraded() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::accept(|mut stream| async move {
        support::read_head(&mut stream).await;
        let head =
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        stream.write_all(&word).await.unwrap();
    })
    .await;
    let request = Request::get(server.uri("/"))
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "echo")
        .body(())
        .unwrap();
    let response = Client::new().send(request).await.unwrap();
    let mut stream = hyper_util::rt::TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    stream.write_all(b"ping").await.unwrap();
    let mut word = [0; 4];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"ping");
}
