//! Time as the limiters count it, and the one place that asks for it.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

const SECOND: u64 = 1_000_000_000;

/// A day; a timer set for later is set anew when it has run out.
const FAR: Duration = Duration::from_secs(86_400);

/// Nanoseconds by tokio's clock since the limiter was made. It needs no runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    #[inline]
    pub(crate) fn now(self) -> u64 {
        let passed = Instant::now().saturating_duration_since(self.origin);
        passed.as_secs().wrapping_mul(SECOND).wrapping_add(u64::from(passed.subsec_nanos()))
    }

    /// The instant of a moment; a day from now if the clock does not reach that far.
    pub(crate) fn instant(self, moment: u64) -> Instant {
        let at = self.origin.checked_add(Duration::from_nanos(moment));
        let far = Instant::now() + FAR;
        at.map_or(far, |at| at.min(far))
    }
}

/// Whole nanoseconds, as far as they can be counted.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Whole seconds, rounded up, and at least one: who comes back after no time comes back too early.
pub(crate) fn seconds(time: Duration) -> u64 {
    let part = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(part).max(1)
}

/// The wall clock, for HTTP dates; where the response has a `Date`, it is not looked at.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
