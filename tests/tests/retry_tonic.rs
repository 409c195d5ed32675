//! `RetryLayer::grpc` around a tonic channel, against a tonic server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::BoxError;
use buttress_retry::{Backoff, HeldBody, ReplayBody, ReplayLimits, RetryLayer};
use futures_util::stream;
use http::{Request, Response, uri::PathAndQuery};
use support::grpc::Text;
use tokio::{task::JoinSet, time::Instant};
use tonic::{
    Code, Status,
    body::Body,
    client::Grpc as Caller,
    server::{Grpc, NamedService},
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tower::{Service, ServiceBuilder, service_fn, util::BoxCloneService};

/// Fails so many calls with what `fail` makes, then greets.
#[derive(Clone)]
struct Greeter {
    calls: Arc<AtomicUsize>,
    failures: usize,
    fail: fn() -> Status,
}

impl NamedService for Greeter {
    const NAME: &'static str = "test.Greeter";
}

impl Greeter {
    fn new(failures: usize, fail: fn() -> Status) -> Self {
        Self { calls: Arc::default(), failures, fail }
    }

    fn greet(&self, name: &str) -> Result<String, Status> {
        if self.calls.fetch_add(1, Ordering::SeqCst) < self.failures {
            return Err((self.fail)());
        }
        Ok(format!("hello {name}"))
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service<Request<Body>> for Greeter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let greeter = self.clone();
        let once = move |request: tonic::Request<String>| {
            let greeter = greeter.clone();
            async move { greeter.greet(request.get_ref()).map(tonic::Response::new) }
        };
        let greeter = self.clone();
        // The failure comes as an item of the stream, so its status comes in the trailers.
        let each = move |request: tonic::Request<String>| {
            let items = stream::iter([greeter.greet(request.get_ref())]);
            async move { Ok::<_, Status>(tonic::Response::new(items)) }
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

async fn serve(greeter: &Greeter, tasks: &mut JoinSet<()>) -> SocketAddr {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = incoming.local_addr().unwrap();
    let router = Server::builder().add_service(greeter.clone());
    tasks.spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });
    address
}

type Retrying = BoxCloneService<Request<Body>, Response<HeldBody<Body>>, BoxError>;

/// A tonic client over a channel that retries. Its bodies cannot be cloned, so they are recorded.
fn caller(address: SocketAddr) -> Caller<Retrying> {
    let channel: Channel =
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let retry = RetryLayer::grpc()
        .backoff(Backoff::fixed(Duration::from_millis(5)))
        .map_policy(|policy| policy.replay(ReplayLimits::new()));
    let service = ServiceBuilder::new()
        .layer(retry)
        .map_request(|request: Request<ReplayBody<Body>>| request.map(Body::new))
        .service(channel);
    Caller::new(BoxCloneService::new(service))
}

async fn once(caller: &mut Caller<Retrying>, name: &str) -> Result<String, Status> {
    caller.ready().await.unwrap();
    let request = tonic::Request::new(name.to_owned());
    let path = PathAndQuery::from_static("/test.Greeter/Once");
    caller.unary(request, path, Text).await.map(tonic::Response::into_inner)
}

async fn streamed(
    caller: &mut Caller<Retrying>,
    request: tonic::Request<String>,
) -> Result<Option<String>, Status> {
    caller.ready().await.unwrap();
    let path = PathAndQuery::from_static("/test.Greeter/Stream");
    let mut items = caller.server_streaming(request, path, Text).await?.into_inner();
    items.message().await
}

fn unavailable() -> Status {
    Status::unavailable("starting up")
}

fn pushed_back(pushback: &str) -> Status {
    let mut status = unavailable();
    status.metadata_mut().insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
    status
}

#[tokio::test]
async fn a_unary_call_goes_again_after_unavailable() {
    let mut tasks = JoinSet::new();
    let greeter = Greeter::new(2, unavailable);
    let mut caller = caller(serve(&greeter, &mut tasks).await);
    assert_eq!(once(&mut caller, "world").await.unwrap(), "hello world");
    assert_eq!(greeter.calls(), 3);
}

#[tokio::test]
async fn a_call_whose_status_comes_in_the_trailers_goes_again() {
    let mut tasks = JoinSet::new();
    let greeter = Greeter::new(2, unavailable);
    let mut caller = caller(serve(&greeter, &mut tasks).await);
    let item = streamed(&mut caller, tonic::Request::new("world".to_owned())).await.unwrap();
    assert_eq!((item.as_deref(), greeter.calls()), (Some("hello world"), 3));
}

#[tokio::test]
async fn the_last_status_reaches_the_caller_when_all_attempts_failed() {
    let mut tasks = JoinSet::new();
    let greeter = Greeter::new(9, unavailable);
    let mut caller = caller(serve(&greeter, &mut tasks).await);
    let status = once(&mut caller, "world").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "starting up"));
    assert_eq!(greeter.calls(), 3);
    let request = tonic::Request::new("world".to_owned());
    let status = streamed(&mut caller, request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "starting up"));
    assert_eq!(greeter.calls(), 6);
}

#[tokio::test]
async fn another_status_is_the_callers() {
    let mut tasks = JoinSet::new();
    let greeter = Greeter::new(1, || Status::failed_precondition("no such name"));
    let mut caller = caller(serve(&greeter, &mut tasks).await);
    let status = once(&mut caller, "world").await.unwrap_err();
    assert_eq!((status.code(), greeter.calls()), (Code::FailedPrecondition, 1));
}

#[tokio::test]
async fn a_pushback_says_when_and_whether() {
    let mut tasks = JoinSet::new();
    let greeter = Greeter::new(1, || pushed_back("120"));
    let mut later = caller(serve(&greeter, &mut tasks).await);
    let begin = Instant::now();
    assert_eq!(once(&mut later, "world").await.unwrap(), "hello world");
    assert!(begin.elapsed() >= Duration::from_millis(120), "{:?}", begin.elapsed());

    let greeter = Greeter::new(1, || pushed_back("-1"));
    let mut never = caller(serve(&greeter, &mut tasks).await);
    let status = once(&mut never, "world").await.unwrap_err();
    assert_eq!((status.code(), greeter.calls()), (Code::Unavailable, 1));
}

#[tokio::test]
async fn no_retry_is_begun_that_the_deadline_of_the_call_forbids() {
    let mut tasks = JoinSet::new();
    let greeter = Greeter::new(1, || pushed_back("60000"));
    let mut caller = caller(serve(&greeter, &mut tasks).await);
    let mut request = tonic::Request::new("world".to_owned());
    // Sent as `grpc-timeout`.
    request.set_timeout(Duration::from_secs(20));
    let status = streamed(&mut caller, request).await.unwrap_err();
    assert_eq!((status.code(), greeter.calls()), (Code::Unavailable, 1));
}
