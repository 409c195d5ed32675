//! How many calls an endpoint may have in flight, set or learned.

use std::{sync::atomic::Ordering, time::Duration};

use buttress_core::SettingError;

use crate::{
    Lease, Moment, Observation, Verdict,
    node::{LIMIT_PART, Node},
};

/// A limit that is learned for each endpoint: additive increase, multiplicative decrease (as in
/// Chiu and Jain, "Analysis of the increase and decrease algorithms", 1989).
///
/// Each success while the endpoint is at least half used lets in one more call per limit's worth of
/// calls. What says that there is too much in flight cuts the limit to nine tenths, once for all the
/// calls that were in flight together:
///
/// - an answer that asks for less: a 429, a 503 with a hint when to come back;
/// - a call that is [slow](Self::slow), whatever it comes to;
/// - a failure of an endpoint whose calls have failed for more than a fifth lately. A failure now and then
///   says nothing about load: where one cut the limit, one percent of errors would hold it at some 34
///   calls, whatever the server takes.
///
/// An endpoint's own [`max_in_flight`](crate::Endpoint::max_in_flight) is its ceiling, and its floor
/// too where that is lower.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct LearnedLimit {
    start: u32,
    floor: u32,
    ceiling: u32,
    slow: Option<Duration>,
}

impl Default for LearnedLimit {
    fn default() -> Self {
        Self::new()
    }
}

impl LearnedLimit {
    /// Starts at 20, between 1 and 1000.
    pub const fn new() -> Self {
        Self { start: 20, floor: 1, ceiling: 1_000, slow: None }
    }

    /// Where it starts, and between what it stays.
    ///
    /// # Errors
    ///
    /// Unless 1 <= floor <= start <= ceiling <= 100,000.
    pub fn between(mut self, floor: u32, start: u32, ceiling: u32) -> Result<Self, SettingError> {
        let ordered = 1 <= floor && floor <= start && start <= ceiling && ceiling <= 100_000;
        if !ordered {
            let reason = format!(
                "{floor}, {start}, {ceiling}; floor, start and ceiling must rise from 1 to 100000"
            );
            return Err(SettingError::new("balance.limit", reason));
        }
        (self.floor, self.start, self.ceiling) = (floor, start, ceiling);
        Ok(self)
    }

    /// A response whose head takes longer than this says that there is too much in flight.
    /// Default: none does.
    ///
    /// # Errors
    ///
    /// If it is 0: every response takes longer.
    pub fn slow(mut self, latency: Duration) -> Result<Self, SettingError> {
        if latency.is_zero() {
            return Err(SettingError::new("balance.limit.slow", "0s; it must be longer"));
        }
        self.slow = Some(latency);
        Ok(self)
    }

    /// Gives a node its first limit.
    pub(crate) fn begin(&self, node: &Node) {
        node.begin_limit(self.start);
    }

    pub(crate) fn learn(&self, lease: &Lease, observation: &Observation, now: Moment) {
        let node = lease.candidate().node();
        let slow = match (self.slow, observation.latency) {
            (Some(slow), Some(latency)) => latency > slow,
            _ => false,
        };
        match observation.verdict {
            Verdict::Neutral => {}
            Verdict::Success if !slow => self.grow(node),
            Verdict::Failure if !slow && node.success().at(now) >= FAIRLY_GOOD => {}
            _ => self.cut(node, lease.started(), now),
        }
    }

    fn grow(&self, node: &Node) {
        // A limit that is not reached says nothing about a higher one.
        let before = node.most_in_flight();
        if node.load().in_flight().saturating_mul(2) < before {
            return;
        }
        change(node, |parts| {
            let ceiling = self.ceiling.saturating_mul(LIMIT_PART).min(node.own_limit());
            let step = (LIMIT_PART * LIMIT_PART).div_ceil(parts.max(1));
            parts.saturating_add(step).min(ceiling)
        });
        if node.most_in_flight() > before {
            node.pulse().line.released();
        }
    }

    /// Lets in less, unless that was done since the call began: it has had its say then.
    fn cut(&self, node: &Node, began: Moment, now: Moment) {
        let cut_at = node.cut_at.load(Ordering::Relaxed);
        let now = now.as_micros().max(1);
        let first = began.as_micros() >= cut_at
            && node
                .cut_at
                .compare_exchange(cut_at, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if first {
            let floor = self.floor.saturating_mul(LIMIT_PART);
            // Never more than it was, however low that is.
            change(node, |parts| (parts - parts / 10).max(floor).min(parts));
        }
    }
}

/// The share of good answers below which failures are taken for a sign of load. Each answer counts
/// a twentieth, so that one in ten may fail by chance and hardly ever come below.
const FAIRLY_GOOD: f32 = 0.8;

fn change(node: &Node, step: impl Fn(u32) -> u32) {
    let (store, load) = (Ordering::SeqCst, Ordering::SeqCst);
    // An update that always finds a next value cannot fail.
    let _ = node.limit().fetch_update(store, load, |parts| Some(step(parts)));
}
