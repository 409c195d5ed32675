//! The boxed error that layers share, and the way to find one's own type inside it.

use std::{error::Error, fmt, io, time::Duration};

/// The error of every layer that can fail on its own: any error that may cross threads.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Finds the first error of type `T` in `error` and the sources below it.
///
/// Looks inside [`io::Error`] as well: its `source` skips the error that it wraps.
///
/// ```
/// use buttress_core::{BoxError, Phase, TimedOut, cause};
/// use std::{io, time::Duration};
///
/// let inner = TimedOut::new(Phase::Connect, Duration::from_secs(5));
/// let error: BoxError = io::Error::other(inner).into();
///
/// let found = cause::<TimedOut>(&*error).map(TimedOut::phase);
/// assert_eq!(found, Some(Phase::Connect));
/// ```
#[must_use]
pub fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|error| error.downcast_ref())
}

/// Walks `error` and everything below it, the errors wrapped by an [`io::Error`] included.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error.downcast_ref().and_then(io::Error::get_ref);
        match wrapped {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// What was waited for when time ran out.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The service to become ready for the next call.
    Ready,
    /// A connection, the name lookup and the TLS handshake included. Nothing was sent.
    Connect,
    /// The head of the response, counted from the start of the call.
    FirstByte,
    /// The next piece of a response body.
    IdleRead,
    /// One attempt of a call that may be made again.
    Attempt,
    /// The whole call, all its attempts and waits.
    Total,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "readiness",
            Self::Connect => "connect",
            Self::FirstByte => "first-byte",
            Self::IdleRead => "idle-read",
            Self::Attempt => "attempt",
            Self::Total => "total",
        })
    }
}

/// A time limit passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedOut {
    phase: Phase,
    after: Duration,
}

impl TimedOut {
    /// Says that `phase` took longer than `after`.
    #[must_use]
    pub const fn new(phase: Phase, after: Duration) -> Self {
        Self { phase, after }
    }

    /// What was waited for.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The limit that passed.
    #[must_use]
    pub const fn after(&self) -> Duration {
        self.after
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} timeout of {:?} passed", self.phase, self.after)
    }
}

impl Error for TimedOut {}

/// A request cannot be sent as it is, and was not sent. The message says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRequest {
    reason: String,
}

impl InvalidRequest {
    /// `reason` names the part of the request and what is wrong with it.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error for InvalidRequest {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_inside_an_io_error_is_found() {
        let timed_out = TimedOut::new(Phase::Attempt, Duration::from_secs(1));
        let error: BoxError = io::Error::other(io::Error::other(timed_out.clone())).into();
        assert_eq!(cause::<TimedOut>(&*error), Some(&timed_out));
    }

    #[test]
    fn an_absent_type_is_not_found() {
        let error: BoxError = "plain words".into();
        assert!(cause::<TimedOut>(&*error).is_none());
    }

    #[test]
    fn a_message_names_the_limit_that_passed() {
        let error = TimedOut::new(Phase::FirstByte, Duration::from_millis(1500));
        assert_eq!(error.to_string(), "the first-byte timeout of 1.5s passed");
    }
}
