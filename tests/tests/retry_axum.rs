//! `RetryLayer` in an axum server: as a layer on its handlers, and around the client that they use.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    BoxError, Router,
    body::Body,
    error_handling::HandleErrorLayer,
    extract::{Request, State},
    response::Response,
    routing::any,
};
use buttress_core::{TimedOut, cause};
use buttress_retry::{
    Backoff, HttpPolicy, ReplayBodies, ReplayBody, ReplayLimits, Retry, RetryLayer,
};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, task::JoinSet};
use tower::{Layer, ServiceBuilder, ServiceExt};

type Pooled<B> = Client<HttpConnector, B>;

fn client<B>() -> Pooled<B>
where
    B: http_body::Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new()).build_http()
}

fn short() -> Backoff {
    Backoff::fixed(Duration::from_millis(5))
}

async fn serve(router: Router, tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// Says that it is busy to the first two calls, and gives every other one its body back.
async fn busy_twice(State(calls): State<Arc<AtomicUsize>>, request: Request) -> Response {
    let call = calls.fetch_add(1, Ordering::SeqCst);
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut response = Response::new(Body::from(body));
    if call < 2 {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

fn put(address: SocketAddr, body: &'static str) -> Request<Full<Bytes>> {
    Request::put(format!("http://{address}/")).body(Full::from(body)).unwrap()
}

async fn text(response: http::Response<hyper::body::Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_layer_on_a_router_retries_its_handlers() {
    let calls = Arc::new(AtomicUsize::new(0));
    let policy = HttpPolicy::http().replay(ReplayLimits::new());
    let failed = async |error: BoxError| (StatusCode::BAD_GATEWAY, error.to_string());
    let router = Router::new().route("/", any(busy_twice)).with_state(Arc::clone(&calls)).layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(failed))
            .layer(RetryLayer::new(policy).backoff(short())),
    );
    let mut tasks = JoinSet::new();
    let address = serve(router, &mut tasks).await;

    let response = client().oneshot(put(address, "parcel")).await.unwrap();

    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((text(response).await, calls.load(Ordering::SeqCst)), (Bytes::from("parcel"), 3));
}

#[tokio::test]
async fn an_error_of_the_layer_reaches_the_error_handler() {
    let policy = HttpPolicy::http().replay(ReplayLimits::new());
    let failed = async |error: BoxError| match cause::<TimedOut>(&*error) {
        Some(_) => StatusCode::GATEWAY_TIMEOUT,
        None => StatusCode::BAD_GATEWAY,
    };
    let never = any(std::future::pending::<()>);
    let router = Router::new().route("/", never).layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(failed))
            .layer(RetryLayer::new(policy).total_timeout(Duration::from_millis(20))),
    );
    let mut tasks = JoinSet::new();
    let address = serve(router, &mut tasks).await;
    let response = client().oneshot(put(address, "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
}

type Upstream = Retry<Pooled<ReplayBody<Body>>, HttpPolicy<ReplayBodies>>;

/// Passes the request on, streaming, through a client that retries.
async fn pass_on(
    State((upstream, address)): State<(Upstream, SocketAddr)>,
    mut request: Request,
) -> Response {
    *request.uri_mut() = format!("http://{address}/").parse().unwrap();
    upstream.oneshot(request).await.unwrap().map(Body::new)
}

#[tokio::test]
async fn a_handler_streams_through_a_client_that_retries() {
    let mut tasks = JoinSet::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let busy = Router::new().route("/", any(busy_twice)).with_state(Arc::clone(&calls));
    let behind = serve(busy, &mut tasks).await;
    let policy = HttpPolicy::http().replay(ReplayLimits::new());
    let upstream = RetryLayer::new(policy).backoff(short()).layer(client());
    let front = Router::new().route("/", any(pass_on)).with_state((upstream, behind));
    let address = serve(front, &mut tasks).await;

    let response = client().oneshot(put(address, "parcel")).await.unwrap();

    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((text(response).await, calls.load(Ordering::SeqCst)), (Bytes::from("parcel"), 3));
}
