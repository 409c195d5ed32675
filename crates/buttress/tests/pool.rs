//! Connections: how many, and which version of HTTP they speak.

mod support;

use std::{sync::Arc, time::Duration};

use buttress::{Body, Client};
use http::{Method, Request, Response, StatusCode, Version};
use support::{Server, read_head};
use tokio::{io::AsyncWriteExt, sync::Barrier, task::JoinSet};

async fn ok(_: Request<hyper::body::Incoming>) -> Response<Body> {
    Response::new("fine".into())
}

#[tokio::test]
async fn requests_one_after_the_other_share_a_connection() {
    let server = Server::start(ok).await;
    let client = Client::new();
    for _ in 0..5 {
        let response = client.clone().get(server.uri("/")).await.unwrap();
        assert_eq!(response.into_body().text(16).await.unwrap(), "fine");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_pool_that_keeps_nothing_opens_a_connection_for_each_request() {
    let server = Server::start(ok).await;
    let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
    for _ in 0..3 {
        let response = client.get(server.uri("/")).await.unwrap();
        assert_eq!(response.into_body().text(16).await.unwrap(), "fine");
    }
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn a_connection_idle_for_too_long_is_not_used_again() {
    let server = Server::start(ok).await;
    let client = Client::new();
    for (wait, connections) in [(0, 1), (60, 1), (120, 2)] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(wait)).await;
        tokio::time::resume();
        let response = client.get(server.uri("/")).await.unwrap();
        assert_eq!(response.into_body().text(16).await.unwrap(), "fine");
        assert_eq!(server.accepted(), connections, "after {wait} s");
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced_unnoticed() {
    let server = Server::accept(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    })
    .await;
    let client = Client::builder().no_retry().build().unwrap();
    for connections in 1..=5 {
        let request = Request::post(server.uri("/")).body(()).unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(server.accepted(), connections);
        // Once around the event loop, so that the end of the stream is seen.
        tokio::time::pause();
        tokio::time::advance(Duration::from_millis(1)).await;
        tokio::time::resume();
    }
}

#[tokio::test]
async fn http2_prior_knowledge_sends_requests_side_by_side_over_one_connection() {
    const CALLS: usize = 8;
    // Nobody is answered before all have asked.
    let barrier = Arc::new(Barrier::new(CALLS));
    let server = Server::start(move |request: Request<_>| {
        let barrier = Arc::clone(&barrier);
        async move {
            assert_eq!(request.version(), Version::HTTP_2);
            barrier.wait().await;
            Response::new(Body::empty())
        }
    })
    .await;

    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (client, uri) = (client.clone(), server.uri("/"));
        calls.spawn(async move { client.get(uri).await.unwrap().version() });
    }
    assert_eq!(calls.join_all().await, [Version::HTTP_2; CALLS]);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn the_version_of_a_request_is_no_demand_on_the_connection() {
    let server = Server::start(ok).await;
    for version in [Version::HTTP_10, Version::HTTP_2, Version::HTTP_3] {
        let request = Request::builder().uri(server.uri("/")).version(version).body(()).unwrap();
        let response = Client::new().send(request).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_11);
    }
}

#[tokio::test]
async fn the_client_is_a_service_for_bodies_of_any_type() {
    use http_body_util::Full;
    use tower::ServiceExt;

    let server = Server::start(|request: Request<_>| async {
        let body = Body::new(request.into_body()).bytes(64).await.unwrap();
        Response::new(body.into())
    })
    .await;
    let client = Client::new();
    let request = Request::builder()
        .method(Method::POST)
        .uri(server.uri("/"))
        .body(Full::new(bytes::Bytes::from_static(b"echo")))
        .unwrap();
    let response = client.clone().oneshot(request).await.unwrap();
    assert_eq!(response.into_body().text(64).await.unwrap(), "echo");

    let request = Request::get(server.uri("/")).body(String::new()).unwrap();
    let response = client.oneshot(request).await.unwrap();
    assert_eq!(response.into_body().text(64).await.unwrap(), "");
}

#[tokio::test]
async fn dropping_the_last_client_closes_its_idle_connections() {
    use tokio::{io::AsyncReadExt, sync::mpsc};
    let (closed, mut ended) = mpsc::channel(1);
    let server = Server::accept(move |mut stream| {
        let closed = closed.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            closed.send(stream.read(&mut [0]).await.unwrap()).await.unwrap();
        }
    })
    .await;
    let client = Client::new();
    let other = client.clone();
    assert_eq!(client.get(server.uri("/")).await.unwrap().status(), StatusCode::NO_CONTENT);
    drop(client);
    assert!(ended.try_recv().is_err(), "a clone is left");
    drop(other);
    assert_eq!(ended.recv().await, Some(0));
}
