//! Endpoints that answer as a test wants them to, without a network.

#![allow(dead_code, reason = "no test file uses all of it")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_balance::{Endpoint, EndpointSet};
use buttress_core::BoxError;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{
    Either, Full,
    channel::{Channel, Sender},
};
use tower::Service;

/// A response body: in memory, or fed by the test.
pub(crate) type Body = Either<Full<Bytes>, Channel<Bytes, io::Error>>;
pub(crate) type Answer = Result<Response<Body>, BoxError>;
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;
type Behave = Arc<dyn Fn(Request<Full<Bytes>>) -> Answering + Send + Sync>;

/// A client for any number of hosts, each of which behaves as it was told; one that was not told
/// answers 200.
#[derive(Clone, Default)]
pub(crate) struct Net(Arc<Mutex<Hosts>>);

#[derive(Default)]
struct Hosts {
    behave: HashMap<String, Behave>,
    calls: HashMap<String, u64>,
    seen: Vec<Request<()>>,
}

impl Net {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// What `host` does from now on.
    pub(crate) fn on<F, Fut>(&self, host: &str, behave: F)
    where
        F: Fn(Request<Full<Bytes>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let behave: Behave = Arc::new(move |request| Box::pin(behave(request)));
        self.0.lock().unwrap().behave.insert(host.to_owned(), behave);
    }

    pub(crate) fn answers(&self, host: &str, status: u16) {
        self.on(host, move |_| async move { Ok(plain(status)) });
    }

    pub(crate) fn refuses(&self, host: &str) {
        self.on(host, |_| async { Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()) });
    }

    pub(crate) fn resets(&self, host: &str) {
        self.on(host, |_| async { Err(io::Error::from(io::ErrorKind::ConnectionReset).into()) });
    }

    pub(crate) fn hangs(&self, host: &str) {
        self.on(host, |_| std::future::pending());
    }

    pub(crate) fn takes(&self, host: &str, time: Duration, status: u16) {
        self.on(host, move |_| async move {
            tokio::time::sleep(time).await;
            Ok(plain(status))
        });
    }

    /// How often `host` was called.
    pub(crate) fn calls(&self, host: &str) -> u64 {
        self.0.lock().unwrap().calls.get(host).copied().unwrap_or(0)
    }

    pub(crate) fn all_calls(&self) -> u64 {
        self.0.lock().unwrap().calls.values().sum()
    }

    /// The heads of the requests, in order.
    pub(crate) fn seen(&self) -> Vec<Request<()>> {
        std::mem::take(&mut self.0.lock().unwrap().seen)
    }
}

impl Service<Request<Full<Bytes>>> for Net {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Answering {
        let host = request.uri().host().unwrap_or("nowhere").to_owned();
        let mut hosts = self.0.lock().unwrap();
        *hosts.calls.entry(host.clone()).or_default() += 1;
        let (parts, body) = request.into_parts();
        hosts.seen.push(Request::from_parts(parts.clone(), ()));
        let behave = hosts.behave.get(&host).cloned();
        drop(hosts);
        match behave {
            Some(behave) => behave(Request::from_parts(parts, body)),
            None => Box::pin(async { Ok(plain(200)) }),
        }
    }
}

pub(crate) fn plain(status: u16) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// A response whose body is fed, or broken, by the sender.
pub(crate) fn streamed() -> (Response<Body>, Sender<Bytes, io::Error>) {
    let (send, body) = Channel::new(8);
    (Response::new(Either::Right(body)), send)
}

pub(crate) fn endpoint(host: &str) -> Endpoint {
    Endpoint::new(format!("http://{host}")).unwrap()
}

pub(crate) fn set<const N: usize>(hosts: [&str; N]) -> EndpointSet {
    EndpointSet::new(hosts.map(endpoint)).unwrap()
}

pub(crate) fn get() -> Request<Full<Bytes>> {
    Request::get("http://service.test/x").body(Full::default()).unwrap()
}

pub(crate) fn post() -> Request<Full<Bytes>> {
    Request::post("http://service.test/x").body(Full::from("question")).unwrap()
}

/// Calls in flight at all endpoints.
pub(crate) fn in_flight(set: &EndpointSet) -> u32 {
    set.snapshot().iter().map(|endpoint| endpoint.in_flight).sum()
}

pub(crate) async fn pass(seconds: f64) {
    tokio::time::advance(Duration::from_secs_f64(seconds)).await;
}
