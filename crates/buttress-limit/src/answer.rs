//! The answers to requests that are not admitted.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};

use crate::{
    clock::seconds,
    fields,
    head::Head,
    limiter::{Denied, DeniedKind},
    prepared::{self, PreparedAnswer, Question},
    problem,
    snapshot::{Snapshot, Standing},
};

/// The body of an answer: some text, or a body as the inner service has them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Answer<B> {
    /// A text, in one piece.
    Text(Bytes),
    /// A body of the inner service's kind.
    Body(B),
}

/// Answers a request that was not admitted. `B` is the body of the inner service.
pub trait Respond<B> {
    /// The answer. `denied` says why, and when to come back.
    fn respond(&self, denied: &Denied, head: &Head<'_>) -> Response<Answer<B>>;

    /// The same answer, if it was prepared before, which makes a denial much cheaper. It is asked
    /// for first.
    #[inline]
    fn prepared(&self, _denied: &Denied, _head: &Head<'_>) -> Option<PreparedAnswer> {
        None
    }
}

/// The answer that a limit has by the book: what [`RateLimitLayer`](crate::RateLimitLayer) does
/// unless told otherwise.
///
/// - 429 if the quota is spent or the wait would be too long, 413 if the request will never fit,
///   503 if it was [shed](crate::RateLimitLayer::shed) or the limiter could not be asked;
/// - `Retry-After` in seconds, rounded up, at least 1;
/// - `RateLimit` and `RateLimit-Policy` as the IETF draft of the httpapi working group has them, of
///   the windows that it does not fit into;
/// - problem details (RFC 9457) with `violated-policies`, and `Cache-Control: no-store`;
/// - to a gRPC client a status of `RESOURCE_EXHAUSTED` instead, `UNAVAILABLE` if shed, with a
///   pushback.
///
/// Each thread keeps the answers that it was asked for more than once of late, and copies them: in a
/// flood a denial costs about two admissions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standard {
    pub(crate) legacy: bool,
    pub(crate) shed: bool,
    pub(crate) jitter: Duration,
}

/// How many headers a denial has, without the older ones.
const FIELDS: usize = 5;

impl<B> Respond<B> for Standard {
    fn respond(&self, denied: &Denied, head: &Head<'_>) -> Response<Answer<B>> {
        let after = denied.retry_after().map(|after| after.saturating_add(self.jitter()));
        if head.is_grpc() {
            return grpc(self.shed, denied, after).map(Answer::Text);
        }
        self.plain(denied, after).map(Answer::Text)
    }

    fn prepared(&self, denied: &Denied, head: &Head<'_>) -> Option<PreparedAnswer> {
        // What most denials are: one window is spent. The older headers may be about another one.
        let (DeniedKind::Quota, false) = (denied.kind(), self.legacy || head.is_grpc()) else {
            return None;
        };
        let (snapshot, after) = (denied.snapshot()?, denied.retry_after()?);
        let (window, standing) = sole(snapshot)?;
        let after = after.saturating_add(self.jitter());
        let question = Question {
            policy: snapshot.policy().id(),
            status: self.status(DeniedKind::Quota),
            window,
            remaining: standing.remaining(),
            wait: seconds(standing.wait()),
            after: seconds(after),
        };
        prepared::answer(&question, || self.plain(denied, Some(after)))
    }
}

impl Standard {
    /// The answer to all but gRPC clients.
    fn plain(&self, denied: &Denied, after: Option<Duration>) -> Response<Bytes> {
        let status = self.status(denied.kind());
        let mut response = Response::new(self.problem(status, denied));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.reserve(FIELDS);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = after.and_then(fields::retry_after) {
            headers.insert(RETRY_AFTER, after);
        }
        if let Some(snapshot) = denied.snapshot() {
            fields::of_denial(headers, snapshot);
            if self.legacy {
                fields::legacy(headers, snapshot);
            }
        }
        response
    }

    fn status(&self, kind: DeniedKind) -> StatusCode {
        match kind {
            DeniedKind::CostTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            DeniedKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ if self.shed => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    fn problem(&self, status: StatusCode, denied: &Denied) -> Bytes {
        let Some(snapshot) = denied.snapshot() else {
            return problem::of(status, denied.kind(), []);
        };
        if let Some((window, _)) = sole(snapshot)
            && denied.kind() == DeniedKind::Quota
            && status == StatusCode::TOO_MANY_REQUESTS
        {
            return snapshot.policy().problem(window);
        }
        problem::of(status, denied.kind(), snapshot.violated())
    }

    fn jitter(&self) -> Duration {
        if self.jitter.is_zero() { Duration::ZERO } else { self.jitter.mul_f64(fastrand::f64()) }
    }
}

/// The window into which the request does not fit, if it fits into all the others.
fn sole(snapshot: &Snapshot) -> Option<(usize, &Standing)> {
    if let [standing] = snapshot.standings() {
        return standing.waits().then_some((0, standing));
    }
    let standings = snapshot.standings().iter().enumerate();
    let mut violated = standings.filter(|(_, standing)| standing.waits());
    violated.next().filter(|_| violated.next().is_none())
}

/// A gRPC answer that is all trailers. HTTP says 200; what counts is the status.
fn grpc(shed: bool, denied: &Denied, after: Option<Duration>) -> Response<Bytes> {
    static STATUS: HeaderName = HeaderName::from_static("grpc-status");
    static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
    static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
    let unavailable = shed || denied.kind() == DeniedKind::Unavailable;
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(&STATUS, HeaderValue::from_static(if unavailable { "14" } else { "8" }));
    if let Ok(message) = HeaderValue::from_str(&denied.to_string()) {
        headers.insert(&MESSAGE, message);
    }
    // gRFC A6: what is no number is a no for good.
    let pushback = after.map_or(-1, |after| {
        i32::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    });
    headers.insert(&PUSHBACK, HeaderValue::from(pushback));
    response
}

/// An answer of the user's own; made by [`respond_with`](crate::RateLimitLayer::respond_with).
#[derive(Clone, Debug)]
pub struct RespondWith<F>(pub(crate) F);

impl<B, F: Fn(&Denied, &Head<'_>) -> Response<B>> Respond<B> for RespondWith<F> {
    fn respond(&self, denied: &Denied, head: &Head<'_>) -> Response<Answer<B>> {
        (self.0)(denied, head).map(Answer::Body)
    }
}

/// The answer to a request without a key.
pub(crate) fn keyless<B>(status: StatusCode, head: &Head<'_>) -> Response<Answer<B>> {
    let text = if head.is_grpc() { "" } else { "the request says not whose it is\n" };
    let mut response = Response::new(Answer::Text(Bytes::from_static(text.as_bytes())));
    let headers = response.headers_mut();
    if head.is_grpc() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("16"));
        return response;
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    *response.status_mut() = status;
    response
}

/// Whether a cache answered: then it says nothing about the quota of now.
pub(crate) fn is_from_cache(headers: &HeaderMap) -> bool {
    headers.contains_key(http::header::AGE)
        || headers.get("cache-status").is_some_and(|status| contains(status, b"; hit"))
        || headers.get("x-cache").is_some_and(|status| status.as_bytes().starts_with(b"HIT"))
}

fn contains(value: &HeaderValue, part: &[u8]) -> bool {
    value.as_bytes().windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}
