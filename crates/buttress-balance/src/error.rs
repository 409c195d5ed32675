//! Why a call did not go to any endpoint.

use std::{error::Error, fmt, io, time::Duration};

use buttress_core::{InvalidRequest, Phase, TimedOut};
use http::StatusCode;

use crate::Unavailable;

/// A call went to no endpoint; nothing was sent.
///
/// It is found with [`cause`](buttress_core::cause). Its source tells an outer retry that the
/// request may go again, or, for [`BadTarget`](BalanceErrorKind::BadTarget), that it may not.
#[derive(Debug)]
pub struct BalanceError {
    kind: BalanceErrorKind,
    source: Source,
}

/// Why a call went to no endpoint.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BalanceErrorKind {
    /// The set has no endpoint that could be used.
    Empty,
    /// Every endpoint has as many calls in flight as it may have, and the wait in line was too
    /// long or the line too.
    Full,
    /// Every endpoint is ejected, and that fails calls.
    Ejected,
    /// The request cannot be sent to an endpoint: `CONNECT`, `OPTIONS *`, or too long a URI.
    BadTarget,
}

#[derive(Debug)]
enum Source {
    Unreachable(io::Error),
    Waited(TimedOut),
    Request(InvalidRequest),
}

impl BalanceError {
    pub(crate) fn unavailable(reason: Unavailable, waited: Option<Duration>) -> Self {
        let kind = match reason {
            Unavailable::Empty => BalanceErrorKind::Empty,
            Unavailable::Ejected => BalanceErrorKind::Ejected,
            Unavailable::Full | Unavailable::Held(_) | Unavailable::Tried => BalanceErrorKind::Full,
        };
        let source = match waited {
            Some(waited) => Source::Waited(TimedOut::new(Phase::Ready, waited)),
            None => Source::Unreachable(io::ErrorKind::ConnectionRefused.into()),
        };
        Self { kind, source }
    }

    pub(crate) fn bad_target(reason: impl Into<String>) -> Self {
        let source = Source::Request(InvalidRequest::new(reason));
        Self { kind: BalanceErrorKind::BadTarget, source }
    }

    /// Why there was no endpoint.
    #[must_use]
    pub const fn kind(&self) -> BalanceErrorKind {
        self.kind
    }

    /// The status by which a gateway says it: 400, 502 or 503.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self.kind {
            BalanceErrorKind::BadTarget => StatusCode::BAD_REQUEST,
            BalanceErrorKind::Ejected => StatusCode::BAD_GATEWAY,
            BalanceErrorKind::Empty | BalanceErrorKind::Full => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl fmt::Display for BalanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BalanceErrorKind::Empty => "there is no endpoint",
            BalanceErrorKind::Full => "no endpoint has a place free",
            BalanceErrorKind::Ejected => "every endpoint is ejected",
            BalanceErrorKind::BadTarget => "the request cannot be sent to an endpoint",
        })
    }
}

impl Error for BalanceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match &self.source {
            Source::Unreachable(error) => error,
            Source::Waited(error) => error,
            Source::Request(error) => error,
        })
    }
}
