//! What `BalanceLayer`, its services and its futures are, over the clients of others.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    cell::Cell,
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{Router, error_handling::HandleErrorLayer};
use buttress_balance::{
    Adaptive, Balance, BalanceLayer, CloneBodies, Endpoint, EndpointSet, LeastRequest, Once,
    PerEndpoint, Rendezvous, ResponseBody, Routed, Served, Shared,
};
use buttress_core::BoxError;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use support::{Server, bytes, in_flight, picks, set_of};
use tokio::{sync::Semaphore, task::JoinSet};
use tonic::{client::GrpcService, transport::Channel};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, service_fn,
    util::{BoxCloneSyncService, BoxCloneSyncServiceLayer},
};

const fn goes_anywhere<T: Clone + Send + Sync + fmt::Debug + 'static>() {}
const fn is_send<T: Send + 'static>() {}
const fn is_sync<T: Sync>() {}
const fn is_unpin<T: Unpin>() {}
/// What a generated tonic client asks of its channel.
const fn is_grpc<T>()
where
    T: GrpcService<tonic::body::Body>,
    T::Error: Into<BoxError>,
    T::ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
{
}

/// Fails to compile when the type has the trait: two answers are then possible.
macro_rules! assert_not {
    ($type:ty: $bound:path) => {
        const _: fn() = || {
            trait Answer<Which> {
                fn answer() {}
            }
            struct Always;
            struct WhenBound;
            impl<T: ?Sized> Answer<Always> for T {}
            impl<T: ?Sized + $bound> Answer<WhenBound> for T {}
            let _ = <$type as Answer<_>>::answer;
        };
    };
}

type Hyper<B> = Client<HttpConnector, B>;
type Over<S, M = CloneBodies> = Balance<Shared<S>, Adaptive, (), M>;
type MakeChannel = fn(&Endpoint, &()) -> Channel;
type OverChannels = Balance<Routed<(), MakeChannel, Channel>, Adaptive, (), Once>;
type Future<S, B> = <S as Service<Request<B>>>::Future;

const _: () = {
    goes_anywhere::<EndpointSet>();
    goes_anywhere::<BalanceLayer>();
    goes_anywhere::<BalanceLayer<Rendezvous<fn(&Request<()>) -> Option<u64>>>>();
    goes_anywhere::<BalanceLayer<LeastRequest, PerEndpoint<MakeChannel>, (), Once>>();
    goes_anywhere::<Over<Hyper<Full<Bytes>>>>();
    goes_anywhere::<Over<Hyper<axum::body::Body>, Once>>();
    goes_anywhere::<Over<Hyper<tonic::body::Body>, Once>>();
    goes_anywhere::<Over<reqwest::Client>>();
    goes_anywhere::<OverChannels>();

    // Their futures can be named and sent to another thread, whatever the body.
    is_send::<Future<Over<Hyper<Full<Bytes>>>, Full<Bytes>>>();
    is_send::<Future<Over<Hyper<axum::body::Body>, Once>, axum::body::Body>>();
    is_send::<Future<OverChannels, tonic::body::Body>>();
    is_send::<ResponseBody<Incoming, Adaptive>>();
    is_sync::<ResponseBody<Incoming, Adaptive>>();
    is_unpin::<ResponseBody<Incoming, Adaptive>>();

    is_grpc::<OverChannels>();
    is_grpc::<Over<Hyper<tonic::body::Body>, Once>>();
};

assert_not!(Over<Local>: Send);
assert_not!(Future<Over<Local>, ()>: Send);

fn get() -> Request<Full<Bytes>> {
    Request::get("/x").body(Full::default()).unwrap()
}

fn two_servers() -> [Server; 2] {
    ["one", "two"].map(|name| Server::axum(Router::new().fallback(async move || name)))
}

#[tokio::test]
async fn clones_over_a_hyper_client_are_called_from_many_tasks_behind_a_box() {
    let [one, two] = two_servers();
    let set = set_of([&one, &two]);
    let client: Hyper<Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let layer = BoxCloneSyncServiceLayer::new(BalanceLayer::new(set.clone()));
    let boxed: BoxCloneSyncService<_, _, BoxError> = layer.layer(client);
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let boxed = boxed.clone();
        calls.spawn(async move { bytes(boxed.oneshot(get()).await.unwrap()).await });
    }
    let answers = calls.join_all().await;
    assert!(answers.contains(&Bytes::from("one")) && answers.contains(&Bytes::from("two")));
    assert_eq!((picks(&set).iter().sum::<u64>(), in_flight(&set)), (100, 0));
}

#[tokio::test]
async fn a_balancer_is_an_axum_service_once_its_errors_are_answers() {
    let [one, two] = two_servers();
    let client: Hyper<axum::body::Body> = Client::builder(TokioExecutor::new()).build_http();
    let balance = BalanceLayer::new(set_of([&one, &two])).without_failover().layer(client);
    let failed = async |error: BoxError| (StatusCode::BAD_GATEWAY, error.to_string());
    let proxy = ServiceBuilder::new().layer(HandleErrorLayer::new(failed)).service(balance);
    let router = Router::new().fallback_service(proxy);
    let response = router.oneshot(get().map(axum::body::Body::new)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.extensions().get::<Served>().is_some());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body == "one" || body == "two", "{body:?}");
}

/// A reqwest client for the requests of the `http` crate; it is a tower service for its own alone.
#[derive(Clone, Debug)]
struct Reqwest(reqwest::Client);

impl Service<Request<Bytes>> for Reqwest {
    type Response = Response<reqwest::Body>;
    type Error = reqwest::Error;
    type Future =
        futures_util::future::BoxFuture<'static, Result<Response<reqwest::Body>, reqwest::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), reqwest::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let call = reqwest::Request::try_from(request).map(|request| self.0.call(request));
        Box::pin(async { Ok(call?.await?.into()) })
    }
}

#[tokio::test]
async fn a_reqwest_client_loses_no_call_to_a_server_that_is_gone() {
    let [gone, there] = two_servers();
    let set = set_of([&gone, &there]);
    gone.die().await;
    // A proxy has no way to a server on loopback.
    let reqwest = Reqwest(reqwest::Client::builder().no_proxy().build().unwrap());
    let client = BalanceLayer::new(set.clone()).layer(reqwest);
    let client: BoxCloneSyncService<_, _, BoxError> = BoxCloneSyncService::new(client);
    for _ in 0..20 {
        // Not idempotent; reqwest's errors too say that nothing was sent.
        let request = Request::post("/x").body(Bytes::from_static(b"order")).unwrap();
        let response = client.clone().oneshot(request).await.unwrap();
        assert_eq!(bytes(response).await, "two");
    }
    assert!(picks(&set)[0] > 0, "it was tried");
    assert_eq!(in_flight(&set), 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_clones_share_what_is_in_flight_and_what_was_picked() {
    let endpoints = ["http://one", "http://two", "http://three", "http://four"];
    let set = EndpointSet::new(endpoints.map(|uri| Endpoint::new(uri).unwrap())).unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let inner = service_fn(move |_: Request<Full<Bytes>>| {
        let held = Arc::clone(&held);
        async move {
            held.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("answer")))
        }
    });
    let balance = BalanceLayer::new(set.clone()).least_request().layer(inner);
    let boxed = BoxCloneSyncService::new(balance);
    let mut calls = JoinSet::new();
    for _ in 0..1_000 {
        calls.spawn(boxed.clone().oneshot(get()));
    }
    drop(boxed);
    while in_flight(&set) < 1_000 {
        tokio::task::yield_now().await;
    }
    let shares: Vec<_> = set.snapshot().iter().map(|e| (e.in_flight, e.picks)).collect();
    assert_eq!(shares, [(250, 250); 4], "as even as of one service");

    gate.add_permits(1_000);
    let answers = calls.join_all().await;
    assert_eq!(in_flight(&set), 1_000, "the bodies are still to be read");
    drop(answers);
    assert_eq!((picks(&set), in_flight(&set)), (vec![250; 4], 0));
}

/// A service that cannot leave its thread.
#[derive(Clone)]
struct Local(Rc<Cell<u32>>);

impl<B> Service<Request<B>> for Local {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        self.0.set(self.0.get() + 1);
        ready(Ok(Response::default()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stays_on_its_thread_is_balanced_too() {
    let set = EndpointSet::new([Endpoint::new("http://one").unwrap()]).unwrap();
    let local = Local(Rc::default());
    let shared = BalanceLayer::new(set.clone()).layer(local.clone());
    shared.oneshot(get()).await.unwrap();
    let each = BalanceLayer::new(set).per_endpoint(|_: &Endpoint, local: &Local| local.clone());
    each.layer(local.clone()).oneshot(get()).await.unwrap();
    assert_eq!(local.0.get(), 2);
}
