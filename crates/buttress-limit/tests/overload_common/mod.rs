//! What the tests of the two layers share.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use buttress_limit::{Concurrency, concurrency::Limit};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use tower::{Service, service_fn};

pub(crate) fn fixed(limit: usize) -> Concurrency {
    Concurrency::new(Limit::fixed(limit).unwrap())
}

pub(crate) fn get() -> Request<Empty<Bytes>> {
    Request::get("http://service.example/things").body(Empty::new()).unwrap()
}

/// A service that answers at once with what `make` makes.
pub(crate) fn answers<B>(
    make: impl Fn() -> Response<B> + Clone,
) -> impl Service<
    Request<Empty<Bytes>>,
    Response = Response<B>,
    Error = Infallible,
    Future = Ready<Result<Response<B>, Infallible>>,
> + Clone {
    service_fn(move |_| ready(Ok(make())))
}

pub(crate) fn status(code: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// A side whose answers the test sets, and which counts the calls that reach it.
#[derive(Clone)]
pub(crate) struct Side {
    status: Arc<AtomicU16>,
    calls: Arc<AtomicUsize>,
}

impl Side {
    pub(crate) fn new(status: u16) -> Self {
        Self { status: Arc::new(AtomicU16::new(status)), calls: Arc::default() }
    }

    pub(crate) fn says(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Service<Request<Empty<Bytes>>> for Side {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        ready(Ok(status(self.status.load(Ordering::Relaxed))))
    }
}
