//! Good and bad answers of the last seconds, faded.

use std::time::Duration;

use crate::{
    clock::Moment,
    sync::{AtomicU64, Ordering},
};

const COUNT_BITS: u32 = 44;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const STAMP: u64 = (1 << 20) - 1;
/// An answer, so that fading does not lose its fractions.
const ONE: u64 = 1 << 8;
const TICK_MILLIS: u64 = 128;

/// Good and bad answers, each in a word: 20 bits of time in ticks of 128 ms, 44 bits of answers in
/// parts of 256. The time wraps after 37 hours, when the harm is that old answers count as new ones
/// once.
///
/// Bad answers are counted by exchange and none is lost. Of good ones that end at the same instant
/// one may be, which no share of failures minds, and every call is spared a locked step.
#[derive(Debug, Default)]
pub(crate) struct Window {
    good: AtomicU64,
    bad: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    stamp: u64,
    parts: u64,
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

impl Count {
    const fn unpack(word: u64) -> Self {
        Self { stamp: word >> COUNT_BITS, parts: word & COUNT }
    }

    const fn pack(self) -> u64 {
        ((self.stamp & STAMP) << COUNT_BITS) | self.parts
    }

    fn faded(self, now: Moment, span: Span) -> Self {
        let stamp = (now.as_millis() / TICK_MILLIS) & STAMP;
        let ticks = stamp.wrapping_sub(self.stamp) & STAMP;
        // A clock that is behind fades nothing.
        if ticks == 0 || ticks > STAMP / 2 {
            return self;
        }
        Self { stamp, parts: scaled(self.parts, kept_after(ticks, span)) }
    }

    /// One answer more; there is room for 2³⁶ of them.
    fn more(self) -> Self {
        Self { parts: (self.parts + ONE).min(COUNT), ..self }
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
        if good {
            let count = read(&self.good).faded(now, span);
            self.good.store(count.more().pack(), Ordering::Relaxed);
            return;
        }
        let more = |word| Some(Count::unpack(word).faded(now, span).more().pack());
        // An update that always finds a next value cannot fail.
        let _ = self.bad.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// An answer that looked good turned out bad.
    pub(crate) fn turn_bad(&self, now: Moment, span: Span) {
        let count = read(&self.good).faded(now, span);
        let less = Count { parts: count.parts.saturating_sub(ONE), ..count };
        self.good.store(less.pack(), Ordering::Relaxed);
        self.record(false, now, span);
    }

    /// Good and bad answers.
    pub(crate) fn counts(&self, now: Moment, span: Span) -> (f64, f64) {
        let of = |word| answers(read(word).faded(now, span).parts);
        (of(&self.good), of(&self.bad))
    }

    pub(crate) fn clear(&self) {
        self.good.store(0, Ordering::Relaxed);
        self.bad.store(0, Ordering::Relaxed);
    }
}

fn read(word: &AtomicU64) -> Count {
    Count::unpack(word.load(Ordering::Relaxed))
}

fn answers(parts: u64) -> f64 {
    let whole = u32::try_from(parts / ONE).unwrap_or(u32::MAX);
    let rest = u32::try_from(parts % ONE).unwrap_or(0);
    f64::from(whole) + f64::from(rest) / 256.0
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

    proptest! {
        #[test]
        fn fading_never_adds(ticks in 0..STAMP, span in 1_u64..5_000, count in 0..COUNT) {
            let kept = kept_after(ticks, Span { ticks: span });
            prop_assert!(kept <= WHOLE && scaled(count, kept) <= count);
        }
    }
}
