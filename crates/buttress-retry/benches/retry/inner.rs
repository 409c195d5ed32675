//! What stands below the layers, and what is sent to it.

use std::{
    future::{Ready, ready},
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use buttress_core::BoxError;
use buttress_testkit::bench::poll_once;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Empty;
use tower::Service;

/// Answers a number at once.
#[derive(Clone, Copy)]
pub(crate) struct Adds;

impl Service<u64> for Adds {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, number: u64) -> Self::Future {
        ready(black_box(Ok(number + 1)))
    }
}

/// Reads the body of a request to its end and answers 200 without a body.
#[derive(Clone, Copy)]
pub(crate) struct Drains;

impl<B: Body> Service<Request<B>> for Drains {
    type Response = Response<Empty<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    // One and the same code in every case, whatever calls it.
    #[inline(never)]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        drain(body);
        drop(black_box(parts));
        ready(black_box(Ok(Response::new(Empty::new()))))
    }
}

/// Reads a body whose frames are all there already.
pub(crate) fn drain(body: impl Body) {
    let mut body = pin!(body);
    let mut cx = Context::from_waker(Waker::noop());
    while !body.is_end_stream() {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(Some(frame)) => drop(black_box(frame)),
            Poll::Ready(None) => return,
            Poll::Pending => unreachable!("the bodies of this bench are never pending"),
        }
    }
}

/// Calls a service that is ready and answers at once.
pub(crate) fn call<S: Service<R>, R>(service: &mut S, request: R) -> Result<S::Response, S::Error> {
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))), "the services of this bench are always ready");
    poll_once(service.call(request))
}

/// A body that streams the same chunk a number of times.
pub(crate) struct Stream {
    pub(crate) chunk: Bytes,
    pub(crate) left: u32,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}

/// The head of a browser-like request: ten headers.
pub(crate) fn head(method: http::Method) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri("http://api.example/v1/things?page=2")
        .header("host", "api.example")
        .header("accept", "application/json")
        .header("accept-encoding", "gzip, br")
        .header("accept-language", "en")
        .header("authorization", "Bearer 0123456789abcdef0123456789abcdef")
        .header("cache-control", "no-cache")
        .header("user-agent", "buttress-bench")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("x-request-id", "0f1e2d3c4b5a69788796a5b4c3d2e1f0")
        .header("x-tenant", "bench")
}
