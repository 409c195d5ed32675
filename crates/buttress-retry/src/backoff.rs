//! How long to wait before a retry: arithmetic only, no clock and no source of randomness.

use std::time::Duration;

use crate::SettingError;

/// The wait before each retry.
///
/// The wait that retry `n` may take, its ceiling, is `base * factor^(n - 1)`, never above `max`.
/// [`Jitter`] then picks the wait below that ceiling.
///
/// ```
/// use std::time::Duration;
/// use buttress_retry::{Backoff, Jitter};
///
/// # fn main() -> Result<(), buttress_retry::SettingError> {
/// let backoff = Backoff::exponential(Duration::from_secs(2), Duration::from_secs(10))?
///     .factor(1.5)?
///     .jitter(Jitter::None);
///
/// let waits = [1, 2, 3, 9].map(|retry| backoff.delay(retry, Duration::ZERO, 0).as_secs_f64());
/// assert_eq!(waits, [2.0, 3.0, 4.5, 10.0]);
/// # Ok(())
/// # }
/// ```
///
/// The default waits 50 ms, doubling up to 10 s, with [`Jitter::Full`].
///
/// The value holds no random state: each call brings its own 64 random bits. A generator that is
/// copied along with its policy gives every request the same "random" waits, and the clients that
/// failed together come back together.
///
/// All arithmetic is done in whole nanoseconds and saturates. A duration of more than 584 years
/// counts as 584 years.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    factor: f64,
    jitter: Jitter,
}

/// How a wait is spread below its ceiling, so that clients which failed together do not return
/// together.
///
/// The names are those of "Exponential Backoff And Jitter" in the AWS Architecture Blog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Uniform from zero to the ceiling: the least total work for a contended server.
    #[default]
    Full,
    /// Half the ceiling, and uniform above that: never comes back at once.
    Equal,
    /// Uniform from `base` to three times the previous wait, cut at `max`.
    ///
    /// Grows with the waits that were really taken, so `factor` has no say.
    Decorrelated,
    /// Exactly the ceiling. For tests, and for a server that names its own times.
    None,
}

impl Backoff {
    /// Waits that double from `base` up to `max`, with [`Jitter::Full`].
    ///
    /// # Errors
    ///
    /// When `base` is zero, for zero never grows (see [`Backoff::fixed`] for no wait at all), or
    /// when `max` is shorter than `base`.
    pub fn exponential(base: Duration, max: Duration) -> Result<Self, SettingError> {
        if base.is_zero() {
            return Err(SettingError::new("backoff.base", "0ns, which never grows"));
        }
        if max < base {
            let reason = format!("{max:?}, shorter than `backoff.base` {base:?}");
            return Err(SettingError::new("backoff.max", reason));
        }
        Ok(Self { base, max, factor: 2.0, jitter: Jitter::Full })
    }

    /// Like [`exponential`](Self::exponential), for bounds that are known to be right.
    #[cfg(feature = "http")]
    pub(crate) const fn doubling(base: Duration, max: Duration) -> Self {
        Self { base, max, factor: 2.0, jitter: Jitter::Full }
    }

    /// The same wait before every retry, without jitter until [`jitter`](Self::jitter) adds it.
    ///
    /// Zero is allowed and retries at once.
    #[must_use]
    pub const fn fixed(delay: Duration) -> Self {
        Self { base: delay, max: delay, factor: 1.0, jitter: Jitter::None }
    }

    /// Sets by how much the ceiling grows from one retry to the next; 2 by default.
    ///
    /// # Errors
    ///
    /// When `factor` is not a finite number of at least 1.
    pub fn factor(self, factor: f64) -> Result<Self, SettingError> {
        if !factor.is_finite() || factor < 1.0 {
            let reason = format!("{factor}, not a finite number of at least 1");
            return Err(SettingError::new("backoff.factor", reason));
        }
        Ok(Self { factor, ..self })
    }

    /// Sets how waits are spread; [`Jitter::Full`] by default.
    #[must_use]
    pub const fn jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// The ceiling of the first retry.
    #[must_use]
    pub const fn base(&self) -> Duration {
        self.base
    }

    /// The longest wait there will be.
    #[must_use]
    pub const fn max(&self) -> Duration {
        self.max
    }

    /// The wait before a retry; `retry` counts from 1, and 0 is taken for 1.
    ///
    /// `previous` is the wait before the retry that went before, zero if there was none; only
    /// [`Jitter::Decorrelated`] looks at it. `random` is 64 uniform bits: the wait grows with it,
    /// and every nanosecond of the range can come up.
    #[must_use]
    pub fn delay(&self, retry: u32, previous: Duration, random: u64) -> Duration {
        let ceiling = self.ceiling(retry);
        let nanos = match self.jitter {
            Jitter::None => ceiling,
            Jitter::Full => within(0, ceiling, random),
            Jitter::Equal => within(ceiling / 2, ceiling, random),
            Jitter::Decorrelated => {
                let base = nanos(self.base);
                let reach = nanos(previous).saturating_mul(3).max(base);
                within(base, reach, random).min(nanos(self.max))
            }
        };
        Duration::from_nanos(nanos)
    }

    fn ceiling(&self, retry: u32) -> u64 {
        let (base, max) = (nanos(self.base), nanos(self.max));
        if retry <= 1 {
            return base;
        }
        let growth = self.factor.powf(f64::from(retry - 1));
        // From 2^53 ns on a float may round to less than `base`; the clamp puts that right.
        saturating(float(base) * growth).clamp(base, max)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(50),
            max: Duration::from_secs(10),
            factor: 2.0,
            jitter: Jitter::Full,
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Maps 64 uniform bits onto `low..=high`, both ends included, by multiplication.
fn within(low: u64, high: u64, random: u64) -> u64 {
    let values = u128::from(high - low) + 1;
    let offset = (u128::from(random) * values) >> 64;
    low + u64::try_from(offset).unwrap_or(high - low)
}

#[expect(clippy::cast_precision_loss, reason = "53 bits of a wait are exact to 104 days")]
fn float(nanos: u64) -> f64 {
    nanos as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates, which is what is wanted, and zero times infinity is 0"
)]
fn saturating(nanos: f64) -> u64 {
    nanos as u64
}
