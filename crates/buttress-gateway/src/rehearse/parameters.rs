//! The one set of parameters that every rehearsal uses, so that figures can be compared.

use std::time::Duration;

/// What one endpoint of the busy API can do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServerParameters {
    /// Calls answered side by side. Default: 36.
    pub slots: usize,
    /// Calls that may wait for a slot, first in, first out. One more gets a `503`. Default: 125.
    pub queue: usize,
    /// Mean of the lognormal service time. Default: 0.3 s, which makes 120 answers a second.
    pub service_mean: Duration,
    /// Standard deviation of the service time, divided by its mean. Default: 0.5.
    pub service_variation: f64,
    /// Time until a new connection can be used, as distance would have it. The server takes it, so that
    /// every client pays the same. Default: 30 ms.
    pub connect_delay: Duration,
    /// Time on the network before anything is answered, refusals included. Default: 20 ms.
    pub network_delay: Duration,
    /// When the endpoint loses capacity for a while. Default: never.
    pub busy: Option<BusySpells>,
}

impl Default for ServerParameters {
    fn default() -> Self {
        Self {
            slots: 36,
            queue: 125,
            service_mean: Duration::from_millis(300),
            service_variation: 0.5,
            connect_delay: Duration::from_millis(30),
            network_delay: Duration::from_millis(20),
            busy: None,
        }
    }
}

/// The spells in which an endpoint loses most of its slots and of its queue.
///
/// A spell begins after an exponential calm, lasts an exponential time, and is followed by the
/// next calm. Calls that hold a slot or a place in the queue when it begins keep it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BusySpells {
    /// Share of the slots and of the queue that is lost, from 0 to 1. Default: 0.85.
    pub lost: f64,
    /// Mean length of a spell. Default: 4 s.
    pub spell_mean: Duration,
    /// Mean time between the end of a spell and the next. Default: 16 s.
    pub calm_mean: Duration,
}

impl Default for BusySpells {
    fn default() -> Self {
        Self { lost: 0.85, spell_mean: Duration::from_secs(4), calm_mean: Duration::from_secs(16) }
    }
}

impl BusySpells {
    /// What a spell leaves of `whole`; rounded, and never nothing.
    #[must_use]
    pub fn remaining(&self, whole: usize) -> usize {
        let whole = u32::try_from(whole).unwrap_or(u32::MAX);
        let left = (f64::from(whole) * (1.0 - self.lost.clamp(0.0, 1.0))).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number between 0 and a u32"
        )]
        let left = left as usize;
        left.max(1)
    }
}

/// Who calls, and how often.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TrafficParameters {
    /// Callers; each waits for its answer before it thinks about the next call. Default: 400.
    pub callers: u64,
    /// Mean of the exponential time between an answer and the caller's next call. Default: 678 ms.
    pub think_mean: Duration,
    /// Share of the prompts drawn from the common ones, from 0 to 1; the rest are unique.
    /// Default: 0.
    pub repeat: f64,
    /// How many common prompts there are. Default: 100.
    pub common_prompts: u64,
}

impl Default for TrafficParameters {
    fn default() -> Self {
        Self {
            callers: 400,
            think_mean: Duration::from_millis(678),
            repeat: 0.0,
            common_prompts: 100,
        }
    }
}

/// What reaching the API costs a client before its request can be sent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PathParameters {
    /// Time the name server takes to answer. Default: 150 ms.
    pub lookup_delay: Duration,
}

impl Default for PathParameters {
    fn default() -> Self {
        Self { lookup_delay: Duration::from_millis(150) }
    }
}

/// What is measured, and for how long.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Schedule {
    /// Time before measuring begins, in which queues fill. Default: 15 s.
    pub warm_up: Duration,
    /// Time measured. Default: 30 s.
    pub measured: Duration,
    /// An answer that took longer is of no use to its caller: the call counts as unavailable, even
    /// when it succeeded in the end. Default: 30 s.
    ///
    /// Neither client knows of it, and neither gives up because of it.
    pub deadline: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            warm_up: Duration::from_secs(15),
            measured: Duration::from_secs(30),
            deadline: Duration::from_secs(30),
        }
    }
}

impl Schedule {
    /// Warm-up and measured time together.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.warm_up + self.measured
    }
}

/// Everything a rehearsal depends on; both of its runs use the same value.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Parameters {
    /// Seed of every draw: prompts, think times, service times, busy spells.
    pub seed: u64,
    /// Each endpoint.
    pub server: ServerParameters,
    /// The callers.
    pub traffic: TrafficParameters,
    /// The way from a client to an endpoint.
    pub path: PathParameters,
    /// The times.
    pub schedule: Schedule,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_spell_leaves_the_share_that_is_not_lost() {
        let left = |whole, lost| BusySpells { lost, ..BusySpells::default() }.remaining(whole);
        assert_eq!(left(36, 0.85), 5);
        assert_eq!(left(125, 0.85), 19);
        assert_eq!(left(36, 0.0), 36);
        assert_eq!(left(36, 1.0), 1);
        assert_eq!(left(36, f64::NAN), 1);
    }
}
