//! What a request through the layer costs: a hit of each size, a hit that tells the client nothing
//! has changed, and a response that is not stored.
//!
//! `bare` is what a hit cannot do without: a lookup in moka, a copy of the header map, and the body.

use std::{convert::Infallible, future::Ready, future::ready, io, pin::pin, sync::Arc};

use buttress_cache::{Cache, CacheLayer, MemoryStore, SettingError};
use buttress_testkit::bench::{Bench, poll_once};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use tower::Layer;
use tower_service::Service;

const SIZES: [(&str, usize); 3] = [("1 KiB", 1 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)];

/// Answers with a body and the fields of an ordinary page.
#[derive(Clone)]
struct Origin {
    body: Bytes,
    control: &'static str,
}

impl Service<Request<Empty<Bytes>>> for Origin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.headers_mut() = fields(self.control, self.body.len());
        ready(Ok(response))
    }
}

fn fields(control: &'static str, length: usize) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", control),
        ("date", "Fri, 06 Nov 2099 08:49:37 GMT"),
        ("etag", "\"0123456789abcdef\""),
        ("server", "origin"),
        ("x-request-id", "7f0c2f6c-3f2e-4a8e-9a5f-0d1c2b3a4e5f"),
        ("vary", ""),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    fields.insert("content-length", HeaderValue::from(length));
    fields
}

fn request() -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = http::Uri::from_static("http://site.example/api/v1/items?page=2");
    request.headers_mut().insert("accept", HeaderValue::from_static("*/*"));
    request.headers_mut().insert("user-agent", HeaderValue::from_static("bench"));
    request
}

fn conditional() -> Request<Empty<Bytes>> {
    let mut request = request();
    let tag = HeaderValue::from_static("\"0123456789abcdef\"");
    request.headers_mut().insert("if-none-match", tag);
    request
}

/// The layer over an origin, with the response in its store if it may be.
fn service(size: usize, control: &'static str) -> Result<Cache<Origin>, SettingError> {
    let layer = CacheLayer::new(MemoryStore::new(256 << 20)?);
    let mut service = layer.layer(Origin { body: Bytes::from(vec![b'x'; size]), control });
    drain(&mut service, request());
    Ok(service)
}

/// One call, and all of its body; gives the bytes.
fn drain(service: &mut Cache<Origin>, request: Request<Empty<Bytes>>) -> usize {
    let Ok(response) = poll_once(service.call(request));
    read(response.into_body())
}

fn read<B: Body<Data = Bytes>>(body: B) -> usize {
    let mut body = pin!(body);
    let mut bytes = 0;
    while let Some(Ok(frame)) = poll_once(body.frame()) {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    bytes
}

fn main() -> io::Result<()> {
    let stored = moka::sync::Cache::new(1000);
    let entry = Arc::new((fields("max-age=60", 1 << 10), Bytes::from(vec![b'x'; 1 << 10])));
    stored.insert([7_u8; 32], entry);
    let mut bench = Bench::new("CacheLayer").case_with("bare", request, |request| {
        let (parts, _) = request.into_parts();
        let key = *blake3::hash(parts.uri.path().as_bytes()).as_bytes();
        let found = stored.get(&[7; 32]).map(|entry| (entry.0.clone(), entry.1.clone()));
        (key, found)
    });
    let fresh = "public, max-age=86400";
    for (name, size) in SIZES {
        let mut service = service(size, fresh).map_err(io::Error::other)?;
        bench = bench.case_with(format!("hit, {name}"), request, move |request| {
            drain(&mut service, request)
        });
    }
    let mut unchanged = service(1 << 20, fresh).map_err(io::Error::other)?;
    let mut private = service(1 << 10, "no-store").map_err(io::Error::other)?;
    bench
        .case_with("304", conditional, move |request| drain(&mut unchanged, request))
        .case_with("not stored", request, move |request| drain(&mut private, request))
        .baseline("bare")
        .run()
        .map(drop)
}
