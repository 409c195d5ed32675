//! A real axum server: five in an hour are five, on every route and connection.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, SocketAddr};

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use buttress_limit::{ClientIp, Global, Local, PathTemplate, Quota, RateLimitLayer, RequestKey};
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt;

fn router<K: RequestKey + Send + Sync + 'static>(layer: RateLimitLayer<Local, K>) -> Router {
    Router::new()
        .route("/a", get(|| async { "a" }).post(|| async { "posted" }))
        .route("/b/{id}", get(|| async { "b" }))
        .route("/c", post(|| async { "c" }))
        .layer(layer)
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());
    address
}

/// The statuses of requests on one connection.
async fn statuses(address: SocketAddr, requests: &[(&str, &str)]) -> Vec<u16> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut text = String::new();
    for (number, (method, path)) in requests.iter().enumerate() {
        let end = if number + 1 == requests.len() { "close" } else { "keep-alive" };
        let head = "Host: x\r\nContent-Length: 0\r\nConnection: ";
        text += &format!("{method} {path} HTTP/1.1\r\n{head}{end}\r\n\r\n");
    }
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    let lines = answers.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line[..3].parse().unwrap()).collect()
}

#[tokio::test]
async fn five_in_an_hour_are_five_on_every_route_and_connection() {
    let limiter = Local::new(Quota::per_hour(5).unwrap()).unwrap();
    let address = serve(router(RateLimitLayer::inbound(limiter.clone()))).await;
    let (mut fine, mut refused) = (0, 0);
    for _ in 0..10 {
        let four = [("GET", "/a"), ("POST", "/a"), ("GET", "/b/7"), ("POST", "/c")];
        for status in statuses(address, &four.repeat(5)).await {
            match status {
                200 => fine += 1,
                429 => refused += 1,
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!((fine, refused), (5, 195));
    assert_eq!(limiter.keys(), 1, "one client, whatever the port");
}

#[tokio::test]
async fn five_in_an_hour_are_five_without_a_server_too() {
    let limiter = Local::new(Quota::per_hour(5).unwrap()).unwrap();
    let router = router(RateLimitLayer::inbound(limiter).key(Global::new()));
    let mut fine = 0;
    for _ in 0..200 {
        let request = Request::get("/a").body(Body::empty()).unwrap();
        fine += usize::from(router.clone().oneshot(request).await.unwrap().status() == 200);
    }
    assert_eq!(fine, 5);
}

#[tokio::test]
async fn a_route_has_a_quota_whatever_its_parameters() {
    let limiter = Local::new(Quota::per_hour(2).unwrap()).unwrap();
    let layer = RateLimitLayer::inbound(limiter).key((ClientIp::peer(), PathTemplate::new()));
    let router = Router::new()
        .route("/b/{id}", get(|| async { "b" }))
        .route("/c/{id}", get(|| async { "c" }))
        .route_layer(layer);
    let address = serve(router).await;
    let requests = [("GET", "/b/1"), ("GET", "/b/2"), ("GET", "/b/3"), ("GET", "/c/1")];
    assert_eq!(statuses(address, &requests).await, [200, 200, 429, 200]);
}
