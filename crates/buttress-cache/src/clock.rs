//! The one place of this crate that asks for the time of day.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::{Time, time::millis};

/// Where tokio's clock was read first, and the time of day then; the latter moves when the machine
/// has slept, or its clock was set forward.
static BASE: OnceLock<Instant> = OnceLock::new();
static OFFSET: AtomicU64 = AtomicU64::new(0);

/// The time of day by tokio's clock, so that tests can let hours pass.
pub(crate) fn now() -> Time {
    let base = *BASE.get_or_init(|| {
        OFFSET.store(wall(), Ordering::Relaxed);
        Instant::now()
    });
    let (now, offset) = (Instant::now(), OFFSET.load(Ordering::Relaxed));
    // Each paused clock goes its own way: the one that was read first may be ahead of this one.
    Time::from_millis(match now.checked_duration_since(base) {
        Some(passed) => offset.saturating_add(millis(passed)),
        // Rounded up, so that a second is one on either side.
        None => {
            let ahead = base.saturating_duration_since(now);
            offset.saturating_sub(millis(ahead.saturating_add(ALMOST)))
        }
    })
}

/// A nanosecond less than a millisecond.
const ALMOST: Duration = Duration::from_nanos(999_999);

/// Catches up with the wall clock if that is well ahead; called where a response is waited for.
pub(crate) fn adjust() {
    const TOLERATED: u64 = 5000;
    let (now, wall) = (now().millis(), wall());
    if wall > now.saturating_add(TOLERATED) {
        OFFSET.fetch_add(wall - now, Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall() -> u64 {
    Time::from(SystemTime::now()).millis()
}
