//! What one call tells of the load.

/// A call that came to an end, seen by those who find a limit. Times are in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// When it was let in.
    pub(super) began: u64,
    /// When its answer came.
    pub(super) now: u64,
    /// How many were under way when it came, itself included.
    pub(super) in_flight: u32,
    /// Whether the answer says that there is too much to do.
    pub(super) overload: bool,
}

impl Sample {
    pub(super) const fn latency(&self) -> u64 {
        self.now.saturating_sub(self.began)
    }

    /// Whether so much of the limit was used that there is something to learn about it.
    pub(super) fn uses(&self, limit: f64) -> bool {
        f64::from(self.in_flight) > limit / 2.0
    }
}
