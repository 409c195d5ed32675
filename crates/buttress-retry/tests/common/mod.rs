//! An upstream that answers from a script and remembers what it was sent, and when.

#![allow(dead_code, reason = "each test file uses its own part of it")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{Attempts, BoxError};
use buttress_retry::{Cancelled, Done, Ending, Observer, Retrying};
use buttress_testkit::Script;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::Instant;
use tower::Service;

pub(crate) type Payload = Full<Bytes>;
pub(crate) type Answer = Result<Response<Script>, BoxError>;

/// One request as the upstream saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) attempts: Option<Attempts>,
}

/// What the upstream does with one call.
pub(crate) enum Reply {
    Now(Answer),
    After(Duration, Answer),
    Never,
}

#[derive(Clone)]
pub(crate) struct Upstream {
    script: Arc<Mutex<VecDeque<Reply>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// What it answers when the script is over.
    otherwise: fn() -> Answer,
}

pub(crate) fn upstream(script: impl IntoIterator<Item = Reply>) -> Upstream {
    Upstream {
        script: Arc::new(Mutex::new(script.into_iter().collect())),
        seen: Arc::default(),
        otherwise: || response(200),
    }
}

impl Upstream {
    pub(crate) fn always(otherwise: fn() -> Answer) -> Self {
        Self { otherwise, ..upstream([]) }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The waits between the requests.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        self.seen().windows(2).map(|pair| pair[1].at - pair[0].at).collect()
    }
}

impl<B> Service<Request<B>> for Upstream {
    type Response = Response<Script>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.seen.lock().unwrap().push(Seen {
            at: Instant::now(),
            method: request.method().clone(),
            headers: request.headers().clone(),
            attempts: request.extensions().get().cloned(),
        });
        let reply = self.script.lock().unwrap().pop_front();
        let otherwise = self.otherwise;
        Box::pin(async move {
            match reply {
                None => otherwise(),
                Some(Reply::Now(answer)) => answer,
                Some(Reply::After(time, answer)) => {
                    tokio::time::sleep(time).await;
                    answer
                }
                Some(Reply::Never) => std::future::pending().await,
            }
        })
    }
}

pub(crate) fn response(status: u16) -> Answer {
    let mut response = Response::new(Script::new().data("body"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

pub(crate) fn status(status: u16) -> Reply {
    Reply::Now(response(status))
}

/// A response with one header.
pub(crate) fn hinted(code: u16, name: &'static str, value: &[u8]) -> Reply {
    let mut answer = response(code).unwrap();
    answer.headers_mut().append(name, value.try_into().unwrap());
    Reply::Now(Ok(answer))
}

pub(crate) fn io_error(kind: io::ErrorKind) -> Reply {
    Reply::Now(Err(io::Error::from(kind).into()))
}

pub(crate) fn request(method: Method) -> Request<Payload> {
    Request::builder().method(method).uri("http://api.example/").body(Full::from("ping")).unwrap()
}

pub(crate) fn get() -> Request<Payload> {
    request(Method::GET)
}

pub(crate) fn post() -> Request<Payload> {
    request(Method::POST)
}

/// Calls a service once it is ready.
pub(crate) async fn send<S, B>(
    service: &mut S,
    request: Request<B>,
) -> Result<S::Response, S::Error>
where
    S: Service<Request<B>>,
{
    std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

/// Remembers everything it is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watcher(Arc<Mutex<Told>>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) retries: Vec<(u32, Duration)>,
    pub(crate) done: Vec<(u32, Ending)>,
    pub(crate) cancelled: Vec<u32>,
}

impl Watcher {
    pub(crate) fn told(&self) -> Told {
        self.0.lock().unwrap().clone()
    }

    /// How the only call ended.
    pub(crate) fn ending(&self) -> Ending {
        let told = self.told();
        assert_eq!(told.done.len(), 1, "one call is done once: {told:?}");
        told.done[0].1
    }
}

impl Observer for Watcher {
    fn retry(&self, event: &Retrying<'_>) {
        self.0.lock().unwrap().retries.push((event.attempt, event.delay));
    }

    fn done(&self, event: &Done) {
        self.0.lock().unwrap().done.push((event.attempts, event.ending));
    }

    fn cancelled(&self, event: &Cancelled) {
        self.0.lock().unwrap().cancelled.push(event.attempts);
    }
}
