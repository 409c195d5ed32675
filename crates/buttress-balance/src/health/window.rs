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
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// What is left after so many ticks, in parts of 2³²: at most times it takes no arithmetic.
    kept: [u64; 16],
}

impl Span {
    pub(crate) fn new(time: Duration) -> Self {
        Self::of_ticks((crate::clock::millis(time) / TICK_MILLIS).clamp(1, STAMP / 4))
    }

    /// 1 - 1/ticks
    fn of_ticks(ticks: u64) -> Self {
        let mut kept = [WHOLE; 16];
        for after in 1..kept.len() {
            kept[after] = scaled(kept[after - 1], WHOLE - WHOLE / ticks);
        }
        Self { kept }
    }

    #[inline]
    fn kept_after(&self, ticks: u64) -> u64 {
        match usize::try_from(ticks).ok().and_then(|ticks| self.kept.get(ticks)) {
            Some(kept) => *kept,
            None => self.kept_long_after(ticks),
        }
    }

    /// The same by squaring.
    fn kept_long_after(&self, ticks: u64) -> u64 {
        let (mut base, mut left, mut kept) = (self.kept[1], ticks, WHOLE);
        while left > 0 && kept > 0 {
            if left & 1 == 1 {
                kept = scaled(kept, base);
            }
            base = scaled(base, base);
            left >>= 1;
        }
        kept
    }
}

impl Count {
    const fn unpack(word: u64) -> Self {
        Self { stamp: word >> COUNT_BITS, parts: word & COUNT }
    }

    const fn pack(self) -> u64 {
        ((self.stamp & STAMP) << COUNT_BITS) | self.parts
    }

    #[inline]
    fn faded(self, now: Moment, span: &Span) -> Self {
        let stamp = (now.as_millis() / TICK_MILLIS) & STAMP;
        let ticks = stamp.wrapping_sub(self.stamp) & STAMP;
        // A clock that is behind fades nothing.
        if ticks > STAMP / 2 {
            return self;
        }
        Self { stamp, parts: scaled(self.parts, span.kept_after(ticks)) }
    }

    /// One answer more; there is room for 2³⁶ of them.
    fn more(self) -> Self {
        Self { parts: (self.parts + ONE).min(COUNT), ..self }
    }
}

const WHOLE: u64 = 1 << 32;

/// So many parts of 2³² of a count; at most all of them.
#[inline]
fn scaled(count: u64, part: u64) -> u64 {
    u64::try_from((u128::from(count) * u128::from(part)) >> 32).unwrap_or(u64::MAX)
}

impl Window {
    pub(crate) fn record(&self, good: bool, now: Moment, span: &Span) {
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
    pub(crate) fn turn_bad(&self, now: Moment, span: &Span) {
        let count = read(&self.good).faded(now, span);
        let less = Count { parts: count.parts.saturating_sub(ONE), ..count };
        self.good.store(less.pack(), Ordering::Relaxed);
        self.record(false, now, span);
    }

    /// Good and bad answers.
    pub(crate) fn counts(&self, now: Moment, span: &Span) -> (f64, f64) {
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
        (0..1_000).for_each(|_| window.record(true, at(0), &span));
        (0..100).for_each(|_| window.record(false, at(0), &span));
        assert_eq!(window.counts(at(0), &span), (1_000.0, 100.0));
        let (good, bad) = window.counts(at(10), &span);
        assert!((360.0..375.0).contains(&good) && (36.0..37.5).contains(&bad), "{good} {bad}");
        assert_eq!(window.counts(at(1_000), &span), (0.0, 0.0));
    }

    #[test]
    fn an_answer_that_turns_bad_is_counted_once() {
        let (window, span) = (Window::default(), Span::new(Duration::from_secs(10)));
        window.record(true, at(0), &span);
        window.turn_bad(at(0), &span);
        assert_eq!(window.counts(at(0), &span), (0.0, 1.0));
    }

    proptest! {
        #[test]
        fn fading_never_adds(ticks in 0..STAMP, span in 1_u64..5_000, count in 0..COUNT) {
            let kept = Span::of_ticks(span).kept_after(ticks);
            prop_assert!(kept <= WHOLE && scaled(count, kept) <= count);
        }

        #[test]
        fn a_table_and_squaring_come_to_the_same(ticks in 0_u64..16, span in 1_u64..5_000) {
            let span = Span::of_ticks(span);
            let (table, squaring) = (span.kept_after(ticks), span.kept_long_after(ticks));
            prop_assert!(table.abs_diff(squaring) < 32, "{table} and {squaring}");
        }
    }
}
