//! `BalanceLayer` under tonic clients: a channel for each endpoint, or one HTTP/2 client for all.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_balance::{
    Balance, BalanceLayer, Endpoint, EndpointSet, Once, PerEndpoint, RoundRobin, Routed, State,
};
use buttress_core::BoxError;
use buttress_retry::{Backoff, Budget, HeldBody, ReplayLimits, RetryLayer};
use futures_util::{future::BoxFuture, stream};
use http::{Request, Response, Uri, uri::PathAndQuery};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use support::{Server, grpc::Text, in_flight, picks, set_of};
use tonic::{
    Code, Status,
    body::Body,
    client::{Grpc as Caller, GrpcService},
    server::{Grpc, NamedService},
    transport::{self, Channel, server::TcpIncoming},
};
use tower::{Layer, Service, ServiceBuilder, service_fn};

/// Greets, unless it is told to fail; counts its calls.
#[derive(Clone)]
struct Greeter {
    name: &'static str,
    calls: Arc<AtomicUsize>,
    fails: Option<Code>,
}

impl NamedService for Greeter {
    const NAME: &'static str = "test.Greeter";
}

impl Greeter {
    fn greet(&self) -> Result<String, Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.fails.map_or_else(|| Ok(self.name.to_owned()), |code| Err(Status::new(code, "no")))
    }
}

impl Service<Request<Body>> for Greeter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (once, each) = (self.clone(), self.clone());
        let once = move |_: tonic::Request<String>| {
            std::future::ready(once.greet().map(tonic::Response::new))
        };
        // The failure comes as an item of the stream, so its status comes in the trailers.
        let each = move |_: tonic::Request<String>| {
            let items = stream::iter([each.greet()]);
            std::future::ready(Ok::<_, Status>(tonic::Response::new(items)))
        };
        Box::pin(async move {
            let mut grpc = Grpc::new(Text);
            Ok(match request.uri().path() {
                "/test.Greeter/Once" => grpc.unary(service_fn(once), request).await,
                _ => grpc.server_streaming(service_fn(each), request).await,
            })
        })
    }
}

struct Running {
    server: Server,
    calls: Arc<AtomicUsize>,
}

impl Running {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn serve(name: &'static str, fails: Option<Code>) -> Running {
    let calls = Arc::<AtomicUsize>::default();
    let greeter = Greeter { name, calls: Arc::clone(&calls), fails };
    let server = Server::start(|listener| async {
        let router = transport::Server::builder().add_service(greeter);
        router.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
    });
    Running { server, calls }
}

type MakeChannel = fn(&Endpoint, &()) -> Channel;
type Channels = BalanceLayer<RoundRobin, PerEndpoint<MakeChannel>, (), Once>;
type OverChannels = Balance<Routed<(), MakeChannel, Channel>, RoundRobin, (), Once>;

/// A channel connects when it is first used, and again when its connection was lost.
fn channel(endpoint: &Endpoint, (): &()) -> Channel {
    Channel::builder(endpoint.uri().clone()).connect_lazy()
}

/// tonic's bodies are streams, which go out once: it is for a retry to record them.
fn channels(set: &EndpointSet) -> Channels {
    let make: MakeChannel = channel;
    BalanceLayer::new(set.clone())
        .policy(RoundRobin::new())
        .grpc()
        .without_failover()
        .per_endpoint(make)
}

/// Repeats what was not sent and what is `UNAVAILABLE`.
fn retrying(
    set: &EndpointSet,
) -> Caller<
    impl GrpcService<
        Body,
        ResponseBody = HeldBody<<OverChannels as GrpcService<Body>>::ResponseBody>,
        Error = BoxError,
    > + Clone,
> {
    let retry = RetryLayer::grpc()
        .budget(Budget::unlimited())
        .backoff(Backoff::fixed(Duration::from_millis(5)))
        .replay_into(ReplayLimits::new(), Body::new);
    Caller::new(ServiceBuilder::new().layer(retry).layer(channels(set)).service(()))
}

async fn once<S>(caller: &mut Caller<S>) -> Result<String, Status>
where
    S: GrpcService<Body, Error: std::fmt::Debug>,
    S::ResponseBody: http_body::Body<Error: Into<BoxError>> + Send + 'static,
{
    caller.ready().await.unwrap();
    let path = PathAndQuery::from_static("/test.Greeter/Once");
    let answer = caller.unary(tonic::Request::new("hi".to_owned()), path, Text).await;
    answer.map(tonic::Response::into_inner)
}

async fn streamed<S>(caller: &mut Caller<S>) -> Result<Option<String>, Status>
where
    S: GrpcService<Body, Error: std::fmt::Debug>,
    S::ResponseBody: http_body::Body<Error: Into<BoxError>> + Send + 'static,
{
    caller.ready().await.unwrap();
    let path = PathAndQuery::from_static("/test.Greeter/Stream");
    let request = tonic::Request::new("hi".to_owned());
    let mut items = caller.server_streaming(request, path, Text).await?.into_inner();
    let first = items.message().await?;
    assert!(items.message().await?.is_none());
    Ok(first)
}

fn states(set: &EndpointSet) -> Vec<State> {
    set.snapshot().iter().map(|endpoint| endpoint.state).collect()
}

#[tokio::test]
async fn calls_take_turns_over_a_channel_for_each_endpoint() {
    let (one, two) = (serve("one", None), serve("two", None));
    let set = set_of([&one.server, &two.server]);
    let mut caller = Caller::new(channels(&set).layer(()));
    for _ in 0..5 {
        let names = [once(&mut caller).await.unwrap(), once(&mut caller).await.unwrap()];
        assert_ne!(names[0], names[1]);
    }
    for _ in 0..5 {
        let names = [streamed(&mut caller).await.unwrap(), streamed(&mut caller).await.unwrap()];
        assert_ne!(names[0], names[1]);
    }
    assert_eq!((one.calls(), two.calls(), in_flight(&set)), (10, 10, 0));
}

#[tokio::test]
async fn one_http2_client_serves_all_endpoints() {
    let (one, two) = (serve("one", None), serve("two", None));
    let set = set_of([&one.server, &two.server]);
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Body>();
    let layer = BalanceLayer::new(set.clone()).policy(RoundRobin::new());
    let balance = layer.grpc().without_failover().layer(client);
    let mut caller = Caller::with_origin(balance, Uri::from_static("http://greeter.internal"));
    for _ in 0..5 {
        let names = [once(&mut caller).await.unwrap(), once(&mut caller).await.unwrap()];
        assert_ne!(names[0], names[1]);
    }
    assert_eq!((picks(&set), in_flight(&set)), (vec![5, 5], 0));
}

#[tokio::test]
async fn a_server_that_is_unavailable_is_left_after_a_few_calls() {
    for trailers in [false, true] {
        let (bad, good) = (serve("bad", Some(Code::Unavailable)), serve("good", None));
        let set = set_of([&bad.server, &good.server]);
        let mut caller = Caller::new(channels(&set).layer(()));
        let mut failed = 0;
        for _ in 0..20 {
            let greeted = match trailers {
                false => once(&mut caller).await.map(Some),
                true => streamed(&mut caller).await,
            };
            failed += usize::from(greeted.is_err());
        }
        // Three in a row, or some more where a good head came before the bad trailers.
        assert!((3..=6).contains(&failed), "trailers: {trailers}, {failed} failed");
        assert_eq!((bad.calls(), good.calls()), (failed, 20 - failed), "trailers: {trailers}");
        assert_eq!(states(&set), [State::Ejected, State::InUse]);
        assert_eq!(in_flight(&set), 0);
    }
}

#[tokio::test]
async fn a_status_that_is_the_callers_fault_is_no_reason_to_leave() {
    let (wrong, good) = (serve("wrong", Some(Code::InvalidArgument)), serve("good", None));
    let set = set_of([&wrong.server, &good.server]);
    let mut caller = Caller::new(channels(&set).layer(()));
    for _ in 0..20 {
        match once(&mut caller).await {
            Ok(name) => assert_eq!(name, "good"),
            Err(status) => assert_eq!(status.code(), Code::InvalidArgument),
        }
    }
    assert_eq!((wrong.calls(), good.calls()), (10, 10));
    assert_eq!(states(&set), [State::InUse; 2]);
}

#[tokio::test]
async fn a_retry_outside_goes_to_the_other_server() {
    for trailers in [false, true] {
        let (bad, good) = (serve("bad", Some(Code::Unavailable)), serve("good", None));
        let set = set_of([&bad.server, &good.server]);
        let mut caller = retrying(&set);
        for _ in 0..20 {
            let greeted = match trailers {
                false => once(&mut caller).await.map(Some),
                true => streamed(&mut caller).await,
            };
            assert_eq!(greeted.unwrap().as_deref(), Some("good"), "trailers: {trailers}");
        }
        assert_eq!(good.calls(), 20, "trailers: {trailers}");
        assert!((3..=6).contains(&bad.calls()), "trailers: {trailers}, {} failed", bad.calls());
        assert_eq!(in_flight(&set), 0);
    }
}

#[tokio::test]
async fn a_retry_knows_which_server_a_status_in_the_trailers_came_from() {
    let (bad, good) = (serve("bad", Some(Code::Unavailable)), serve("good", None));
    // It is the first choice until it was tried.
    let spare = good.server.endpoint().backup();
    let set = EndpointSet::new([bad.server.endpoint(), spare]).unwrap();
    let mut caller = retrying(&set);
    assert_eq!(streamed(&mut caller).await.unwrap().as_deref(), Some("good"));
    assert_eq!((bad.calls(), good.calls()), (1, 1));
}

#[tokio::test]
async fn a_server_that_dies_costs_no_call_with_a_retry_outside() {
    let (one, two) = (serve("one", None), serve("two", None));
    let set = set_of([&one.server, &two.server]);
    let mut caller = retrying(&set);
    for _ in 0..6 {
        once(&mut caller).await.unwrap();
    }
    assert_eq!(one.calls(), 3, "a connection is there to be lost");
    one.server.die().await;
    for _ in 0..20 {
        assert_eq!(once(&mut caller).await.unwrap(), "two");
    }
    assert_eq!(states(&set), [State::Ejected, State::InUse]);
    assert_eq!((two.calls(), in_flight(&set)), (23, 0));
}
