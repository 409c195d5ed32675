//! Endpoints behind unix sockets, each with a client of its own.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{io, path::Path};

use axum::{Router, extract::Request};
use buttress_balance::{
    BalanceLayer, Endpoint, EndpointSet, ResponseBody, RoundRobin, Served, State,
};
use buttress_core::BoxError;
use bytes::Bytes;
use http::{Response, StatusCode, Uri, header::HOST};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use support::{bytes, in_flight, picks};
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinSet,
};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

type Call = http::Request<Full<Bytes>>;
type Answer = Response<ResponseBody<Incoming, RoundRobin>>;

/// The path of the socket is the endpoint's name.
fn socket(path: &Path) -> Endpoint {
    Endpoint::new("http://app.internal/v1").unwrap().name(path.to_str().unwrap())
}

fn client(set: &EndpointSet) -> BoxCloneSyncService<Call, Answer, BoxError> {
    let layer = BalanceLayer::new(set.clone()).policy(RoundRobin::new());
    let layer = layer.per_endpoint(|endpoint: &Endpoint, (): &()| {
        let path = endpoint.shown_as().to_owned();
        let connect = service_fn(move |_: Uri| {
            let path = path.clone();
            Box::pin(async { UnixStream::connect(path).await.map(TokioIo::new) })
        });
        Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connect)
    });
    BoxCloneSyncService::new(layer.layer(()))
}

/// Says its name, the host it is called by and the path.
fn serve(path: &Path, name: &'static str, tasks: &mut JoinSet<()>) {
    let listener = UnixListener::bind(path).unwrap();
    let router = Router::new().fallback(async move |request: Request| {
        let host = request.headers()[HOST].to_str().unwrap();
        format!("{name} {host} {}", request.uri())
    });
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
}

fn post() -> Call {
    http::Request::post("/chat?x=1").body(Full::from("hi")).unwrap()
}

#[tokio::test]
async fn sockets_take_turns_and_are_called_by_the_host_of_the_uri() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.sock"), folder.path().join("two.sock"));
    let mut tasks = JoinSet::new();
    serve(&one, "one", &mut tasks);
    serve(&two, "two", &mut tasks);
    let set = EndpointSet::new([socket(&one), socket(&two)]).unwrap();
    let client = client(&set);
    for _ in 0..6 {
        let response = client.clone().oneshot(post()).await.unwrap();
        let served = response.extensions().get::<Served>().unwrap().endpoint().to_owned();
        let name = if one.to_str() == Some(&served) { "one" } else { "two" };
        assert_eq!(bytes(response).await, format!("{name} app.internal /v1/chat?x=1"));
    }
    assert_eq!((picks(&set), in_flight(&set)), (vec![3, 3], 0));
}

#[tokio::test]
async fn a_socket_that_is_not_there_costs_no_call_not_even_a_post() {
    let folder = tempfile::tempdir().unwrap();
    let (here, gone) = (folder.path().join("here.sock"), folder.path().join("gone.sock"));
    // A file that nobody listens at any more is refused, not missing.
    let left = folder.path().join("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    let mut tasks = JoinSet::new();
    serve(&here, "here", &mut tasks);
    let set = EndpointSet::new([&gone, &left, &here].map(|path| socket(path))).unwrap();
    let client = client(&set);
    for _ in 0..30 {
        let response = client.clone().oneshot(post()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    let picks = picks(&set);
    assert!(picks[0] > 0 && picks[1] > 0 && picks[2] == 30, "{picks:?}");
    assert_eq!((set.snapshot()[2].state, in_flight(&set)), (State::InUse, 0));

    let error = UnixStream::connect(&gone).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound, "it really is not there");
}
