//! The service that answers at once, and the requests that it is asked.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    net::SocketAddr,
    task::{Context, Poll, Waker},
};

use buttress_limit::PeerAddr;
use buttress_testkit::bench::poll_once;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tower::Service;

use crate::raw::{address, wander};

pub(crate) type Get = Request<Empty<Bytes>>;

pub(crate) type Answered = Ready<Result<Response<Empty<Bytes>>, Infallible>>;

#[inline(always)]
fn answer(request: Get) -> Answered {
    drop(black_box(request));
    ready(black_box(Ok(Response::new(Empty::new()))))
}

/// Answers at once, by one and the same code in every case. In line with what calls it there is another
/// one for each, and what is compared is how well the compiler made that.
#[derive(Clone, Copy)]
pub(crate) struct Answers;

impl Service<Get> for Answers {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Answered;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: Get) -> Answered {
        answer(request)
    }
}

/// The same in line, for what that makes of it.
#[derive(Clone, Copy)]
pub(crate) struct InLine;

impl Service<Get> for InLine {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Answered;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, request: Get) -> Answered {
        answer(request)
    }
}

pub(crate) fn get(number: u32) -> Get {
    let mut request = Request::new(Empty::new());
    let peer = SocketAddr::from((address(number), 4711));
    request.extensions_mut().insert(PeerAddr::new(peer));
    request
}

pub(crate) fn call<S: Service<Get>>(
    service: &mut S,
    request: Get,
) -> Result<S::Response, S::Error> {
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))), "every service is always ready");
    poll_once(service.call(request))
}

/// Requests of so many callers in an order that no other has, so that none finds its next key in the
/// nearest cache.
pub(crate) struct Callers {
    count: u32,
    orders: u32,
}

impl Callers {
    pub(crate) const fn new(count: u32) -> Self {
        Self { count, orders: 0 }
    }

    pub(crate) fn requests(&mut self) -> impl FnMut() -> Get + use<> {
        let mut next = wander(self.count, self.orders);
        self.orders += 1;
        move || get(next())
    }
}
