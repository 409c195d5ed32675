//! What was accepted and what was not, in exact buckets of time.

/// The newest requests that count, if they are more than came in [`SPAN`].
pub(super) const SAMPLE: u64 = 50;
/// The newest time that counts, in microseconds, if more came in it than [`SAMPLE`].
const SPAN: u64 = 2_000_000;
const BUCKETS: u64 = 64;

/// The counts of the last while. Whatever is older than it is gone, not faded.
#[derive(Debug)]
pub(super) struct Window {
    buckets: [Bucket; 64],
    /// How long a bucket lasts, in microseconds.
    width: u64,
    /// The number of the newest bucket, counted from the beginning of time.
    newest: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    requests: u32,
    accepts: u32,
}

impl Window {
    pub(super) fn new(length: u64, now: u64) -> Self {
        let width = length.div_ceil(BUCKETS - 1).max(1);
        Self { buckets: [Bucket::default(); 64], width, newest: now / width }
    }

    pub(super) fn accepted(&mut self, now: u64, calls: u32) {
        let bucket = self.bucket(now);
        bucket.requests = bucket.requests.saturating_add(calls);
        bucket.accepts = bucket.accepts.saturating_add(calls);
    }

    /// A call that was not accepted, by the other side or here.
    pub(super) fn refused(&mut self, now: u64) {
        let bucket = self.bucket(now);
        bucket.requests = bucket.requests.saturating_add(1);
    }

    /// A call counted as accepted was refused after all.
    pub(super) fn revoke(&mut self, now: u64) {
        self.advance(now);
        let newest = self.newest;
        for age in 0..BUCKETS.min(newest + 1) {
            let bucket = &mut self.buckets[index(newest - age)];
            if bucket.accepts > 0 {
                bucket.accepts -= 1;
                return;
            }
        }
        self.refused(now);
    }

    /// The requests and accepts that count.
    pub(super) fn recent(&mut self, now: u64) -> (u64, u64) {
        self.advance(now);
        let (mut requests, mut accepts) = (0_u64, 0_u64);
        for age in 0..BUCKETS.min(self.newest + 1) {
            // A bucket counts whole: the newest one is but partly over, so one more is looked at.
            if requests >= SAMPLE && age.saturating_sub(1) * self.width >= SPAN {
                break;
            }
            let bucket = self.buckets[index(self.newest - age)];
            requests += u64::from(bucket.requests);
            accepts += u64::from(bucket.accepts);
        }
        (requests, accepts)
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
        /// A window that keeps every event is the measure.
        #[test]
        fn nothing_is_counted_that_is_older_than_the_window(
            steps in prop::collection::vec((0..3 * SECOND, 0..2_u8), 1..300),
            length in 2 * SECOND..60 * SECOND,
        ) {
            let mut window = Window::new(length, 0);
            let mut all: VecDeque<(u64, bool)> = VecDeque::new();
            let mut now = 0;
            for (pause, kind) in steps {
                now += pause;
                let accepted = kind == 0;
                if accepted { window.accepted(now, 1) } else { window.refused(now) }
                all.push_back((now, accepted));
                let (requests, accepts) = window.recent(now);
                // Up to a bucket more than the window, and never less than what is certain to
                // count.
                let reach = length + length / 63 + 64;
                let most = all.iter().filter(|(at, _)| now - at <= reach).count() as u64;
                prop_assert!(requests <= most, "{requests} of {most}");
                prop_assert!(accepts <= requests);
                let within = all.iter().filter(|(at, _)| now - at <= length.min(SPAN)).count() as u64;
                let least = within.max((all.iter().filter(|(at, _)| now - at < length).count() as u64).min(SAMPLE));
                prop_assert!(requests >= least, "{requests}, at least {least}");
            }
        }
    }

    #[test]
    fn a_busy_client_looks_back_on_two_seconds_only() {
        let mut window = Window::new(30 * SECOND, 0);
        for second in 0..30 {
            for _ in 0..100 {
                window.refused(second * SECOND);
            }
        }
        let (requests, accepts) = window.recent(29 * SECOND);
        assert!((200..=400).contains(&requests), "{requests}");
        assert_eq!(accepts, 0);
    }

    #[test]
    fn an_accept_can_be_taken_back() {
        let mut window = Window::new(30 * SECOND, 0);
        window.accepted(0, 2);
        window.revoke(5 * SECOND);
        assert_eq!(window.recent(5 * SECOND), (2, 1));
    }
}
