//! What the tests of this crate share.

#![allow(dead_code, reason = "each test uses some of it")]

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_limit::{Ask, Cost, Key, Limiter, Local, Quota, Unit};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::Instant;
use tower::util::BoxCloneService;

pub(crate) type Text = Full<Bytes>;
pub(crate) type Server = BoxCloneService<Request<Text>, Response<Text>, Infallible>;

/// Counts its calls and answers `fine`.
pub(crate) fn server() -> (Server, Arc<AtomicU64>) {
    answering(|_| Response::new(Text::from("fine")))
}

/// Counts its calls, and answers the request of each number, from 0.
pub(crate) fn answering(
    answer: impl Fn(u64) -> Response<Text> + Send + Sync + 'static,
) -> (Server, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let (count, answer) = (Arc::clone(&calls), Arc::new(answer));
    let service = tower::service_fn(move |_: Request<Text>| {
        let response = answer(count.fetch_add(1, Ordering::Relaxed));
        async move { Ok(response) }
    });
    (BoxCloneService::new(service), calls)
}

pub(crate) fn get(path: &str) -> Request<Text> {
    Request::get(path).body(Text::default()).unwrap()
}

pub(crate) fn one(key: &str) -> Ask {
    Ask::new(Key::hash(key.as_bytes()), Cost::request())
}

pub(crate) fn ask(key: &str, cost: Cost) -> Ask {
    Ask::new(Key::hash(key.as_bytes()), cost)
}

pub(crate) fn tokens(amount: u64) -> Cost {
    Cost::request().with(Unit::Tokens, amount)
}

pub(crate) fn per(amount: u64, time: Duration) -> Quota {
    Quota::of(Unit::Requests, amount, time).unwrap()
}

/// How many of so many requests are admitted at once.
pub(crate) fn admitted(limiter: &Local, ask: Ask, requests: usize) -> usize {
    (0..requests).filter(|_| limiter.try_acquire(&ask).unwrap().is_ok()).count()
}

/// Counts how often a future is polled.
pub(crate) struct Polls<F> {
    future: Pin<Box<F>>,
    polls: u64,
}

impl<F> Polls<F> {
    pub(crate) fn of(future: F) -> Self {
        Self { future: Box::pin(future), polls: 0 }
    }
}

impl<F: Future> Future for Polls<F> {
    type Output = (F::Output, u64);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.polls += 1;
        let polls = self.polls;
        self.future.as_mut().poll(cx).map(|output| (output, polls))
    }
}

/// Milliseconds since then.
pub(crate) fn millis(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap()
}
