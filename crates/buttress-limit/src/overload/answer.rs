//! How a caller is told that its call was refused: by an error, or by an HTTP answer.

use std::{any::Any, error::Error, fmt, time::Duration};

use buttress_core::BoxError;
use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER},
};

use super::Head;

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Makes the answer to a call that was refused for the reason `X`.
///
/// [`Problem`] and [`Bare`] are the ready-made ones; a closure
/// `Fn(&Overloaded, Head<'_>) -> Response<B>` is one too, whatever `B` is.
pub trait Refuse<X, B> {
    /// The answer. `head` is that of the request that was refused.
    fn refuse(&self, reason: &X, head: Head<'_>) -> Response<B>;
}

/// Answers with a problem document (RFC 9457), and gRPC callers with their status 8.
///
/// The status is 503; `Retry-After` has whole seconds, rounded up; `cache-control: no-store` keeps
/// the answer out of caches. The body is made from bytes, as `axum::body::Body` and
/// `http_body_util::Full` are.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct Problem;

/// Answers like [`Problem`], without a body: for body types that have an empty value and cannot be
/// made from bytes.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct Bare;

/// What [`Problem`] and [`Bare`] tell of a refusal.
///
/// The words are the same each time, so that a refusal costs little more than the head of its
/// answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Duration,
    pub(crate) title: &'static str,
    pub(crate) problem: &'static str,
}

/// `RESOURCE_EXHAUSTED`.
const EXHAUSTED: HeaderValue = HeaderValue::from_static("8");
/// The fields of an answer; room for them is made at once.
const FIELDS: usize = 5;

impl Refusal {
    fn response<B>(&self, head: Head<'_>, body: impl FnOnce(&'static str) -> B) -> Response<B> {
        if head.is_grpc() {
            return self.grpc(body(""));
        }
        let mut response = Response::new(body(self.problem));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.reserve(FIELDS);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(RETRY_AFTER, whole_seconds(self.retry_after));
        response
    }

    /// A head that is a whole gRPC answer ("trailers-only").
    fn grpc<B>(&self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.reserve(FIELDS);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(GRPC_STATUS.clone(), EXHAUSTED);
        headers.insert(GRPC_MESSAGE.clone(), HeaderValue::from_static(self.title));
        // A signed 32-bit integer (gRFC A6).
        let millis = i32::try_from(self.retry_after.as_millis()).unwrap_or(i32::MAX).max(1);
        headers.insert(PUSHBACK.clone(), HeaderValue::from(millis));
        response
    }
}

/// Seconds for `Retry-After`: rounded up, so that nobody who obeys comes too early, and never 0.
fn whole_seconds(time: Duration) -> HeaderValue {
    let seconds = time.as_secs();
    match seconds.saturating_add(u64::from(time.subsec_nanos() > 0)) {
        // By far the most frequent one, without an allocation.
        0 | 1 => HeaderValue::from_static("1"),
        seconds => HeaderValue::from(seconds),
    }
}

impl<X, B: From<Bytes>> Refuse<X, B> for Problem
where
    for<'a> Refusal: From<&'a X>,
{
    fn refuse(&self, reason: &X, head: Head<'_>) -> Response<B> {
        let mut response = Refusal::from(reason)
            .response(head, |words| B::from(Bytes::from_static(words.as_bytes())));
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().entry(CONTENT_TYPE).or_insert(problem);
        response
    }
}

impl<X, B: Default> Refuse<X, B> for Bare
where
    for<'a> Refusal: From<&'a X>,
{
    fn refuse(&self, reason: &X, head: Head<'_>) -> Response<B> {
        Refusal::from(reason).response(head, |_| B::default())
    }
}

impl<X, B, F> Refuse<X, B> for F
where
    F: Fn(&X, Head<'_>) -> Response<B>,
{
    fn refuse(&self, reason: &X, head: Head<'_>) -> Response<B> {
        self(reason, head)
    }
}

/// How a refusal reaches the caller: [`Answer`] or [`Fail`].
pub trait Deliver<X, E, B> {
    /// The error of the service.
    type Error;

    /// Tells the caller that its call was refused.
    ///
    /// # Errors
    ///
    /// If that is how it is told.
    fn deliver(&self, reason: X, head: Head<'_>) -> Result<Response<B>, Self::Error>;

    /// Passes an error of the inner service on, once `judge` has seen it.
    fn pass(error: E, judge: impl FnOnce(&(dyn Error + 'static))) -> Self::Error;
}

/// Answers a refused call with a response that `R` makes; errors are those of the inner service.
#[derive(Clone, Copy, Default)]
pub struct Answer<R = Problem>(pub(crate) R);

/// Fails a refused call with a [`BoxError`] in which [`cause`](buttress_core::cause) finds the
/// reason.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct Fail;

impl<R> fmt::Debug for Answer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Answer").finish_non_exhaustive()
    }
}

impl<X, E: 'static, B, R: Refuse<X, B>> Deliver<X, E, B> for Answer<R> {
    type Error = E;

    fn deliver(&self, reason: X, head: Head<'_>) -> Result<Response<B>, E> {
        Ok(self.0.refuse(&reason, head))
    }

    /// An error that is passed on as it is can be seen only where it is a boxed one, as in a stack
    /// of layers; another one says nothing.
    fn pass(error: E, judge: impl FnOnce(&(dyn Error + 'static))) -> E {
        if let Some(boxed) = (&error as &dyn Any).downcast_ref::<BoxError>() {
            judge(&**boxed);
        }
        error
    }
}

impl<X, E, B> Deliver<X, E, B> for Fail
where
    X: Error + Send + Sync + 'static,
    E: Into<BoxError>,
{
    type Error = BoxError;

    fn deliver(&self, reason: X, _: Head<'_>) -> Result<Response<B>, BoxError> {
        Err(reason.into())
    }

    fn pass(error: E, judge: impl FnOnce(&(dyn Error + 'static))) -> BoxError {
        let error = error.into();
        judge(&*error);
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up_and_never_none() {
        assert_eq!(whole_seconds(Duration::ZERO), "1");
        assert_eq!(whole_seconds(Duration::from_millis(500)), "1");
        assert_eq!(whole_seconds(Duration::from_secs(2)), "2");
        assert_eq!(whole_seconds(Duration::from_nanos(2_000_000_001)), "3");
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX.to_string().as_str());
    }
}
