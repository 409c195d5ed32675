//! `BalanceLayer` over a pooled hyper client as an axum router's fallback: a reverse proxy.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router, body::Body, error_handling::HandleErrorLayer, extract::Request, response::Response,
};
use buttress_balance::{BalanceError, BalanceLayer, CloneBody, EndpointSet, State};
use buttress_core::{BoxError, Outcome, cause};
use buttress_retry::{Backoff, Budget, ReplayLimits, RetryLayer};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full, channel::Channel};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use support::{Server, bytes, in_flight, picks, set_of};
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tower::{ServiceBuilder, ServiceExt, timeout::TimeoutLayer, timeout::error::Elapsed};

type Pooled<B> = Client<HttpConnector, B>;

fn client<B>() -> Pooled<B>
where
    B: http_body::Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new()).build_http()
}

/// A body that came in: what is empty can be sent to the next endpoint, a stream cannot.
struct Forwarded(Body);

impl CloneBody for Forwarded {
    fn try_clone(&self) -> Option<Self> {
        http_body::Body::is_end_stream(&self.0).then(|| Self(Body::empty()))
    }
}

impl http_body::Body for Forwarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

/// How a gateway says what went wrong.
async fn failed(error: BoxError) -> (StatusCode, String) {
    let status = match cause::<BalanceError>(&*error) {
        Some(error) => error.status(),
        None if cause::<Elapsed>(&*error).is_some() => StatusCode::GATEWAY_TIMEOUT,
        None => StatusCode::BAD_GATEWAY,
    };
    (status, error.to_string())
}

/// A reverse proxy whose attempts take at most `patience`.
fn proxy(layer: BalanceLayer, patience: Duration) -> Router {
    // tower's time limit is an error of its own.
    let late = |error: &(dyn std::error::Error + 'static)| {
        cause::<Elapsed>(error).map(|_| Outcome::Timeout)
    };
    let stack = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(failed))
        .map_request(|request: Request| request.map(Forwarded))
        .layer(layer.classify_error(late))
        .layer(TimeoutLayer::new(patience))
        .service(client());
    Router::new().fallback_service(stack)
}

const PATIENCE: Duration = Duration::from_secs(10);

async fn serve(router: Router, tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// Says its name, and what it was asked for.
fn named(name: &'static str) -> Server {
    Server::axum(Router::new().fallback(async move |request: Request| {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        format!("{name}{path}{}", String::from_utf8_lossy(&body))
    }))
}

async fn fetch(client: Pooled<Full<Bytes>>, request: http::Request<Full<Bytes>>) -> Bytes {
    let response = client.oneshot(request).await.unwrap();
    let status = response.status();
    let body = bytes(response).await;
    assert_eq!(status, StatusCode::OK, "{body:?}");
    body
}

fn ask(address: SocketAddr, path: &str) -> http::Request<Full<Bytes>> {
    http::Request::get(format!("http://{address}{path}")).body(Full::default()).unwrap()
}

#[tokio::test]
async fn a_server_that_dies_costs_no_client_anything() {
    let (one, two) = (named("one"), named("two"));
    let set = set_of([&one, &two]);
    let mut tasks = JoinSet::new();
    let front = serve(proxy(BalanceLayer::new(set.clone()), PATIENCE), &mut tasks).await;

    let client = client();
    let mut callers = JoinSet::new();
    let (half, mut halves) = mpsc::channel(4);
    for _ in 0..4 {
        let (client, half) = (client.clone(), half.clone());
        callers.spawn(async move {
            for call in 0..50 {
                let body = fetch(client.clone(), ask(front, "/x")).await;
                assert!(body == "one/x" || body == "two/x", "{body:?}");
                if call == 10 {
                    half.send(()).await.unwrap();
                }
            }
        });
    }
    for _ in 0..4 {
        halves.recv().await.unwrap();
    }
    assert!(picks(&set).iter().all(|picks| *picks > 0), "both were in use");
    two.die().await;
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    assert_eq!(fetch(client, ask(front, "/last")).await, "one/last");
    assert_eq!(in_flight(&set), 0);
}

#[tokio::test]
async fn an_upload_goes_to_the_other_server_with_a_retry_outside_that_records_it() {
    let (one, two) = (named("one"), named("two"));
    let set = set_of([&one, &two]);
    let retry = RetryLayer::http()
        .budget(Budget::unlimited())
        .backoff(Backoff::fixed(Duration::from_millis(5)))
        .replay_into(ReplayLimits::new(), Body::new);
    let stack = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(failed))
        .layer(retry)
        .layer(BalanceLayer::new(set.clone()).without_failover())
        .service(client::<Body>());
    let mut tasks = JoinSet::new();
    let front = serve(Router::new().fallback_service(stack), &mut tasks).await;
    one.die().await;
    for _ in 0..20 {
        let request = http::Request::put(format!("http://{front}/"));
        let body = fetch(client(), request.body(Full::from("parcel")).unwrap()).await;
        assert_eq!(body, "two/parcel");
    }
    assert!(picks(&set)[0] > 0, "it was tried");
}

#[tokio::test]
async fn what_goes_wrong_has_the_status_that_a_gateway_gives_it() {
    let mut tasks = JoinSet::new();
    let nobody = BalanceLayer::new(EndpointSet::empty()).queue(0, Duration::ZERO);
    let nobody = serve(proxy(nobody, PATIENCE), &mut tasks).await;

    let server = named("gone");
    let set = set_of([&server]);
    server.die().await;
    let gone = serve(proxy(BalanceLayer::new(set), PATIENCE), &mut tasks).await;

    let hangs = Server::axum(Router::new().fallback(std::future::pending::<()>));
    let hangs = BalanceLayer::new(set_of([&hangs]));
    let late = serve(proxy(hangs, Duration::from_millis(20)), &mut tasks).await;

    for (front, status) in [(nobody, 503), (gone, 502), (late, 504)] {
        let response = client().oneshot(ask(front, "/")).await.unwrap();
        let found = response.status();
        assert_eq!(found.as_u16(), status, "{:?}", bytes(response).await);
    }
    let mut star = ask(gone, "/");
    *star.method_mut() = http::Method::OPTIONS;
    *star.uri_mut() = "*".parse().unwrap();
    // No client of a user sends that; so not through a socket.
    let set = EndpointSet::new([buttress_balance::Endpoint::new("http://a").unwrap()]).unwrap();
    let proxy = proxy(BalanceLayer::new(set), PATIENCE);
    let response: Result<Response, Infallible> = proxy.oneshot(star.map(Body::new)).await;
    assert_eq!(response.unwrap().status(), StatusCode::BAD_REQUEST);
}

/// Sends `first`, and `last` when it is told to.
fn slow(go: Arc<Notify>) -> Server {
    let stream = async move || {
        let (mut send, body) = Channel::<Bytes, Infallible>::new(1);
        let go = Arc::clone(&go);
        tokio::spawn(async move {
            send.send_data("first".into()).await.unwrap();
            go.notified().await;
            send.send_data("last".into()).await.unwrap();
        });
        Response::new(Body::new(body))
    };
    Server::axum(Router::new().fallback(stream))
}

#[tokio::test]
async fn a_response_that_streams_is_in_flight_until_its_end() {
    let go = Arc::new(Notify::new());
    let upstream = slow(Arc::clone(&go));
    let set = set_of([&upstream]);
    let mut tasks = JoinSet::new();
    let front = serve(proxy(BalanceLayer::new(set.clone()), PATIENCE), &mut tasks).await;

    let mut body = client().oneshot(ask(front, "/")).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((first, in_flight(&set)), (Bytes::from("first"), 1));
    go.notify_one();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "last");
    assert_eq!(in_flight(&set), 0);
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_gives_the_place_back_and_blames_nobody() {
    let upstream = slow(Arc::new(Notify::new()));
    let set = EndpointSet::new([upstream.endpoint().max_in_flight(1).unwrap()]).unwrap();
    let mut tasks = JoinSet::new();
    let layer = BalanceLayer::new(set.clone()).max_fails(1).queue(1, PATIENCE);
    let front = serve(proxy(layer, PATIENCE), &mut tasks).await;

    for _ in 0..3 {
        // All but the first get the place that the one before them has left.
        let mut body = client().oneshot(ask(front, "/")).await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
        assert_eq!(in_flight(&set), 1);
    }
    assert_eq!(set.snapshot()[0].state, State::InUse);
}
