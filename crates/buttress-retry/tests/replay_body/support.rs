//! What the tests of this family share.

#![expect(clippy::expect_used, reason = "these are the assertions of the tests that call them")]

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use buttress_core::BoxError;
use buttress_retry::{Replay, ReplayBody, ReplayLimits, ReplayMemory};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

pub(crate) const KIB: usize = 1024;

pub(crate) type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// Limits with a memory of their own, so that tests do not count each other's bytes.
pub(crate) fn limits(per_request: usize) -> (ReplayLimits, ReplayMemory) {
    let memory = ReplayMemory::new(usize::MAX);
    (ReplayLimits::new().per_request(per_request).memory(memory.clone()), memory)
}

#[track_caller]
pub(crate) fn record<B: Body>(body: B) -> (ReplayBody<B>, Replay<B>) {
    let (first, replay) = ReplayBody::record(body, &limits(64 * KIB).0);
    (first, replay.expect("the body can be recorded"))
}

/// What a poll of a body of this type gives.
pub(crate) type PolledOf<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

pub(crate) fn poll<B: Body + Unpin>(body: &mut B) -> PolledOf<B> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn data(polled: Polled) -> Bytes {
    match polled {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().expect("a data frame"),
        other => panic!("not a data frame: {other:?}"),
    }
}

pub(crate) fn error(polled: Polled) -> BoxError {
    match polled {
        Poll::Ready(Some(Err(error))) => error,
        other => panic!("not an error: {other:?}"),
    }
}

/// What a body yields to its end, and in how many frames. Polls again where the source is `Pending`.
pub(crate) fn read<B>(body: &mut B) -> Result<(Vec<u8>, Option<HeaderMap>, usize), B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut bytes, mut trailers, mut frames) = (Vec::new(), None, 0);
    while !body.is_end_stream() {
        match poll(body) {
            Poll::Pending => {}
            Poll::Ready(None) => break,
            Poll::Ready(Some(frame)) => {
                frames += 1;
                match frame?.into_data() {
                    Ok(data) => bytes.extend_from_slice(&data),
                    Err(frame) => trailers = frame.into_trailers().ok(),
                }
            }
        }
    }
    Ok((bytes, trailers, frames))
}

pub(crate) fn text<B>(body: &mut B) -> String
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    String::from_utf8(read(body).expect("a whole body").0).expect("text")
}

pub(crate) fn bounds(hint: &SizeHint) -> (u64, Option<u64>) {
    (hint.lower(), hint.upper())
}

pub(crate) fn trailers(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("checksum"), HeaderValue::from_static(value))])
}
