//! What the tests of this family share.

#![expect(clippy::expect_used, reason = "these are the assertions of the tests that call them")]

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use buttress_retry::{FirstFrame, HeldBody, Hold};
use buttress_testkit::Script;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::{Body, Frame};
use tokio::time::Instant;

pub(crate) const EVENTS: &str = "text/event-stream";
pub(crate) const JSON: &str = "application/json";
pub(crate) const GRPC: &str = "application/grpc+proto";

pub(crate) fn response<B>(content_type: &'static str, body: B) -> Response<B> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(crate) fn grpc_status(status: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(
        HeaderName::from_static("grpc-status"),
        HeaderValue::from_static(status),
    )])
}

/// What a poll of a body of this type gives.
pub(crate) type PolledOf<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

pub(crate) fn poll<B: Body + Unpin>(body: &mut B) -> PolledOf<B> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// Holds with the default settings; panics if the body failed first.
pub(crate) async fn held(content_type: &'static str, body: Script) -> HeldBody<Script> {
    let hold = Hold::new(response(content_type, body), FirstFrame::new());
    hold.await.expect("the body did not fail").into_body()
}

/// How long holding such a response takes, in whole milliseconds.
pub(crate) async fn held_for(content_type: &'static str, body: Script) -> u128 {
    let start = Instant::now();
    let _body = held(content_type, body).await;
    start.elapsed().as_millis()
}
