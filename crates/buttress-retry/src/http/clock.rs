//! The one place of this crate that reads the wall clock.

use std::time::{Duration, SystemTime};

use buttress_core::Deadline;
use tokio::time::Instant;

/// The wall clock, for HTTP dates; where the response has a `Date`, it is not looked at.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(super) fn wall() -> SystemTime {
    SystemTime::now()
}

/// The deadline that is `time` from now; none if the clock does not reach so far.
pub(super) fn after(time: Duration) -> Option<Deadline> {
    Instant::now().checked_add(time).map(|at| Deadline::at(at.into_std()))
}
