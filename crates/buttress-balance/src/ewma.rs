//! Averages that fade with time, each in one atomic word.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::Moment;

/// A value and the millisecond it was last changed in, in one word, so that they cannot tear.
///
/// The value is an `f32` that is never negative or NaN; the stamp wraps after 49 days, when the only
/// harm is a value that fades too little.
#[derive(Debug)]
pub struct Ewma(AtomicU64);

/// No sample yet: a NaN, which no sample can be.
const EMPTY: u64 = (f32::NAN.to_bits() as u64) << 32;

impl Default for Ewma {
    fn default() -> Self {
        Self(AtomicU64::new(EMPTY))
    }
}

impl Ewma {
    /// The value and its age at `now`; `None` before the first sample.
    #[must_use]
    pub fn read(&self, now: Moment) -> Option<(f32, Duration)> {
        let (value, age) = unpack(self.0.load(Ordering::Relaxed), now)?;
        Some((value, Duration::from_millis(u64::from(age))))
    }

    /// The value alone.
    #[must_use]
    pub fn value(&self) -> Option<f32> {
        value_of(self.0.load(Ordering::Relaxed))
    }

    /// Replaces the value by what `fold` makes of it and its age; a result that is negative, NaN or
    /// infinite is not taken.
    pub fn fold(&self, now: Moment, fold: impl Fn(Option<(f32, Duration)>) -> f32) {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let old = unpack(word, now);
            let aged = old.map(|(value, age)| (value, Duration::from_millis(u64::from(age))));
            let value = fold(aged);
            if !value.is_finite() || value < 0.0 {
                return;
            }
            let next = pack(value, now);
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => word = seen,
            }
        }
    }

    /// The value and its age in milliseconds at `now`; before the first sample the value is NaN.
    #[inline]
    pub(crate) fn raw(&self, now: Moment) -> (f32, u32) {
        let word = self.0.load(Ordering::Relaxed);
        (f32::from_bits(high(word)), age_of(word, now))
    }

    /// Makes the value as young as if it had just been sampled.
    pub(crate) fn confirm(&self, now: Moment) {
        if let Some(value) = self.value() {
            self.0.store(pack(value, now), Ordering::Relaxed);
        }
    }

    /// Moves the value towards `sample`: half of the way after 6 seconds without one, 5 % at least.
    pub(crate) fn sample(&self, sample: f32, now: Moment) {
        let next = match unpack(self.0.load(Ordering::Relaxed), now) {
            None => sample,
            Some((value, age)) => value + (sample - value) * share_of_sample(age),
        };
        if next.is_finite() && next >= 0.0 {
            // No exchange: of two samples at the same instant one may be lost, which an average
            // does not mind, and every call is spared a locked step.
            self.0.store(pack(next, now), Ordering::Relaxed);
        }
    }
}

/// How far a sample moves a value of this age in milliseconds.
fn share_of_sample(age: u32) -> f32 {
    const HALF: f32 = 6_000.0;
    const LEAST: f32 = 0.05;
    // An exponential would need a branch to be spared it where samples are frequent.
    let age = age as f32;
    LEAST.max(age / (age + HALF))
}

fn value_of(word: u64) -> Option<f32> {
    let value = f32::from_bits(high(word));
    (!value.is_nan()).then_some(value)
}

fn unpack(word: u64, now: Moment) -> Option<(f32, u32)> {
    Some((value_of(word)?, age_of(word, now)))
}

#[inline]
fn age_of(word: u64, now: Moment) -> u32 {
    let age = stamp(now).wrapping_sub(low(word));
    // A reader whose clock was read before the writer's sees an age just below the wrap.
    if age > u32::MAX / 2 { 0 } else { age }
}

fn pack(value: f32, now: Moment) -> u64 {
    (u64::from(value.to_bits()) << 32) | u64::from(stamp(now))
}

fn stamp(now: Moment) -> u32 {
    low(now.as_millis())
}

const fn low(word: u64) -> u32 {
    let bytes = word.to_le_bytes();
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

const fn high(word: u64) -> u32 {
    low(word >> 32)
}

/// How an endpoint's answers came out lately: 1 is all good. Each answer counts 5 %, and with
/// nothing to judge by it returns to 1, so that an endpoint is tried again.
#[derive(Debug, Default)]
pub(crate) struct SuccessRate(Ewma);

/// The least word of a value of 1.
const SPOTLESS: u64 = (1.0_f32.to_bits() as u64) << 32;

/// The share of one answer.
const STEP: f32 = 0.05;
const RELAX: f32 = 10.0;

impl SuccessRate {
    #[inline]
    pub(crate) fn at(&self, now: Moment) -> f32 {
        if self.is_spotless() { 1.0 } else { self.spotted(now) }
    }

    /// Whether all is good.
    #[inline]
    fn is_spotless(&self) -> bool {
        // Compared as words: those of 1 and of nothing, a NaN, lie above those of all that is less.
        self.0.0.load(Ordering::Relaxed) >= SPOTLESS
    }

    #[cold]
    fn spotted(&self, now: Moment) -> f32 {
        self.0.read(now).map_or(1.0, |(value, age)| relaxed(value, age))
    }

    pub(crate) fn record(&self, success: bool, now: Moment) {
        if success && self.is_spotless() {
            return;
        }
        let target = if success { 1.0 } else { 0.0 };
        self.0.fold(now, |old| {
            let value = old.map_or(1.0, |(value, age)| relaxed(value, age));
            let next = value + (target - value) * STEP;
            // Close enough: the next success need not write.
            if next > 0.999 { 1.0 } else { next }
        });
    }
}

fn relaxed(value: f32, age: Duration) -> f32 {
    if age.is_zero() {
        return value;
    }
    1.0 - (1.0 - value) * (-age.as_secs_f32() / RELAX).exp()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_sampled_is_nothing_known() {
        assert_eq!(Ewma::default().read(Moment::from_millis(5)), None);
    }

    #[test]
    fn a_clock_that_is_behind_does_not_age_the_value() {
        let ewma = Ewma::default();
        ewma.sample(0.5, Moment::from_millis(100));
        let read = ewma.read(Moment::from_millis(90));
        assert_eq!(read, Some((0.5, Duration::ZERO)));
    }

    #[test]
    fn a_value_that_is_no_number_is_not_taken() {
        let ewma = Ewma::default();
        let now = Moment::from_millis(1);
        for bad in [f32::NAN, f32::INFINITY, -1.0] {
            ewma.fold(now, |_| bad);
            assert_eq!(ewma.value(), None);
        }
    }

    #[test]
    fn a_rate_falls_with_each_failure_and_returns_when_nothing_is_asked() {
        let rate = SuccessRate::default();
        let now = Moment::from_millis(0);
        (0..20).for_each(|_| rate.record(false, now));
        assert!(rate.at(now) < 0.4);
        assert!(rate.at(Moment::from_millis(60_000)) > 0.99);
    }

    proptest! {
        #[test]
        fn an_average_stays_within_its_samples_whatever_the_clock_does(
            samples in prop::collection::vec((0.0_f32..1e6, any::<u32>()), 1..50),
        ) {
            let ewma = Ewma::default();
            let (mut least, mut most) = (f32::MAX, 0.0_f32);
            for (sample, millis) in samples {
                (least, most) = (least.min(sample), most.max(sample));
                let now = Moment::from_millis(u64::from(millis));
                ewma.sample(sample, now);
                let value = ewma.value().unwrap();
                prop_assert!(value >= least * 0.999 && value <= most * 1.001, "{value}");
            }
        }

        #[test]
        fn a_rate_is_never_outside_of_zero_and_one(
            answers in prop::collection::vec((any::<bool>(), any::<u32>()), 0..80),
        ) {
            let rate = SuccessRate::default();
            for (answer, millis) in answers {
                let now = Moment::from_millis(u64::from(millis));
                rate.record(answer, now);
                prop_assert!((0.0..=1.0).contains(&rate.at(now)));
            }
        }
    }
}
