//! Time as the layers for overload count it, and the one place that asks for it.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Microseconds since a handle was made, by tokio's clock, which tests can pause. It needs no
/// runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(self) -> u64 {
        micros(Instant::now().saturating_duration_since(self.origin))
    }
}

/// Whole microseconds, as far as they can be counted.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The wall clock, for HTTP dates; where the response has a `Date`, it is not looked at.
#[expect(clippy::disallowed_methods, reason = "a date can be compared with nothing else")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
