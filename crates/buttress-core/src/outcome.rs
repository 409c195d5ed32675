//! What an attempt came to, said in one vocabulary for every layer.

use std::{error::Error, fmt, io};

use http::{HeaderMap, Response, StatusCode};

use crate::{AttemptsFailed, InvalidRequest, Phase, TimedOut, cause, causes};

/// What one attempt came to, seen from the caller.
///
/// It tells whose fault a failure is and what may follow, not what should: a layer's policy
/// decides.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The service did what was asked.
    Success,
    /// Nothing was sent or nothing was processed: no connection, or the peer refused the stream.
    /// The same request may go again whatever its method.
    NotSent,
    /// The service says that it has too much to do: 429, 503, 529, gRPC `RESOURCE_EXHAUSTED`.
    Overloaded,
    /// The service or the connection failed in a way that may pass. The request may have been
    /// processed.
    Transient,
    /// No answer came in time. The request may still be worked on.
    Timeout,
    /// The request itself was found wanting; the same one would fail again.
    Rejected,
}

impl Outcome {
    /// What a status code says (RFC 9110 section 15; 425 is RFC 8470, 429 is RFC 6585, 529 is
    /// what several providers send when they are overloaded).
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            ..400 => Self::Success,
            408 | 504 => Self::Timeout,
            429 | 503 | 529 => Self::Overloaded,
            // Not implemented, out of storage, loop detected, not extended, log in to the network.
            501 | 505..=508 | 510 | 511 => Self::Rejected,
            425 | 500.. => Self::Transient,
            _ => Self::Rejected,
        }
    }

    /// What a gRPC status code says (`UNAVAILABLE` is the code for "try again").
    #[must_use]
    pub const fn of_grpc(code: u32) -> Self {
        match code {
            0 => Self::Success,
            4 => Self::Timeout,
            8 => Self::Overloaded,
            // Aborted, internal, unavailable, unknown: the service's side of it.
            2 | 10 | 13 | 14 => Self::Transient,
            _ => Self::Rejected,
        }
    }

    /// What a transport error says: the first error in the chain that is known decides.
    ///
    /// An unknown error is [`Transient`](Self::Transient): something failed after the request may
    /// have left.
    #[must_use]
    pub fn of_error(error: &(dyn Error + 'static)) -> Self {
        let outcome = causes(error).find_map(known).unwrap_or(Self::Transient);
        // That the last attempt was not sent says nothing of those before it.
        let sent = cause::<AttemptsFailed>(error).is_some_and(|failed| !failed.is_unsent());
        if outcome == Self::NotSent && sent { Self::Transient } else { outcome }
    }

    /// A short name for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::NotSent => "not_sent",
            Self::Overloaded => "overloaded",
            Self::Transient => "transient",
            Self::Timeout => "timeout",
            Self::Rejected => "rejected",
        }
    }

    /// Whether what was asked was not done.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Success)
    }

    /// Whether the service, not the request, is to blame.
    #[must_use]
    pub const fn is_service_failure(self) -> bool {
        !matches!(self, Self::Success | Self::Rejected)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether no connection came about, for whatever reason, so that nothing can have been sent.
///
/// [`Outcome::of_error`] says whether the same peer is worth another try: a wrong certificate is
/// [`Rejected`](Outcome::Rejected), since it will stay wrong. Another peer may have a right one.
#[must_use]
pub fn is_unconnected(error: &(dyn Error + 'static)) -> bool {
    let sent = cause::<AttemptsFailed>(error).is_some_and(|failed| !failed.is_unsent());
    !sent && causes(error).any(failed_to_connect)
}

fn failed_to_connect(error: &(dyn Error + 'static)) -> bool {
    if let Some(timed_out) = error.downcast_ref::<TimedOut>() {
        return timed_out.phase() == Phase::Connect;
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return known_io(error) == Some(Outcome::NotSent);
    }
    #[cfg(feature = "hyper")]
    if crate::hyper::failed_to_connect(error) {
        return true;
    }
    false
}

fn known(error: &(dyn Error + 'static)) -> Option<Outcome> {
    if let Some(timed_out) = error.downcast_ref::<TimedOut>() {
        return Some(match timed_out.phase() {
            Phase::Connect | Phase::Ready => Outcome::NotSent,
            _ => Outcome::Timeout,
        });
    }
    if error.is::<InvalidRequest>() {
        return Some(Outcome::Rejected);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return known_io(error);
    }
    #[cfg(feature = "hyper")]
    if let Some(outcome) = crate::hyper::known(error) {
        return Some(outcome);
    }
    None
}

fn known_io(error: &io::Error) -> Option<Outcome> {
    use io::ErrorKind as Kind;
    match error.kind() {
        // Not `HostUnreachable` and its kin: TCP reports those of an open connection as well, when
        // what was sent is never acknowledged (RFC 1122 section 4.2.3.9).
        Kind::ConnectionRefused | Kind::AddrNotAvailable => Some(Outcome::NotSent),
        Kind::TimedOut => Some(Outcome::Timeout),
        // It may wrap an error that says more.
        _ if error.get_ref().is_some() => None,
        _ => Some(Outcome::Transient),
    }
}

/// The gRPC status in response headers ("trailers-only") or trailers, if there is one.
///
/// A value that is no number counts as `UNKNOWN`, as the gRPC protocol over HTTP/2 asks.
#[must_use]
pub fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    let value = headers.get("grpc-status")?.to_str().ok();
    Some(value.and_then(|code| code.trim().parse().ok()).unwrap_or(2))
}

/// Says what an attempt came to.
pub trait Classify<Res> {
    /// Judges a response by its head.
    fn response(&self, response: &Res) -> Outcome;

    /// Judges the trailers that ended a response; `None` if they say nothing.
    fn trailers(&self, _trailers: &HeaderMap) -> Option<Outcome> {
        None
    }

    /// Judges the error that came instead of a response.
    fn error(&self, error: &(dyn Error + 'static)) -> Outcome {
        Outcome::of_error(error)
    }
}

/// Judges HTTP responses by their status code.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct ByStatus;

impl<B> Classify<Response<B>> for ByStatus {
    fn response(&self, response: &Response<B>) -> Outcome {
        Outcome::of_status(response.status())
    }
}

/// Judges gRPC responses by `grpc-status`, in headers or trailers, and by the HTTP status where
/// something on the way answered instead of the service.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct ByGrpcStatus;

impl<B> Classify<Response<B>> for ByGrpcStatus {
    fn response(&self, response: &Response<B>) -> Outcome {
        match grpc_status(response.headers()) {
            Some(code) => Outcome::of_grpc(code),
            None => Outcome::of_status(response.status()),
        }
    }

    fn trailers(&self, trailers: &HeaderMap) -> Option<Outcome> {
        grpc_status(trailers).map(Outcome::of_grpc)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    #[test]
    fn statuses_tell_whose_fault_it_is() {
        let of = |code| Outcome::of_status(StatusCode::from_u16(code).unwrap());
        assert_eq!(of(204), Outcome::Success);
        assert_eq!(of(304), Outcome::Success);
        assert_eq!(of(404), Outcome::Rejected);
        assert_eq!(of(425), Outcome::Transient);
        for busy in [429, 503, 529] {
            assert_eq!(of(busy), Outcome::Overloaded, "{busy}");
        }
        for late in [408, 504] {
            assert_eq!(of(late), Outcome::Timeout, "{late}");
        }
        for final_word in [501, 505, 507, 511] {
            assert_eq!(of(final_word), Outcome::Rejected, "{final_word}");
        }
        assert_eq!(of(500), Outcome::Transient);
        assert_eq!(of(999), Outcome::Transient);
    }

    #[test]
    fn a_grpc_status_that_is_no_number_is_unknown() {
        let mut headers = HeaderMap::new();
        assert_eq!(grpc_status(&headers), None);
        for (value, code) in [("14", 14), (" 0 ", 0), ("no", 2), ("-1", 2)] {
            headers.insert("grpc-status", HeaderValue::from_str(value).unwrap());
            assert_eq!(grpc_status(&headers), Some(code), "{value}");
        }
        headers.insert("grpc-status", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(grpc_status(&headers), Some(2));
    }

    #[test]
    fn trailers_of_a_plain_http_response_say_nothing() {
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("14"),
        )]);
        assert_eq!(Classify::<Response<()>>::trailers(&ByStatus, &trailers), None);
        let grpc = Classify::<Response<()>>::trailers(&ByGrpcStatus, &trailers);
        assert_eq!(grpc, Some(Outcome::Transient));
    }

    #[test]
    fn a_refused_connection_sent_nothing() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(Outcome::of_error(&io::Error::other(refused)), Outcome::NotSent);
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(Outcome::of_error(&reset), Outcome::Transient);
    }

    #[test]
    fn a_request_that_cannot_be_sent_would_fail_again() {
        let error = io::Error::other(InvalidRequest::new("the URI `/` has no host"));
        assert_eq!(Outcome::of_error(&error), Outcome::Rejected);
    }

    #[test]
    fn only_a_connect_timeout_proves_that_nothing_was_sent() {
        let of = |phase| Outcome::of_error(&TimedOut::new(phase, Duration::from_secs(1)));
        assert_eq!(of(Phase::Connect), Outcome::NotSent);
        assert_eq!(of(Phase::FirstByte), Outcome::Timeout);
        assert_eq!(of(Phase::Attempt), Outcome::Timeout);
    }
}
