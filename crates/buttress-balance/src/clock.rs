//! Time as the balancer counts it, and the one place that asks for it.

use std::time::Duration;

use tokio::time::Instant;

/// A point in time, in microseconds since the [`EndpointSet`](crate::EndpointSet) was made.
///
/// Choice, health and leases take it as an argument and never ask a clock, so that they run as well
/// in virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// So many microseconds after the set was made.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// So many milliseconds after the set was made.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the set was made.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the set was made.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// `time` later; the end of time if that is too far.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(micros(time)))
    }

    /// How much later this is than `earlier`; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Whole microseconds, as far as they can be counted.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Whole milliseconds, rounded up, as far as they can be counted.
pub(crate) fn millis(time: Duration) -> u64 {
    micros(time).div_ceil(1_000)
}

/// Tells the moment by tokio's clock, which tests can pause. It needs no runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(self) -> Moment {
        self.moment(Instant::now())
    }

    /// The moment of an instant; the first one if the instant is earlier.
    pub(crate) fn moment(self, instant: Instant) -> Moment {
        Moment(micros(instant.saturating_duration_since(self.origin)))
    }

    /// The instant of a moment; a day from now if the clock does not reach that far.
    pub(crate) fn instant(self, moment: Moment) -> Instant {
        let far = || Instant::now() + Duration::from_secs(86_400);
        self.origin.checked_add(Duration::from_micros(moment.0)).unwrap_or_else(far)
    }
}
