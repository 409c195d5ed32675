use super::{BoxError, Judge};
use crate::bodies::Script;
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body;
use std::future::poll_fn;
use std::pin::pin;

const HEADER: &str = "x-contract";
const CHUNKS: [&str; 2] = ["stands ", "unchanged"];

/// Judges HTTP answers by comparing them with the one of the suite.
///
/// Status, extension, body and trailers must be the same, and so must the values of each header that
/// the inner service set; other headers may be there as well.
#[derive(Debug, Clone)]
pub struct SameHttp {
    _private: (),
}

impl SameHttp {
    pub(super) fn new() -> Self {
        Self { _private: () }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Mark;

pub(super) fn request() -> Request<Script> {
    let mut request = Request::new(Script::new().exact());
    *request.uri_mut() = http::Uri::from_static("http://contract.test/");
    request
}

pub(super) fn answer() -> Response<Script> {
    let body = Script::chunks(CHUNKS, 1).trailers(fields("trailer"));
    let mut response = Response::new(body);
    *response.headers_mut() = fields("header");
    response.extensions_mut().insert(Mark);
    response
}

/// A name with two values: a layer that copies headers with `insert` loses one.
fn fields(place: &'static str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.append(HEADER, HeaderValue::from_static(place));
    fields.append(HEADER, HeaderValue::from_static("second"));
    fields
}

impl<B> Judge<Response<B>> for SameHttp
where
    B: Body,
    B::Error: Into<BoxError>,
{
    async fn judge(&self, response: Response<B>) -> Result<(), String> {
        let (parts, body) = response.into_parts();
        same("status", &parts.status, &http::StatusCode::OK)?;
        same_fields("header", &parts.headers)?;
        same("extension", &parts.extensions.get(), &Some(&Mark))?;
        let (data, trailers) = collect(body).await?;
        same("body", &data, &Bytes::from(CHUNKS.concat()))?;
        same_fields("trailer", &trailers)
    }
}

fn same_fields(place: &'static str, fields_seen: &HeaderMap) -> Result<(), String> {
    let seen: Vec<_> = fields_seen.get_all(HEADER).iter().collect();
    let sent = fields(place);
    same(place, &seen, &sent.get_all(HEADER).iter().collect())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: &T, sent: &T) -> Result<(), String> {
    if seen == sent {
        return Ok(());
    }
    Err(format!("the {what} was {sent:?} below the layer and is {seen:?} above it"))
}

async fn collect<B>(body: B) -> Result<(Bytes, HeaderMap), String>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    let mut data = BytesMut::new();
    let mut trailers = HeaderMap::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|error| format!("the body failed: {}", error.into()))?;
        match frame.into_data() {
            Ok(mut chunk) => data.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining())),
            Err(other) => trailers.extend(other.into_trailers().unwrap_or_default()),
        }
    }
    Ok((data.freeze(), trailers))
}
