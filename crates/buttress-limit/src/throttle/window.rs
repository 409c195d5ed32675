//! What was accepted and what was not, in exact buckets of time.

/// The newest requests that count, if they are more than came in [`SPAN`].
const SAMPLE: u64 = 20;
/// The newest time that counts, in microseconds, if more came in it than [`SAMPLE`].
const SPAN: u64 = 1_000_000;
const BUCKETS: u64 = 128;

/// The counts of the last while. Whatever is older than it is gone, not faded.
#[derive(Debug)]
pub(super) struct Window {
    buckets: [Bucket; 128],
    /// How long a bucket lasts, in microseconds.
    width: u64,
    /// The number of the newest bucket, counted from the beginning of time.
    newest: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Calls that were answered.
    answered: u32,
    /// Those of them that were accepted.
    accepted: u32,
    /// Calls that were not sent.
    unsent: u32,
}

/// Sums of what counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recent {
    pub(super) answered: u64,
    pub(super) accepted: u64,
    pub(super) unsent: u64,
}

impl Recent {
    /// The requests and the accepts, with so many calls under way.
    ///
    /// Of those that were sent a part is not answered yet. As much of those that were not sent is
    /// left out, for it would not have been answered either.
    #[expect(clippy::cast_precision_loss, reason = "counts of a window are below 2 to the 53rd")]
    pub(super) fn judged(self, in_flight: u32) -> (f64, f64) {
        let answered = self.answered as f64;
        let known = if in_flight == 0 { 1.0 } else { answered / (answered + f64::from(in_flight)) };
        (known.mul_add(self.unsent as f64, answered), self.accepted as f64)
    }
}

impl Window {
    pub(super) fn new(length: u64, now: u64) -> Self {
        let width = length.div_ceil(BUCKETS - 1).max(1);
        Self { buckets: [Bucket::default(); 128], width, newest: now / width }
    }

    pub(super) fn accepted(&mut self, now: u64, calls: u32) {
        let bucket = self.bucket(now);
        bucket.answered = bucket.answered.saturating_add(calls);
        bucket.accepted = bucket.accepted.saturating_add(calls);
    }

    pub(super) fn busy(&mut self, now: u64) {
        let bucket = self.bucket(now);
        bucket.answered = bucket.answered.saturating_add(1);
    }

    pub(super) fn unsent(&mut self, now: u64) {
        let bucket = self.bucket(now);
        bucket.unsent = bucket.unsent.saturating_add(1);
    }

    /// A call counted as accepted was turned away after all.
    pub(super) fn revoke(&mut self, now: u64) {
        self.advance(now);
        for age in 0..BUCKETS.min(self.newest + 1) {
            let bucket = &mut self.buckets[index(self.newest - age)];
            if bucket.accepted > 0 {
                bucket.accepted -= 1;
                return;
            }
        }
        self.busy(now);
    }

    /// What counts.
    pub(super) fn recent(&mut self, now: u64) -> Recent {
        self.advance(now);
        let mut sum = Recent::default();
        for age in 0..BUCKETS.min(self.newest + 1) {
            // The newest bucket is but partly over, so one more is looked at.
            let enough = sum.answered + sum.unsent >= SAMPLE;
            if enough && age.saturating_sub(1) * self.width >= SPAN {
                break;
            }
            let bucket = self.buckets[index(self.newest - age)];
            sum.answered += u64::from(bucket.answered);
            sum.accepted += u64::from(bucket.accepted);
            sum.unsent += u64::from(bucket.unsent);
        }
        sum
    }

    fn bucket(&mut self, now: u64) -> &mut Bucket {
        self.advance(now);
        &mut self.buckets[index(self.newest)]
    }

    /// Empties the buckets that have come round.
    fn advance(&mut self, now: u64) {
        let current = now / self.width;
        let passed = current.saturating_sub(self.newest);
        for step in 1..=passed.min(BUCKETS) {
            self.buckets[index(self.newest + step)] = Bucket::default();
        }
        self.newest = self.newest.max(current);
    }
}

const fn index(number: u64) -> usize {
    (number % BUCKETS) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000;

    proptest! {
        /// A list of every event is the measure.
        #[test]
        fn nothing_is_counted_that_is_older_than_the_window(
            steps in prop::collection::vec((0..3 * SECOND, 0..3_u8), 1..300),
            length in 2 * SECOND..60 * SECOND,
        ) {
            let mut window = Window::new(length, 0);
            let mut all: VecDeque<u64> = VecDeque::new();
            let mut now = 0;
            for (pause, kind) in steps {
                now += pause;
                match kind {
                    0 => window.accepted(now, 1),
                    1 => window.busy(now),
                    _ => window.unsent(now),
                }
                all.push_back(now);
                let Recent { answered, accepted, unsent } = window.recent(now);
                let within = |time: u64| all.iter().filter(|&&at| now - at <= time).count() as u64;
                prop_assert!(accepted <= answered);
                let counted = answered + unsent;
                // Up to a bucket more than the window, and never less than what is certain to count.
                let most = within(length + window.width);
                let least = within(length.min(SPAN)).max(within(length - 1).min(SAMPLE));
                prop_assert!((least..=most).contains(&counted), "{least} {counted} {most}");
            }
        }
    }

    #[test]
    fn a_busy_client_looks_back_on_about_a_second_only() {
        let mut window = Window::new(30 * SECOND, 0);
        for tenth in 0..300 {
            for _ in 0..10 {
                window.busy(tenth * SECOND / 10);
            }
        }
        let answered = window.recent(30 * SECOND).answered;
        assert!((100..=150).contains(&answered), "{answered}");
    }

    #[test]
    fn an_accept_can_be_taken_back() {
        let mut window = Window::new(30 * SECOND, 0);
        window.accepted(0, 2);
        window.revoke(5 * SECOND);
        let recent = window.recent(5 * SECOND);
        assert_eq!(recent, Recent { answered: 2, accepted: 1, unsent: 0 });
    }

    #[test]
    fn what_was_not_sent_counts_as_far_as_what_was_sent_is_answered() {
        let recent = Recent { answered: 10, accepted: 0, unsent: 100 };
        assert_eq!(recent.judged(0), (110.0, 0.0));
        assert_eq!(recent.judged(10), (60.0, 0.0));
        assert_eq!(Recent { answered: 0, ..recent }.judged(500), (0.0, 0.0));
    }
}
