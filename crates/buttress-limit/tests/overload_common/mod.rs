//! What the tests of the two layers share.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::convert::Infallible;

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
    Future = std::future::Ready<Result<Response<B>, Infallible>>,
> + Clone {
    service_fn(move |_| std::future::ready(Ok(make())))
}

pub(crate) fn status(code: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}
