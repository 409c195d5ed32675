//! Good and bad answers of the last seconds, faded, in one word.

use std::time::Duration;

use crate::{
    clock::Moment,
    sync::{AtomicU64, Ordering},
};

const COUNT_BITS: u32 = 22;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const STAMP: u64 = (1 << 20) - 1;
/// An answer, so that fading does not lose its fractions.
const ONE: u64 = 8;
const TICK_MILLIS: u64 = 128;

/// 20 bits of time in ticks of 128 ms, 22 bits of good and 22 bits of bad answers, in eighths. The
/// time wraps after 37 hours, when the harm is that old answers count as new ones once.
#[derive(Debug, Default)]
pub(crate) struct Window(AtomicU64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    stamp: u64,
    good: u64,
    bad: u64,
}

/// Over how long answers fade to 37 %.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    ticks: u64,
}

impl Span {
    pub(crate) fn new(time: Duration) -> Self {
        Self { ticks: (crate::clock::millis(time) / TICK_MILLIS).clamp(1, STAMP / 4) }
    }
}

impl Counts {
    const fn unpack(word: u64) -> Self {
        Self {
            stamp: word >> (2 * COUNT_BITS),
            good: (word >> COUNT_BITS) & COUNT,
            bad: word & COUNT,
        }
    }

    const fn pack(self) -> u64 {
        ((self.stamp & STAMP) << (2 * COUNT_BITS)) | (self.good << COUNT_BITS) | self.bad
    }

    fn faded(self, now: Moment, span: Span) -> Self {
        let stamp = (now.as_millis() / TICK_MILLIS) & STAMP;
        let ticks = stamp.wrapping_sub(self.stamp) & STAMP;
        // A clock that is behind fades nothing.
        if ticks == 0 || ticks > STAMP / 2 {
            return self;
        }
        let kept = kept_after(ticks, span);
        Self { stamp, good: scaled(self.good, kept), bad: scaled(self.bad, kept) }
    }

    const fn halved_if_full(self) -> Self {
        if self.good + ONE > COUNT || self.bad + ONE > COUNT {
            return Self { good: self.good / 2, bad: self.bad / 2, ..self };
        }
        self
    }
}

const WHOLE: u64 = 1 << 32;

/// (1 - 1/span)^ticks in parts of 2³², by squaring.
fn kept_after(ticks: u64, span: Span) -> u64 {
    let (mut base, mut left, mut kept) = (WHOLE - WHOLE / span.ticks, ticks, WHOLE);
    while left > 0 && kept > 0 {
        if left & 1 == 1 {
            kept = scaled(kept, base);
        }
        base = scaled(base, base);
        left >>= 1;
    }
    kept
}

/// A product of two numbers of at most 2³², in parts of 2³².
fn scaled(count: u64, part: u64) -> u64 {
    u64::try_from((u128::from(count) * u128::from(part)) >> 32).unwrap_or(u64::MAX)
}

impl Window {
    pub(crate) fn record(&self, good: bool, now: Moment, span: Span) {
        self.change(now, span, |counts| {
            let counts = counts.halved_if_full();
            if good {
                Counts { good: counts.good + ONE, ..counts }
            } else {
                Counts { bad: counts.bad + ONE, ..counts }
            }
        });
    }

    /// An answer that looked good turned out bad.
    pub(crate) fn turn_bad(&self, now: Moment, span: Span) {
        self.change(now, span, |counts| {
            let counts = counts.halved_if_full();
            Counts { good: counts.good.saturating_sub(ONE), bad: counts.bad + ONE, ..counts }
        });
    }

    /// Good and bad answers.
    pub(crate) fn counts(&self, now: Moment, span: Span) -> (f64, f64) {
        let counts = Counts::unpack(self.0.load(Ordering::Relaxed)).faded(now, span);
        (eighths(counts.good), eighths(counts.bad))
    }

    pub(crate) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn change(&self, now: Moment, span: Span, step: impl Fn(Counts) -> Counts) {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let next = step(Counts::unpack(word).faded(now, span)).pack();
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => word = seen,
            }
        }
    }
}

fn eighths(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / 8.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    #[test]
    fn answers_fade_to_a_third_over_the_span() {
        let (window, span) = (Window::default(), Span::new(Duration::from_secs(10)));
        (0..1_000).for_each(|_| window.record(true, at(0), span));
        (0..100).for_each(|_| window.record(false, at(0), span));
        assert_eq!(window.counts(at(0), span), (1_000.0, 100.0));
        let (good, bad) = window.counts(at(10), span);
        assert!((360.0..375.0).contains(&good) && (36.0..37.5).contains(&bad), "{good} {bad}");
        assert_eq!(window.counts(at(1_000), span), (0.0, 0.0));
    }

    #[test]
    fn an_answer_that_turns_bad_is_counted_once() {
        let (window, span) = (Window::default(), Span::new(Duration::from_secs(10)));
        window.record(true, at(0), span);
        window.turn_bad(at(0), span);
        assert_eq!(window.counts(at(0), span), (0.0, 1.0));
    }

    #[test]
    fn a_full_count_keeps_its_share() {
        let (window, span) = (Window::default(), Span::new(Duration::from_secs(10)));
        (0..1_200_000).for_each(|n| window.record(n % 10 != 0, at(0), span));
        let (good, bad) = window.counts(at(0), span);
        assert!((0.09..0.11).contains(&(bad / (good + bad))));
    }

    proptest! {
        #[test]
        fn fading_never_adds(ticks in 0..STAMP, span in 1_u64..5_000, count in 0..COUNT) {
            let kept = kept_after(ticks, Span { ticks: span });
            prop_assert!(kept <= WHOLE && scaled(count, kept) <= count);
        }
    }
}
