//! A limit by how much longer answers take than they need to.

use std::time::Duration;

use buttress_core::SettingError;

use super::{
    limit::{Bounds, whole},
    sample::Sample,
};
use crate::overload::micros;

/// Finds a limit by latency: as long as answers take no longer than they need to, it goes up; where
/// they do, calls queue in the service, and it goes down.
///
/// Answers are looked at in rounds, each of at least 10 calls that began in it, so that it lasts a
/// round trip or longer, and by the mean of their middle half, so that a few very fast or very slow
/// ones decide nothing. How long answers need is the lowest such mean seen (the baseline). A round
/// that takes more than [`tolerance`](Self::tolerance) times as long is slow, and lowers the limit
/// by as much, to three quarters at most.
///
/// A service that has become slower for a reason of its own would be throttled for that without
/// end. So each time that the limit was lowered the next round shows if that was of use. Where
/// answers are no faster with less under way, twice in a row, it was no queue that made them slow:
/// the limit goes back up, and the baseline moves towards what is seen. And from time to time
/// ([`remeasure`](Self::remeasure)) the limit is halved for a round to see how fast answers are
/// with less under way, so that a baseline measured under load does not last.
///
/// 429, 503, 529 and timeouts cut the limit to nine tenths, once per round trip. It rises, by the
/// square root of itself for each round, only while more than half of it is used.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Gradient {
    pub(super) bounds: Bounds,
    tolerance: f64,
    remeasure: u64,
}

impl Default for Gradient {
    fn default() -> Self {
        Self::new()
    }
}

impl Gradient {
    /// Starts at 20, stays between 1 and 1000, tolerates one and a half times the baseline, and
    /// measures that again every 30 seconds.
    pub const fn new() -> Self {
        Self { bounds: Bounds::DEFAULT, tolerance: 1.5, remeasure: 30_000_000 }
    }

    /// Between what it stays, and where it starts. Default: 1, 20, 1000.
    ///
    /// # Errors
    ///
    /// Unless 1 <= floor <= start <= ceiling.
    pub fn between(mut self, floor: u32, start: u32, ceiling: u32) -> Result<Self, SettingError> {
        self.bounds = Bounds::between(floor, start, ceiling)?;
        Ok(self)
    }

    /// How many times as long as the baseline answers may take. Default: 1.5.
    ///
    /// # Errors
    ///
    /// Unless it is from 1.1 to 10.
    pub fn tolerance(mut self, times: f64) -> Result<Self, SettingError> {
        if !(1.1..=10.0).contains(&times) {
            let reason = format!("{times}; it must be from 1.1 to 10");
            return Err(SettingError::new("concurrency.tolerance", reason));
        }
        self.tolerance = times;
        Ok(self)
    }

    /// After how long without a new lowest latency the baseline is measured again. Default: 30
    /// seconds.
    ///
    /// # Errors
    ///
    /// If it is less than a second.
    pub fn remeasure(mut self, every: Duration) -> Result<Self, SettingError> {
        if every < Duration::from_secs(1) {
            let reason = format!("{every:?}; it must be at least a second");
            return Err(SettingError::new("concurrency.remeasure", reason));
        }
        self.remeasure = micros(every);
        Ok(self)
    }
}

/// Calls that make a round, at least.
const ROUND: usize = 10;
/// The most that is kept of a round.
const KEPT: usize = 64;
/// What a slow round leaves of the limit, at least; and of what is used, while that is tried: less
/// of a difference would not show.
const STEEPEST: f64 = 0.75;
/// What is left of what is used while the baseline is measured again.
const LOOK: f64 = 0.5;
/// What an answer of overload leaves of the limit.
const CUT: f64 = 0.9;
/// A round that takes this share of the one before, or less, was made faster by having less under
/// way.
const FASTER: f64 = 0.9;

/// The limit as it was found so far.
#[derive(Debug)]
pub(super) struct Found {
    gradient: Gradient,
    limit: f64,
    cut_at: Option<u64>,
    baseline: Option<f64>,
    /// When the baseline was last found true.
    confirmed: u64,
    trial: Option<Trial>,
    /// Whether the last trial was of no use.
    in_vain: bool,
    round: Round,
}

/// The limit was lowered, and the next round shows if that was of use.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// How long answers took before.
    latency: f64,
    before: f64,
    /// The limit if it was of use; `None` if it was lowered only to look.
    then: Option<f64>,
}

#[derive(Debug)]
struct Round {
    began: u64,
    latencies: Vec<u64>,
    peak: u32,
}

impl Found {
    pub(super) fn new(gradient: Gradient) -> Self {
        let round = Round { began: 0, latencies: Vec::with_capacity(KEPT), peak: 0 };
        let limit = f64::from(gradient.bounds.start);
        Self {
            gradient,
            limit,
            cut_at: None,
            baseline: None,
            confirmed: 0,
            trial: None,
            in_vain: false,
            round,
        }
    }

    pub(super) fn set(&mut self, limit: u32) -> u32 {
        self.limit = self.gradient.bounds.clamp(f64::from(limit));
        self.trial = None;
        whole(self.limit)
    }

    pub(super) fn learn(&mut self, sample: &Sample) -> u32 {
        if sample.overload {
            self.cut(sample);
        } else if sample.began >= self.round.began {
            self.round.add(sample);
            if let Some(latency) = self.round.latency(self.limit) {
                let peak = self.round.peak;
                self.round.restart(sample.now);
                self.judge(latency, peak, sample.now);
            }
        }
        self.limit = self.gradient.bounds.clamp(self.limit);
        whole(self.limit)
    }

    fn cut(&mut self, sample: &Sample) {
        if self.cut_at.is_some_and(|cut_at| sample.began < cut_at) {
            return;
        }
        self.cut_at = Some(sample.now);
        self.limit *= CUT;
        // A limit from before the cut must not come back by way of a trial.
        self.trial = None;
        self.round.restart(sample.now);
    }

    fn judge(&mut self, latency: f64, peak: u32, now: u64) {
        let baseline = *self.baseline.get_or_insert(latency);
        if latency <= baseline {
            self.baseline = Some(latency);
            self.confirmed = now;
        }
        if let Some(trial) = self.trial.take() {
            return self.conclude(trial, latency, baseline, now);
        }
        let used = f64::from(peak);
        if used <= self.limit / 2.0 {
            return;
        }
        let gradient = self.gradient.tolerance * baseline / latency.max(1.0);
        let base = self.limit.min(used);
        if gradient < 1.0 {
            let then = Some(base * gradient.max(STEEPEST));
            self.trial = Some(Trial { latency, before: self.limit, then });
            self.limit = base * STEEPEST;
        } else if now.saturating_sub(self.confirmed) >= self.gradient.remeasure {
            self.trial = Some(Trial { latency, before: self.limit, then: None });
            self.limit = base * LOOK;
        } else {
            self.limit += self.limit.sqrt();
        }
    }

    fn conclude(&mut self, trial: Trial, latency: f64, baseline: f64, now: u64) {
        self.limit = trial.before;
        let Some(then) = trial.then else {
            self.confirmed = now;
            return;
        };
        if latency <= trial.latency * FASTER {
            (self.limit, self.in_vain) = (then, false);
            return;
        }
        // Chance may have it so once; twice in a row, it was no queue that made them slow.
        self.in_vain = !self.in_vain;
        if self.in_vain {
            return;
        }
        self.baseline = Some(baseline + (latency - baseline).max(0.0) / 2.0);
        self.confirmed = now;
    }
}

impl Round {
    fn add(&mut self, sample: &Sample) {
        self.peak = self.peak.max(sample.in_flight);
        if self.latencies.len() < KEPT {
            self.latencies.push(sample.latency());
        }
    }

    /// The mean of the middle half, once the round has as many calls as it needs.
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds of a call are below 2 to the 53rd"
    )]
    fn latency(&mut self, limit: f64) -> Option<f64> {
        // With a high limit more calls are under way together, and tell more together.
        let needed = (whole(limit) as usize / 2).clamp(ROUND, KEPT);
        if self.latencies.len() < needed {
            return None;
        }
        self.latencies.sort_unstable();
        let quarter = self.latencies.len() / 4;
        let middle = &self.latencies[quarter..self.latencies.len() - quarter];
        Some(middle.iter().map(|&latency| latency as f64).sum::<f64>() / middle.len() as f64)
    }

    fn restart(&mut self, now: u64) {
        self.began = now;
        self.latencies.clear();
        self.peak = 0;
    }
}
