//! What is remembered of a server: how long its answers took, and whether it still gives any.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which a server is left alone for a while.
const TOO_MANY: u32 = 3;

/// How long it is left alone the first time; twice as long each time after.
const COOL_DOWN: Duration = Duration::from_secs(1);
const LONGEST_COOL_DOWN: Duration = Duration::from_secs(30);

/// Answers whose times are remembered.
const REMEMBERED: usize = 32;

/// What an answer that is of no use counts as, on top of the time that it took.
const USELESS: Duration = Duration::from_millis(150);

/// The share of the newest answer in the average (RFC 6298 has an eighth).
const NEWEST: u32 = 4;

/// Times and failures of one server.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// The times of the last answers, in a ring.
    times: Vec<Duration>,
    next: usize,
    average: Option<Duration>,
    /// Questions in a row that were given up because another server was faster.
    outrun: u32,
    failures: u32,
    cool_downs: u32,
    until: Option<Instant>,
    asked: Option<Instant>,
}

/// How a server stands when it is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nothing is known of it yet.
    Unknown,
    /// What its answers take, as a rule.
    Takes(Duration),
    /// It was left alone for long enough: it should be tried, but not relied upon.
    Recovering,
    /// It should be left alone for this much longer.
    Cooling(Duration),
}

impl Health {
    pub(super) const fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// When it was last asked.
    pub(super) const fn last_asked(&self) -> Option<Instant> {
        self.asked
    }

    /// It has answered, so it works.
    pub(super) fn answered(&mut self, took: Duration) {
        if self.times.len() < REMEMBERED {
            self.times.push(took);
        } else if let Some(oldest) = self.times.get_mut(self.next) {
            *oldest = took;
        }
        self.next = (self.next + 1) % REMEMBERED;
        self.works();
        self.count(took);
    }

    /// It has answered that it does not know: of no use, but it works.
    pub(super) fn useless(&mut self, took: Duration) {
        self.works();
        self.count(took + USELESS);
    }

    /// It has not answered, or not so that it could be believed.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= TOO_MANY {
            let doubled = COOL_DOWN.saturating_mul(1 << self.cool_downs.min(10));
            self.until = Some(now + doubled.min(LONGEST_COOL_DOWN));
            self.cool_downs = self.cool_downs.saturating_add(1);
        }
    }

    /// The question was given up after so long, because another server had answered.
    ///
    /// It would have taken longer, and the more often that happens the longer: a server that never
    /// answers must not look as fast as those that beat it.
    pub(super) fn outrun(&mut self, after: Duration) {
        self.outrun = self.outrun.saturating_add(1);
        let at_least = after.saturating_mul(1 + self.outrun.min(8));
        if self.average.is_none_or(|average| average < at_least) {
            self.count(at_least);
        }
    }

    fn works(&mut self) {
        (self.failures, self.cool_downs, self.outrun) = (0, 0, 0);
        self.until = None;
    }

    fn count(&mut self, took: Duration) {
        self.average = Some(match self.average {
            None => took,
            Some(average) => (average * (NEWEST - 1) + took) / NEWEST,
        });
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        match (self.until, self.average) {
            (Some(until), _) if until > now => Standing::Cooling(until - now),
            (Some(_), _) => Standing::Recovering,
            (None, None) => Standing::Unknown,
            (None, Some(average)) => Standing::Takes(average),
        }
    }

    /// The time within which 19 of 20 answers came, if there were any.
    pub(super) fn p95(&self) -> Option<Duration> {
        let mut times = self.times.clone();
        times.sort_unstable();
        let rank = (times.len() * 19).div_ceil(20).checked_sub(1)?;
        times.get(rank).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_server_that_fails_again_and_again_is_left_alone_for_longer_and_longer() {
        let now = Instant::now();
        let mut health = Health::default();
        health.failed(now);
        health.failed(now);
        assert_eq!(health.standing(now), Standing::Unknown);
        let mut seen = Vec::new();
        for _ in 0..7 {
            health.failed(now);
            seen.push(health.standing(now));
        }
        let seconds = [1, 2, 4, 8, 16, 30, 30];
        assert_eq!(seen, seconds.map(|seconds| Standing::Cooling(ms(1_000 * seconds))));
        assert_eq!(health.standing(now + ms(30_000)), Standing::Recovering);
        health.answered(ms(10));
        assert_eq!(health.standing(now), Standing::Takes(ms(10)));
        health.failed(now);
        assert_eq!(health.standing(now), Standing::Takes(ms(10)));
    }

    #[test]
    fn a_server_that_only_ever_loses_does_not_look_fast() {
        let mut silent = Health::default();
        for _ in 0..3 {
            silent.outrun(ms(10));
        }
        let mut slow = Health::default();
        slow.answered(ms(20));
        let now = Instant::now();
        assert!(silent.standing(now) > slow.standing(now), "{silent:?}");
        silent.answered(ms(5));
        silent.answered(ms(5));
        for _ in 0..20 {
            silent.answered(ms(5));
        }
        assert!(silent.standing(now) < slow.standing(now));
    }

    #[test]
    fn an_answer_that_is_of_no_use_is_no_failure_and_no_merit() {
        let now = Instant::now();
        let mut health = Health::default();
        for _ in 0..10 {
            health.useless(ms(1));
        }
        assert_eq!(health.standing(now), Standing::Takes(ms(151)));
        assert_eq!(health.p95(), None);
    }

    #[test]
    fn nineteen_of_twenty_answers_come_within_the_p95() {
        let mut health = Health::default();
        assert_eq!(health.p95(), None);
        health.answered(ms(7));
        assert_eq!(health.p95(), Some(ms(7)));
        for time in 1..=20 {
            health.answered(ms(time));
        }
        assert_eq!(health.p95(), Some(ms(19)));
        for _ in 0..REMEMBERED {
            health.answered(ms(3));
        }
        assert_eq!(health.p95(), Some(ms(3)), "what is old is forgotten");
    }

    proptest! {
        #[test]
        fn nothing_overflows_and_memory_is_bounded(
            events in prop::collection::vec((0_u8..4, any::<u32>()), 0..200)
        ) {
            let now = Instant::now();
            let mut health = Health::default();
            for (event, millis) in events {
                let took = ms(millis.into());
                match event {
                    0 => health.answered(took),
                    1 => health.useless(took),
                    2 => health.failed(now),
                    _ => health.outrun(took),
                }
            }
            prop_assert!(health.times.len() <= REMEMBERED);
            let _ = (health.standing(now), health.p95());
        }
    }
}
