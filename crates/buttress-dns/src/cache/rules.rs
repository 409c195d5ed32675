//! For how long answers and failures hold. Arithmetic.

use std::time::Duration;

/// The settings that the arithmetic needs; the setters of [`DnsLayer`](crate::DnsLayer) tell what
/// they mean.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) ttl: (Duration, Duration),
    pub(crate) default_ttl: Duration,
    pub(crate) negative: (Duration, Duration),
    pub(crate) default_negative: Duration,
    /// The share of its time after which an answer is asked for again.
    pub(crate) refresh: f64,
    pub(crate) max_stale: Duration,
    pub(crate) stale_at_once: Duration,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) prefer_positive: bool,
}

impl Default for Rules {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            ttl: (seconds(1), seconds(300)),
            default_ttl: seconds(30),
            negative: (seconds(1), seconds(30)),
            default_negative: seconds(5),
            refresh: 0.8,
            max_stale: seconds(3_600),
            stale_at_once: seconds(60),
            backoff: (seconds(1), seconds(30)),
            prefer_positive: false,
        }
    }
}

/// RFC 2181 section 8: a TTL with its highest bit set counts as zero.
const NONSENSE: Duration = Duration::from_secs(1 << 31);

impl Rules {
    /// For how long addresses hold.
    pub(crate) fn positive(&self, ttl: Option<Duration>) -> Duration {
        clamp(ttl.unwrap_or(self.default_ttl), self.ttl)
    }

    /// For how long it holds that there are none.
    pub(crate) fn negative(&self, ttl: Option<Duration>) -> Duration {
        clamp(ttl.unwrap_or(self.default_negative), self.negative)
    }

    /// After how long an answer is asked for again: up to a tenth earlier than its share.
    pub(crate) fn refresh(&self, ttl: Duration, spread: f64) -> Duration {
        ttl.mul_f64(self.refresh * (1.0 - 0.1 * spread))
    }

    /// How long a name is left alone after so many failures in a row: up to a quarter longer than
    /// the doubled time.
    pub(crate) fn backoff(&self, failures: u32, spread: f64) -> Duration {
        let (base, most) = self.backoff;
        let doubled = base.saturating_mul(1 << failures.saturating_sub(1).min(20));
        doubled.min(most).mul_f64(1.0 + 0.25 * spread).min(most)
    }
}

fn clamp(ttl: Duration, (least, most): (Duration, Duration)) -> Duration {
    let ttl = if ttl >= NONSENSE { Duration::ZERO } else { ttl };
    ttl.clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ttls_are_clamped_and_nonsense_is_zero() {
        let rules = Rules::default();
        let of = |seconds| rules.positive(Some(Duration::from_secs(seconds)));
        assert_eq!(of(0), SECOND);
        assert_eq!(of(42), 42 * SECOND);
        assert_eq!(of((1 << 31) - 1), 300 * SECOND);
        assert_eq!(of(1 << 31), SECOND);
        assert_eq!(of(u64::from(u32::MAX)), SECOND);
        assert_eq!(rules.positive(None), 30 * SECOND);
        assert_eq!(rules.negative(None), 5 * SECOND);
        assert_eq!(rules.negative(Some(3_600 * SECOND)), 30 * SECOND);
    }

    #[test]
    fn backoff_doubles_up_to_its_end() {
        let rules = Rules::default();
        let of = |failures| rules.backoff(failures, 0.0);
        assert_eq!([of(1), of(2), of(5), of(6)], [SECOND, 2 * SECOND, 16 * SECOND, 30 * SECOND]);
        assert_eq!(rules.backoff(u32::MAX, 1.0), 30 * SECOND);
    }

    #[test]
    fn names_that_were_learned_together_are_asked_for_apart() {
        let rules = Rules::default();
        assert_eq!(rules.refresh(100 * SECOND, 0.0), 80 * SECOND);
        assert_eq!(rules.refresh(100 * SECOND, 1.0), 72 * SECOND);
    }
}
