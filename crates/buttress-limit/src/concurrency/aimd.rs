//! Additive increase, multiplicative decrease.

use std::time::Duration;

use buttress_core::SettingError;

use super::{
    limit::{Bounds, whole},
    sample::Sample,
};
use crate::overload::micros;

/// Finds a limit by going up slowly and down fast: additive increase, multiplicative decrease (Chiu
/// and Jain, "Analysis of the increase and decrease algorithms", 1989).
///
/// A limit's worth of good answers makes it one higher, as long as more than half of it is used. An
/// answer that says that there is too much to do (429, 503, 529, a timeout) cuts it to nine tenths,
/// once for all the calls that were under way together: whatever began before the last cut has had
/// its say. How long answers take plays no part unless [`slow`](Self::slow) is set.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Aimd {
    pub(super) bounds: Bounds,
    decrease: f64,
    slow: u64,
}

impl Default for Aimd {
    fn default() -> Self {
        Self::new()
    }
}

impl Aimd {
    /// Starts at 20, stays between 1 and 1000, and is cut to nine tenths.
    pub const fn new() -> Self {
        Self { bounds: Bounds::DEFAULT, decrease: 0.9, slow: u64::MAX }
    }

    /// Between what it stays, and where it starts. Default: 1, 20, 1000.
    ///
    /// # Errors
    ///
    /// Unless 1 <= floor <= start <= ceiling.
    pub fn between(mut self, floor: u32, start: u32, ceiling: u32) -> Result<Self, SettingError> {
        self.bounds = Bounds::between(floor, start, ceiling)?;
        Ok(self)
    }

    /// What a cut leaves of the limit. Default: 0.9.
    ///
    /// # Errors
    ///
    /// Unless it is from 0.1 to 0.99.
    pub fn decrease(mut self, share: f64) -> Result<Self, SettingError> {
        if !(0.1..=0.99).contains(&share) {
            let reason = format!("{share}; it must be from 0.1 to 0.99");
            return Err(SettingError::new("concurrency.decrease", reason));
        }
        self.decrease = share;
        Ok(self)
    }

    /// An answer whose head takes longer than this says that there is too much to do. Default: none
    /// does.
    pub fn slow(mut self, latency: Duration) -> Self {
        self.slow = micros(latency);
        self
    }
}

/// The limit as it was found so far.
#[derive(Debug)]
pub(super) struct Found {
    aimd: Aimd,
    limit: f64,
    cut_at: Option<u64>,
}

impl Found {
    pub(super) fn new(aimd: Aimd) -> Self {
        Self { aimd, limit: f64::from(aimd.bounds.start), cut_at: None }
    }

    pub(super) fn set(&mut self, limit: u32) -> u32 {
        self.limit = self.aimd.bounds.clamp(f64::from(limit));
        whole(self.limit)
    }

    pub(super) fn learn(&mut self, sample: &Sample) -> u32 {
        if sample.overload || sample.latency() > self.aimd.slow {
            if self.cut_at.is_none_or(|cut_at| sample.began >= cut_at) {
                self.cut_at = Some(sample.now);
                self.limit *= self.aimd.decrease;
            }
        } else if sample.uses(self.limit) {
            self.limit += 1.0 / self.limit;
        }
        self.limit = self.aimd.bounds.clamp(self.limit);
        whole(self.limit)
    }
}
