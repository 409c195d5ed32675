//! The one place of this crate that asks for the time of day.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
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
    let passed = millis(Instant::now().saturating_duration_since(base));
    Time::from_millis(OFFSET.load(Ordering::Relaxed).saturating_add(passed))
}

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
