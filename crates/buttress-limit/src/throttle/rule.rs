//! The rule: which share of calls is not sent.

use std::time::Duration;

use buttress_core::SettingError;

use crate::overload::micros;

/// The accepts and requests rule: calls are refused with the probability
/// `(requests - k * accepts) / (requests + 1)`, once there are 10 requests to judge by.
///
/// So about `k` times as many calls are sent as are accepted. (Beyer and others, "Site Reliability
/// Engineering", chapter 21, "Client-side throttling".)
///
/// Requests are the calls that were answered, and those that were refused here. One that is still
/// under way is neither accepted nor turned away, however long it takes; and while many of those
/// that were sent are not answered, those that were refused count for as much less.
///
/// What counts is what came last: the newest 20 requests, or all within a second if those are more,
/// and nothing older than the [window](Self::window). The time after which a service that has
/// recovered has its calls back grows with the time that is looked back on, and a window of fixed
/// length is too long for a client with many calls or too short for one with few.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub(super) k: f64,
    pub(super) window: u64,
    pub(super) probe: u64,
    pub(super) most: f64,
}

impl Default for Rule {
    fn default() -> Self {
        Self::new()
    }
}

impl Rule {
    /// `k` is 1.5, the window 30 seconds; a call each second is let through, and one of a hundred.
    pub const fn new() -> Self {
        Self { k: 1.5, window: 30_000_000, probe: 1_000_000, most: 0.99 }
    }

    /// How many calls may be sent for each that is accepted. Default: 1.5.
    ///
    /// More finds out sooner that a service has recovered, and makes it turn more calls away.
    ///
    /// # Errors
    ///
    /// Unless it is from 1.05 to 10.
    pub fn k(mut self, k: f64) -> Result<Self, SettingError> {
        if !(1.05..=10.0).contains(&k) {
            return Err(SettingError::new(
                "throttle.k",
                format!("{k}; it must be from 1.05 to 10"),
            ));
        }
        self.k = k;
        Ok(self)
    }

    /// The oldest that counts. Default: 30 seconds. After so long without a busy answer the
    /// throttle is dormant again.
    ///
    /// # Errors
    ///
    /// Unless it is from 2 seconds to 10 minutes.
    pub fn window(mut self, window: Duration) -> Result<Self, SettingError> {
        if !(Duration::from_secs(2)..=Duration::from_secs(600)).contains(&window) {
            let reason = format!("{window:?}; it must be from 2s to 600s");
            return Err(SettingError::new("throttle.window", reason));
        }
        self.window = micros(window);
        Ok(self)
    }

    /// After this long without a call sent, one is, whatever the rule says. Default: a second.
    ///
    /// # Errors
    ///
    /// Unless it is from a millisecond to a minute.
    pub fn probe(mut self, every: Duration) -> Result<Self, SettingError> {
        if !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&every) {
            let reason = format!("{every:?}; it must be from 1ms to 60s");
            return Err(SettingError::new("throttle.probe", reason));
        }
        self.probe = micros(every);
        Ok(self)
    }

    /// The share of calls that is refused at most. Default: 0.99.
    ///
    /// # Errors
    ///
    /// Unless it is from 0 to 1.
    pub fn most_refused(mut self, share: f64) -> Result<Self, SettingError> {
        if !(0.0..=1.0).contains(&share) {
            let reason = format!("{share}; it must be from 0 to 1");
            return Err(SettingError::new("throttle.most_refused", reason));
        }
        self.most = share;
        Ok(self)
    }

    /// The share of calls that is refused, after so many requests and accepts.
    pub(super) fn share(&self, requests: f64, accepts: f64) -> f64 {
        if requests < ENOUGH {
            return 0.0;
        }
        let surplus = self.k.mul_add(-accepts, requests);
        (surplus / (requests + 1.0)).clamp(0.0, self.most)
    }
}

/// Fewer requests than this decide nothing.
const ENOUGH: f64 = 10.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_share_is_one_that_the_rule_allows(
            requests in 0.0..1e12_f64,
            accepts in 0.0..1e12_f64,
            k in 1.05..10.0_f64,
        ) {
            let rule = Rule::new().k(k).unwrap();
            let share = rule.share(requests, accepts);
            prop_assert!((0.0..=0.99).contains(&share), "{share}");
            if accepts >= requests {
                prop_assert!(share == 0.0);
            }
        }

        #[test]
        fn more_accepts_never_refuse_more(requests in 0.0..1e12_f64, accepts in 0.0..1e12_f64) {
            let rule = Rule::new();
            prop_assert!(rule.share(requests, accepts + 1.0) <= rule.share(requests, accepts));
        }
    }

    #[test]
    fn a_few_busy_answers_decide_nothing() {
        assert_eq!(Rule::new().share(9.0, 0.0), 0.0);
        assert!(Rule::new().share(10.0, 0.0) > 0.9);
    }
}
