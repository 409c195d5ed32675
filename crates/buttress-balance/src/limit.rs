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
/// calls; an answer that asks for less (429, 503), a failure, and one that is
/// [slow](Self::slow) cut the limit to nine tenths, once for all the calls that were in flight
/// together. An endpoint's own [`max_in_flight`](crate::Endpoint::max_in_flight) is its ceiling.
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
    pub const fn slow(mut self, latency: Duration) -> Self {
        self.slow = Some(latency);
        self
    }

    /// Gives a node its first limit.
    pub(crate) fn begin(&self, node: &Node) {
        if !node.learned.swap(true, Ordering::Relaxed) {
            let own = node.endpoint.max_in_flight.map_or(u32::MAX, std::num::NonZeroU32::get);
            node.set_limit(Some(self.start.min(own)));
        }
    }

    pub(crate) fn learn(&self, lease: &Lease, observation: &Observation, now: Moment) {
        let node = lease.candidate().node();
        let own = node.endpoint.max_in_flight.map_or(u32::MAX, std::num::NonZeroU32::get);
        let ceiling = self.ceiling.min(own).max(self.floor.min(own));
        let slow = match (self.slow, observation.latency) {
            (Some(slow), Some(latency)) => latency > slow,
            _ => false,
        };
        match observation.verdict {
            Verdict::Success if !slow => grow(node, ceiling),
            Verdict::Neutral => {}
            _ => {
                // Those that began before the last cut have had their say in it.
                let began = lease.started().as_micros();
                let cut_at = node.cut_at.load(Ordering::Relaxed);
                let now = now.as_micros().max(1);
                let first = began >= cut_at
                    && node
                        .cut_at
                        .compare_exchange(cut_at, now, Ordering::Relaxed, Ordering::Relaxed)
                        .is_ok();
                if first {
                    let floor = self.floor.saturating_mul(LIMIT_PART);
                    change(node, |parts| (parts - parts / 10).max(floor));
                }
            }
        }
    }
}

fn grow(node: &Node, ceiling: u32) {
    // A limit that is not reached says nothing about a higher one.
    if node.load().in_flight().saturating_mul(2) < node.most_in_flight() {
        return;
    }
    let before = node.most_in_flight();
    change(node, |parts| {
        let step = (LIMIT_PART * LIMIT_PART).div_ceil(parts.max(1));
        parts.saturating_add(step).min(ceiling.saturating_mul(LIMIT_PART))
    });
    if node.most_in_flight() > before {
        node.pulse().line.released();
    }
}

fn change(node: &Node, step: impl Fn(u32) -> u32) {
    // An update that always finds a next value cannot fail.
    let _ =
        node.limit().fetch_update(Ordering::Relaxed, Ordering::Relaxed, |parts| Some(step(parts)));
}
