//! Time as the layer counts it, and the one place that asks for it.

use std::time::Duration;

use tokio::time::Instant;

/// A point in time, in microseconds since the handle was made. Time in which the machine was
/// suspended counts: what a name server said yesterday is old today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Later than anything that happens.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// `time` later; never if it is too far.
    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How much later this is than `earlier`; zero if it is not.
    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Tells the moment by tokio's clock, which tests can pause. It needs no runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    asleep: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now(), asleep: asleep() }
    }

    pub(crate) fn now(self) -> Moment {
        let suspended = asleep().saturating_sub(self.asleep);
        Moment::default().after(Instant::now().saturating_duration_since(self.origin) + suspended)
    }
}

/// How long the machine has been suspended since it was started. Linux stops the clock behind
/// `Instant` for that time.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn asleep() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    let time = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    let awake = time(ClockId::Monotonic);
    let asleep = time(ClockId::Boottime).saturating_sub(awake);
    // What passes between the two readings is no sleep.
    if asleep < Duration::from_secs(1) { Duration::ZERO } else { asleep }
}

/// Elsewhere `Instant` goes on while the machine is suspended, or nothing tells.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const fn asleep() -> Duration {
    Duration::ZERO
}
