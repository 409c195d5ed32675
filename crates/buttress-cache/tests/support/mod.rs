//! An origin that answers by a function and remembers what it was asked, and a client of the layer.

#![allow(dead_code, reason = "each test file uses its own part of it")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_cache::{
    BoxError, Cache, CacheLayer, CacheOutcome, CacheResult, MemoryStore, Profile, ResponseBody,
};
use buttress_testkit::{Planted, Script};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Empty};
use tower::{Layer, Service, ServiceExt};

pub(crate) type Answer = Result<Response<Script>, Planted>;
pub(crate) type Client = Cache<Origin>;

/// What the origin does with one request.
pub(crate) struct Reply {
    after: Duration,
    answer: Answer,
}

impl From<Response<Script>> for Reply {
    fn from(response: Response<Script>) -> Self {
        Self { after: Duration::ZERO, answer: Ok(response) }
    }
}

impl Reply {
    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    pub(crate) fn failure() -> Self {
        Self { after: Duration::ZERO, answer: Err(Planted::new(1)) }
    }
}

/// Says what happens with the request, of which `number` went before.
type Answers = dyn Fn(&Parts, usize) -> Reply + Send + Sync;

#[derive(Clone)]
pub(crate) struct Origin {
    answers: Arc<Answers>,
    seen: Arc<Mutex<Vec<Parts>>>,
}

impl Origin {
    pub(crate) fn new<R: Into<Reply>>(
        answers: impl Fn(&Parts, usize) -> R + Send + Sync + 'static,
    ) -> Self {
        let answers = move |parts: &Parts, number| answers(parts, number).into();
        Self { answers: Arc::new(answers), seen: Arc::default() }
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// How many clones of it there are.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.seen)
    }

    /// The fields of a request that arrived.
    pub(crate) fn seen(&self, number: usize) -> HeaderMap {
        self.seen.lock().unwrap()[number].headers.clone()
    }

    pub(crate) fn methods(&self) -> Vec<Method> {
        self.seen.lock().unwrap().iter().map(|parts| parts.method.clone()).collect()
    }

    /// This origin behind a cache with all that the RFCs allow.
    pub(crate) fn cached(&self) -> Client {
        self.behind(&layer())
    }

    pub(crate) fn behind(&self, layer: &CacheLayer) -> Client {
        layer.layer(self.clone())
    }
}

pub(crate) fn layer() -> CacheLayer {
    CacheLayer::new(MemoryStore::new(64 << 20).unwrap()).profile(Profile::rfc())
}

impl<B> Service<Request<B>> for Origin {
    type Response = Response<Script>;
    type Error = Planted;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Planted>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, _) = request.into_parts();
        let number = self.calls();
        let reply = (self.answers)(&parts, number);
        self.seen.lock().unwrap().push(parts);
        Box::pin(async move {
            if !reply.after.is_zero() {
                tokio::time::sleep(reply.after).await;
            }
            reply.answer
        })
    }
}

/// A response with these fields; a body follows with `body`.
pub(crate) fn respond(status: u16, fields: &[(&str, &str)]) -> Response<Script> {
    respond_with(status, fields, Script::new())
}

pub(crate) fn respond_with(status: u16, fields: &[(&str, &str)], body: Script) -> Response<Script> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        let name: http::HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

/// A 200 with these fields and this body.
pub(crate) fn ok(fields: &[(&str, &str)], body: &str) -> Response<Script> {
    respond_with(200, fields, Script::new().data(body.to_owned()))
}

/// A fresh 200 with this body.
pub(crate) fn fresh(body: &str) -> Response<Script> {
    ok(&[("cache-control", "max-age=60")], body)
}

/// What came back, read to its end.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) result: Option<CacheResult>,
}

impl Got {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub(crate) fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(Empty::new()).unwrap()
}

pub(crate) async fn send(
    client: &Client,
    request: Request<Empty<Bytes>>,
) -> Result<Response<ResponseBody<Script>>, Planted> {
    client.clone().oneshot(request).await
}

pub(crate) async fn read(response: Response<ResponseBody<Script>>) -> Result<Got, BoxError> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    let result = parts.extensions.get::<CacheOutcome>().map(|outcome| outcome.result);
    Ok(Got { status: parts.status.as_u16(), headers: parts.headers, body, result })
}

pub(crate) const URI: &str = "http://a.example/x";

pub(crate) async fn get_with(client: &Client, fields: &[(&str, &str)]) -> Got {
    ask(client, "GET", URI, fields).await
}

pub(crate) async fn get(client: &Client) -> Got {
    get_with(client, &[]).await
}

pub(crate) async fn ask(client: &Client, method: &str, uri: &str, fields: &[(&str, &str)]) -> Got {
    let response = send(client, request(method, uri, fields)).await.unwrap();
    read(response).await.unwrap()
}

pub(crate) async fn pass(secs: u64) {
    tokio::time::advance(Duration::from_secs(secs)).await;
}

/// Lets tasks and timers that are due run.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
