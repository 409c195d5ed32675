//! The retry layer on the client, over real connections.
#![expect(clippy::unwrap_used, reason = "a setting of the test that is refused is a failed test")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress::{
    Attempts, Body, Client, RetryLayer,
    client::Bodies,
    retry::{Backoff, ReplayLimits},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use support::Server;

fn soon() -> Backoff {
    Backoff::exponential(Duration::from_millis(1), Duration::from_millis(2)).unwrap()
}

/// A server that is busy for the first `busy` requests, and then sends back what it is sent.
/// Counts the requests.
async fn busy(busy: usize) -> (Server, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let server = Server::start(move |request: Request<hyper::body::Incoming>| {
        let number = seen.fetch_add(1, Ordering::SeqCst);
        async move {
            let body = request.into_body().collect().await.map(|body| body.to_bytes());
            let mut response = Response::new(Body::from(body.unwrap_or_default()));
            if number < busy {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
    })
    .await;
    (server, count)
}

fn stream(pieces: usize) -> Body {
    let piece = Bytes::from(vec![b'x'; 1024]);
    Body::from_stream(futures_util::stream::iter(vec![
        Ok::<_, std::convert::Infallible>(piece);
        pieces
    ]))
}

#[tokio::test]
async fn a_client_as_it_comes_gets_past_a_busy_server() {
    let (server, count) = busy(2).await;
    let response = Client::new().get(server.uri("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.extensions().get::<Attempts>().map(Attempts::made), Some(3));
    assert_eq!(count.load(Ordering::SeqCst), 3);
    assert_eq!(server.accepted(), 1, "failed answers are emptied, and their connection used again");
}

#[tokio::test]
async fn a_post_goes_again_only_where_a_refusal_says_that_nothing_was_done() {
    let (server, count) = busy(1).await;
    let post = || Request::post(server.uri("/v1/chat/completions")).body(r#"{"model":"m"}"#);
    let http = Client::builder().build().unwrap();
    let response = http.send(post().unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(count.load(Ordering::SeqCst), 1);

    let (server, count) = busy(2).await;
    let post = || Request::post(server.uri("/v1/chat/completions")).body(r#"{"model":"m"}"#);
    let llm = Client::builder().retry(RetryLayer::llm().backoff(soon())).build().unwrap();
    let response = llm.send(post().unwrap()).await.unwrap();
    assert_eq!(response.into_body().text(64).await.unwrap(), r#"{"model":"m"}"#);
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_streamed_upload_goes_again_whole() {
    let (server, count) = busy(2).await;
    let client = Client::builder().retry(RetryLayer::llm().backoff(soon())).build().unwrap();
    let request = Request::put(server.uri("/")).body(stream(50)).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.into_body().bytes(1 << 20).await.unwrap().len(), 50 * 1024);
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_streamed_upload_past_the_limit_goes_once() {
    let (server, count) = busy(1).await;
    let limits = ReplayLimits::new().per_request(10 * 1024);
    let layer = RetryLayer::llm().map_policy(|policy| policy.bodies(Bodies::new(limits)));
    let client = Client::builder().retry(layer).build().unwrap();
    let request = Request::put(server.uri("/")).body(stream(50)).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.into_body().bytes(1 << 20).await.unwrap().len(), 50 * 1024);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn without_retries_a_failure_is_returned_at_once() {
    let (server, count) = busy(1).await;
    let response =
        Client::builder().no_retry().build().unwrap().get(server.uri("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_stack_of_ones_own_fits_around_the_transport() {
    use tower::ServiceBuilder;
    let (server, count) = busy(1).await;
    let stack = ServiceBuilder::new()
        .map_request(|mut request: Request<Body>| {
            request.headers_mut().insert("x-own", http::HeaderValue::from_static("1"));
            request
        })
        .layer(RetryLayer::http().backoff(soon()))
        .into_inner();
    let client = Client::builder().layer(stack).build().unwrap();
    let response = client.get(server.uri("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_for_any_method() {
    // Bound only now and then: the port is free while the first attempts are made.
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let resolver = tower::service_fn(move |_: buttress::transport::Name| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok::<_, std::convert::Infallible>([address]))
    });
    let layer = RetryLayer::http().backoff(soon());
    let client = Client::builder().resolver(resolver).retry(layer).build().unwrap();
    let request = Request::post("http://upstream.example/").body("pay").unwrap();
    let error = client.send(request).await.unwrap_err();
    assert_eq!(calls.load(Ordering::SeqCst), 3, "{error:?}");
}
