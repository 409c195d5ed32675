//! The rules of health, as they were set.

use std::time::Duration;

use buttress_core::SettingError;

use super::{Span, rules};

/// When an endpoint is left out, for how long, and what happens when all are.
///
/// An endpoint is ejected
///
/// - after a run of failures: [`max_fails`](Self::max_fails) of them, and more where the other
///   endpoints fail as well, so that an error which comes by chance ejects nobody;
/// - or when the share of its failures in the [`window`](Self::window) is above
///   [`failure_ratio`](Self::failure_ratio), above three times that of the others, and more than chance
///   would make of theirs in that many calls (Chernoff's bound, one in a million).
///
/// After [`fail_timeout`](Self::fail_timeout) one call tries it. Failures are connection errors,
/// timeouts, 5xx but 501 and its like. A 429 is none, nor is a 503 that says when to come back; where
/// one of them says so, the endpoint is held for that long ([`max_hold`](Self::max_hold)).
///
/// ```
/// use buttress_balance::Health;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), buttress_balance::SettingError> {
/// let health = Health::new()
///     .max_fails(3)
///     .fail_timeout(Duration::from_secs(30))?
///     .slow_start(Duration::from_secs(10));
/// # drop(health);
/// # Ok(())
/// # }
/// ```
#[must_use]
#[derive(Clone, Debug)]
pub struct Health {
    pub(crate) max_fails: u32,
    pub(crate) fail_timeout: Duration,
    pub(crate) max_ejection: Duration,
    window: Duration,
    pub(crate) ratio: f64,
    percent: u8,
    pub(crate) panic: Panic,
    pub(crate) slow_start: Duration,
    pub(crate) max_hold: Option<Duration>,
    pub(crate) jitter: bool,
    pub(crate) exact: bool,
}

/// What happens to a call when every endpoint is out.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panic {
    /// It goes to one of them all the same: judgement that leaves nobody is likely wrong.
    #[default]
    UseAll,
    /// It fails at once.
    FailFast,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// The defaults named at each setting.
    pub const fn new() -> Self {
        Self {
            max_fails: 3,
            fail_timeout: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            window: Duration::from_secs(10),
            ratio: 0.1,
            percent: 50,
            panic: Panic::UseAll,
            slow_start: Duration::ZERO,
            max_hold: Some(Duration::from_secs(5)),
            jitter: true,
            exact: false,
        }
    }

    /// How many failures in a row, and how many in the window, eject at the least. 0 never ejects;
    /// above 1000 counts as 1000. Default: 3.
    pub const fn max_fails(mut self, failures: u32) -> Self {
        self.max_fails = if failures > 1_000 { 1_000 } else { failures };
        self
    }

    /// How long the first ejection lasts. Those that follow it soon are twice, three times as long,
    /// up to [`max_ejection`](Self::max_ejection), all a tenth longer or shorter by chance.
    /// Default: 30 seconds.
    ///
    /// # Errors
    ///
    /// If it is 0: every failed endpoint would be tried by every call.
    pub fn fail_timeout(mut self, time: Duration) -> Result<Self, SettingError> {
        if time.is_zero() {
            return Err(SettingError::new("health.fail_timeout", "0s; it must be longer"));
        }
        self.fail_timeout = time;
        Ok(self)
    }

    /// The longest an ejection grows to; at least [`fail_timeout`](Self::fail_timeout). Default: 5
    /// minutes.
    pub const fn max_ejection(mut self, time: Duration) -> Self {
        self.max_ejection = time;
        self
    }

    /// Over how long answers are weighed: they fade to 37 % in that time. Default: 10 seconds.
    ///
    /// # Errors
    ///
    /// If it is 0 or longer than an hour.
    pub fn window(mut self, time: Duration) -> Result<Self, SettingError> {
        if time.is_zero() || time > Duration::from_secs(3_600) {
            let reason = format!("{time:?}; it must be above 0 and at most an hour");
            return Err(SettingError::new("health.window", reason));
        }
        self.window = time;
        Ok(self)
    }

    /// The share of failures in the window above which an endpoint is ejected. Default: 0.1.
    ///
    /// # Errors
    ///
    /// If it is not above 0 and at most 1, or no number.
    pub fn failure_ratio(mut self, ratio: f64) -> Result<Self, SettingError> {
        if !(ratio > 0.0 && ratio <= 1.0) {
            let reason = format!("{ratio}; it must be above 0 and at most 1");
            return Err(SettingError::new("health.failure_ratio", reason));
        }
        self.ratio = ratio;
        Ok(self)
    }

    /// How many percent of the endpoints may be out at once, rounded up to an endpoint. Below 100
    /// the last one stays, and a lone endpoint always does. Default: 50.
    ///
    /// # Errors
    ///
    /// If it is above 100, or after [`nginx_exact`](Self::nginx_exact), whose rules know no such share.
    pub fn max_ejected_percent(mut self, percent: u8) -> Result<Self, SettingError> {
        if self.exact {
            let reason = format!("{percent}, but nginx's own rules spare nobody");
            return Err(SettingError::new("health.max_ejected_percent", reason));
        }
        if percent > 100 {
            let reason = format!("{percent}, above 100");
            return Err(SettingError::new("health.max_ejected_percent", reason));
        }
        self.percent = percent;
        Ok(self)
    }

    /// What happens to a call when every endpoint is out. Default: [`Panic::UseAll`].
    pub const fn panic(mut self, panic: Panic) -> Self {
        self.panic = panic;
        self
    }

    /// Over how long an endpoint that was added or is back in use comes to its full share.
    /// Default: zero, at once.
    pub const fn slow_start(mut self, time: Duration) -> Self {
        self.slow_start = time;
        self
    }

    /// The longest that a server's `Retry-After` and its relatives hold its endpoint. Zero is the
    /// same as [`ignore_retry_after`](Self::ignore_retry_after). Default: 5 seconds.
    pub const fn max_hold(mut self, time: Duration) -> Self {
        self.max_hold = if time.is_zero() { None } else { Some(time) };
        self
    }

    /// Takes no notice of `Retry-After` and its relatives: a 503 is a failure whatever it says.
    pub const fn ignore_retry_after(mut self) -> Self {
        self.max_hold = None;
        self
    }

    /// Ejections last exactly as long as they should, for tests: nothing is left to chance.
    pub const fn no_jitter(mut self) -> Self {
        self.jitter = false;
        self
    }

    /// nginx's own rules, with their faults: `max_fails` failures eject however many successes were
    /// between them; nobody is spared, and when all are out, a call fails at once.
    ///
    /// Under background errors these rules take a healthy set down. They are here for those who
    /// must have the same behaviour in two places. The times are whole seconds.
    ///
    /// It takes the place of what was set before by [`max_ejected_percent`](Self::max_ejected_percent),
    /// [`panic`](Self::panic) and [`max_hold`](Self::max_hold), of which the last two may be set again
    /// afterwards. nginx has nothing like [`max_ejection`](Self::max_ejection), [`window`](Self::window),
    /// [`failure_ratio`](Self::failure_ratio) and chance, so those have no effect.
    pub const fn nginx_exact(mut self) -> Self {
        self.exact = true;
        self.percent = 100;
        self.panic = Panic::FailFast;
        self.max_hold = None;
        self
    }

    pub(crate) fn span(&self) -> Span {
        Span::new(self.window)
    }

    pub(crate) fn run_that_ejects(&self, fleet: f64) -> u64 {
        u64::from(rules::run_that_ejects(self.max_fails, fleet)).min(super::word::MAX_RUN)
    }

    pub(crate) fn ratio_ejects(&self, counts: (f64, f64), fleet: f64) -> bool {
        rules::ratio_ejects(counts, self.max_fails, self.ratio, fleet)
    }

    /// The `count`th ejection in milliseconds.
    pub(crate) fn ejection(&self, count: u64, random: u64) -> u64 {
        let jitter = self.jitter.then_some(random);
        rules::ejection(self.fail_timeout, self.max_ejection, count, jitter)
    }

    pub(crate) fn most_ejected(&self, members: usize) -> usize {
        rules::most_ejected(members, usize::from(self.percent))
    }
}
