//! Real sockets on the loopback: peers that misbehave byte by byte, and hyper's pooled client.

#![allow(dead_code, reason = "each test file uses its own part of it")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

pub(crate) mod h1;
pub(crate) mod h2;

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_retry::{Backoff, Done, Ending, Observer};
use http::{Request, Uri};
use http_body::Body;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};
use tower::Service;

/// No test here waits longer for what should come at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// A listening peer, gone with its connections when it is dropped.
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    accepts: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// Gives each connection to `each`, with its number, counted from 1.
pub(crate) async fn listen<F, Fut>(each: F) -> Peer
where
    F: Fn(usize, TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let accepts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepts);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            connections.spawn(each(number, stream));
        }
    });
    Peer { addr, accepts, _tasks: tasks }
}

impl Peer {
    /// How many connections were made.
    pub(crate) fn accepts(&self) -> usize {
        self.accepts.load(Ordering::SeqCst)
    }

    pub(crate) fn uri(&self) -> Uri {
        format!("http://{}/", self.addr).parse().unwrap()
    }
}

/// A port that refuses connections for as long as this lives.
pub(crate) struct Refusing {
    addr: SocketAddr,
    _bound: TcpSocket,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        // Bound, so that nobody else gets the port, but never listening.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { addr: socket.local_addr().unwrap(), _bound: socket }
    }
}

/// Connects to the refusing port a number of times, then where it is told to.
#[derive(Clone)]
pub(crate) struct RefusedAtFirst {
    refusals: Arc<AtomicUsize>,
    refusing: Arc<Refusing>,
    connector: HttpConnector,
}

impl RefusedAtFirst {
    pub(crate) fn new(refusals: usize) -> Self {
        Self {
            refusals: Arc::new(AtomicUsize::new(refusals)),
            refusing: Arc::new(Refusing::new()),
            connector: HttpConnector::new(),
        }
    }

    pub(crate) fn refusals_left(&self) -> usize {
        self.refusals.load(Ordering::SeqCst)
    }
}

impl Service<Uri> for RefusedAtFirst {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = <HttpConnector as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let take = |left: usize| left.checked_sub(1);
        let refused = self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
        let uri =
            if refused { format!("http://{}/", self.refusing.addr).parse().unwrap() } else { uri };
        self.connector.call(uri)
    }
}

/// hyper's pooled client, which leaves every retry to the layer.
pub(crate) fn client<B>() -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build(connector)
}

/// The same over `HTTP/2` without TLS.
pub(crate) fn client_h2<B>() -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .retry_canceled_requests(false)
        .http2_only(true)
        .build(connector)
}

/// Calls a service once it is ready, and does not wait for ever.
pub(crate) async fn send<S, B>(
    service: &mut S,
    request: Request<B>,
) -> Result<S::Response, S::Error>
where
    S: Service<Request<B>>,
{
    within(async {
        std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    })
    .await
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}

/// A wait that no test has to feel, and long enough for a drained connection to be back in its pool.
pub(crate) fn short() -> Backoff {
    Backoff::fixed(Duration::from_millis(50))
}

/// Remembers how each call ended, with the attempts that it had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endings(Arc<Mutex<Vec<(u32, Ending)>>>);

impl Endings {
    /// How the only call ended.
    pub(crate) fn only(&self) -> (u32, Ending) {
        let all = self.0.lock().unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0]
    }
}

impl Observer for Endings {
    fn done(&self, event: &Done) {
        self.0.lock().unwrap().push((event.attempts, event.ending));
    }
}

/// What tasks of a peer leave for the test.
#[derive(Debug)]
pub(crate) struct Notes<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Notes<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Notes<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn push(&self, note: T) {
        self.0.lock().unwrap().push(note);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }
}
