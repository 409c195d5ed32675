//! Two choices by the peak of the latency, as Finagle does it.

use std::time::Duration;

use buttress_core::SettingError;

use super::{
    Candidate, HashKey, Pick, PickContext, cost,
    latencies::ByLatency,
    roster::{Reach, Roster},
};
use crate::{Moment, Observation, Verdict};

/// Draws two endpoints by their weight and chooses the one with the lower product of latency and
/// calls in flight, where a latency rises at once and falls slowly: Finagle's peak EWMA.
///
/// Only good answers lower an estimate; a failure that took long raises it. Success rates play no
/// part: an endpoint that fails fast keeps its share. [`Adaptive`](super::Adaptive) is the default
/// for that reason; this one is for those who know it from elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct PeakEwma {
    reach: Reach,
    decay: f32,
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self::new()
    }
}

impl PeakEwma {
    /// Two choices, and estimates that fall to 37 % in ten seconds.
    #[must_use]
    pub const fn new() -> Self {
        Self { reach: Reach::new(0), decay: 10.0 }
    }

    /// How many endpoints are compared. Default: 2.
    ///
    /// # Errors
    ///
    /// If it is below 2 or above 16.
    pub fn choices(self, choices: usize) -> Result<Self, SettingError> {
        Ok(Self { reach: self.reach.choices(choices)?, ..self })
    }

    /// In which time an estimate falls to 37 % of the way to what is measured. Default: 10 seconds.
    ///
    /// # Errors
    ///
    /// If it is shorter than a millisecond.
    pub fn decay(self, decay: Duration) -> Result<Self, SettingError> {
        if decay < Duration::from_millis(1) {
            let reason = format!("{decay:?}, shorter than the millisecond that ages are told in");
            return Err(SettingError::new("pick.decay", reason));
        }
        Ok(Self { decay: decay.as_secs_f32(), ..self })
    }

    /// What becomes of an estimate with a new sample.
    fn fold(self, old: Option<(f32, Duration)>, sample: f32) -> f32 {
        let Some((value, age)) = old else { return sample };
        if sample > value {
            return sample;
        }
        let kept = (-age.as_secs_f32() / self.decay).exp();
        value * kept + sample * (1.0 - kept)
    }
}

impl Pick for PeakEwma {
    type Table = Roster;

    fn table(&self, candidates: &[Candidate]) -> Roster {
        Roster::of(candidates)
    }

    #[inline(always)]
    fn pick(&self, roster: &Roster, cx: &PickContext<'_>) -> Option<usize> {
        let now = cx.now();
        let rate = ByLatency {
            roster,
            latency: |candidate: &Candidate| {
                let (seconds, age) = candidate.peak().raw(now);
                cost::faded(seconds, age, self.decay)
            },
            penalty: |_: &Candidate| 1.0,
            slack: 1.0,
        };
        roster.cheapest(cx, self.reach, &rate)
    }

    fn observe(&self, endpoint: &Candidate, observation: &Observation, now: Moment) {
        let Some(latency) = observation.latency else { return };
        let sample = latency.as_secs_f32();
        let good = observation.verdict == Verdict::Success;
        if good || endpoint.peak().value().is_some_and(|value| sample > value) {
            endpoint.peak().fold(now, |old| self.fold(old, sample));
        }
    }
}

impl<Req> HashKey<Req> for PeakEwma {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_estimate_rises_at_once_and_falls_slowly() {
        let policy = PeakEwma::new();
        let second = Duration::from_secs(1);
        assert_eq!(policy.fold(Some((0.01, second)), 0.5), 0.5);
        let after = policy.fold(Some((0.5, second)), 0.01);
        assert!((0.44..0.47).contains(&after), "{after}");
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        assert!(PeakEwma::new().decay(Duration::ZERO).is_err());
        assert!(PeakEwma::new().choices(0).is_err());
    }

    proptest! {
        #[test]
        fn an_estimate_stays_between_what_was_and_what_is(
            value in 0.0_f32..1e6, sample in 0.0_f32..1e6, age: u64, decay in 1_u64..,
        ) {
            let policy = PeakEwma::new().decay(Duration::from_millis(decay)).unwrap();
            let next = policy.fold(Some((value, Duration::from_millis(age))), sample);
            let (low, high) = (value.min(sample), value.max(sample));
            prop_assert!(next.is_finite() && next >= low * 0.999 && next <= high * 1.001);
        }
    }
}
