//! What is counted during a run, and the figures that come of it.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    gate::Usage,
    parameters::Schedule,
    route::{CallOutcome, Ending},
    timeline::Timeline,
};

/// Latencies are kept to a microsecond and three digits, up to an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;
const DIGITS: u8 = 3;

/// Counts the calls of one run.
///
/// A call belongs to the measured window if it *ends* in it, whenever it began: that makes calls,
/// good calls and requests a second rates of the same thirty seconds. Calls still open when the
/// run ends are in no figure.
#[derive(Debug)]
pub struct Tally {
    schedule: Schedule,
    latencies: Histogram<u64>,
    total: Duration,
    calls: u64,
    good: u64,
    in_time: u64,
    broken: u64,
    retries: u64,
    all_calls: u64,
    timeline: Timeline,
}

impl Tally {
    /// Starts counting for a run with these times.
    #[must_use]
    pub fn new(schedule: &Schedule) -> Self {
        Self {
            latencies: Timeline::histogram(LONGEST_MICROS, DIGITS),
            timeline: Timeline::new(schedule),
            schedule: schedule.clone(),
            total: Duration::ZERO,
            calls: 0,
            good: 0,
            in_time: 0,
            broken: 0,
            retries: 0,
            all_calls: 0,
        }
    }

    /// Counts a call that ended `at` this long after the start of the run, and took `latency`.
    pub fn record(&mut self, at: Duration, latency: Duration, outcome: CallOutcome) {
        self.all_calls += 1;
        self.timeline.record(at, latency);
        if at < self.schedule.warm_up || at >= self.schedule.total() {
            return;
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros);
        self.total += latency;
        self.calls += 1;
        self.retries += u64::from(outcome.attempts.saturating_sub(1));
        match outcome.ending {
            Ending::Answered => {
                self.good += 1;
                self.in_time += u64::from(latency <= self.schedule.deadline);
            }
            Ending::Refused => {}
            Ending::Broken => self.broken += 1,
        }
    }

    /// Calls that have ended so far, in the warm-up as well.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.all_calls
    }

    /// The figures of the measured window, in which `server_requests` requests reached the
    /// servers, and `slots` is what there was of slots and was taken. `None` if no call ended in it.
    #[must_use]
    pub fn figures(&self, server_requests: u64, slots: Usage) -> Option<Figures> {
        if self.calls == 0 {
            return None;
        }
        let calls = ratio_base(self.calls);
        let percentile = |at| {
            let micros = self.latencies.value_at_percentile(at);
            Duration::from_micros(micros).as_secs_f64()
        };
        Some(Figures {
            mean_s: rounded(self.total.as_secs_f64() / calls),
            p50_s: rounded(percentile(50.0)),
            p99_s: rounded(percentile(99.0)),
            failed_pct: rounded(100.0 * ratio_base(self.calls - self.good) / calls),
            good_per_s: rounded(ratio_base(self.good) / self.schedule.measured.as_secs_f64()),
            retries_per_call: rounded(ratio_base(self.retries) / calls),
            server_requests,
            availability_pct: rounded(100.0 * ratio_base(self.in_time) / calls),
            calls: self.calls,
            slots_taken_pct: rounded(
                100.0 * slots.taken.as_secs_f64()
                    / slots.offered.as_secs_f64().max(f64::MIN_POSITIVE),
            ),
        })
    }

    /// Calls in the measured window that failed below HTTP.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.broken
    }

    /// Latency over time, warm-up included.
    #[must_use]
    pub fn into_timeline(self) -> Timeline {
        self.timeline
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52")]
fn ratio_base(count: u64) -> f64 {
    count as f64
}

/// Four decimals: a tenth of a millisecond, and more than any figure here is good for.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// The figures of one run, over the calls that ended in its measured window.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// Mean time from a call to its end, retries and failed calls included, in seconds.
    pub mean_s: f64,
    /// Half of the calls took no longer, in seconds.
    pub p50_s: f64,
    /// Of a hundred calls, 99 took no longer, in seconds.
    pub p99_s: f64,
    /// Share of the calls that did not end with a whole answer, in percent.
    pub failed_pct: f64,
    /// Calls a second that ended with a whole answer.
    pub good_per_s: f64,
    /// HTTP attempts beyond the first, per call.
    pub retries_per_call: f64,
    /// HTTP requests that reached the servers.
    pub server_requests: u64,
    /// Share of the calls that ended with a whole answer within the deadline, in percent.
    pub availability_pct: f64,
    /// Calls.
    pub calls: u64,
    /// Share of the time of the servers' slots that was taken, in percent: at 100, no client could
    /// have had more answers. Shown to people only.
    #[serde(skip)]
    pub slots_taken_pct: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        Tally::new(&Schedule {
            warm_up: Duration::from_secs(10),
            measured: Duration::from_secs(10),
            deadline: Duration::from_secs(5),
        })
    }

    fn usage() -> Usage {
        Usage { offered: Duration::from_secs(4), taken: Duration::from_secs(3) }
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn figures_are_those_of_the_calls_that_ended_in_the_window() {
        let mut tally = tally();
        let good = |attempts| CallOutcome::new(Ending::Answered, attempts);
        tally.record(seconds(9.999), seconds(100.0), CallOutcome::new(Ending::Refused, 13));
        tally.record(seconds(10.0), seconds(1.0), good(1));
        tally.record(seconds(12.0), seconds(2.0), good(3));
        tally.record(seconds(14.0), seconds(6.0), good(1));
        tally.record(seconds(19.999), seconds(3.0), CallOutcome::new(Ending::Refused, 13));
        tally.record(seconds(20.0), seconds(100.0), good(9));

        let figures = tally.figures(77, usage()).unwrap();
        assert_eq!(figures.calls, 4);
        assert!((figures.mean_s - 3.0).abs() < 1e-9);
        assert!((figures.p50_s - 2.0).abs() < 0.01);
        assert!((figures.p99_s - 6.0).abs() < 0.01);
        assert!((figures.failed_pct - 25.0).abs() < 1e-9);
        assert!((figures.good_per_s - 0.3).abs() < 1e-9);
        assert!((figures.retries_per_call - 3.5).abs() < 1e-9);
        assert!((figures.availability_pct - 50.0).abs() < 1e-9);
        assert_eq!(figures.server_requests, 77);
        assert!((figures.slots_taken_pct - 75.0).abs() < 1e-9);
        assert_eq!(tally.ended(), 6);
        assert_eq!(tally.broken(), 0);
    }

    #[test]
    fn an_answer_at_the_deadline_is_in_time() {
        let mut tally = tally();
        tally.record(seconds(15.0), seconds(5.0), CallOutcome::new(Ending::Answered, 1));
        assert!((tally.figures(1, usage()).unwrap().availability_pct - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_window_without_calls_has_no_figures() {
        let mut tally = tally();
        tally.record(seconds(1.0), seconds(1.0), CallOutcome::new(Ending::Answered, 1));
        assert_eq!(tally.figures(5, usage()), None);
    }

    #[test]
    fn a_broken_call_has_failed() {
        let mut tally = tally();
        tally.record(seconds(11.0), seconds(1.0), CallOutcome::new(Ending::Broken, 1));
        assert_eq!(tally.broken(), 1);
        assert!((tally.figures(1, usage()).unwrap().failed_pct - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_latency_beyond_the_histogram_is_kept_at_its_end() {
        let mut tally = tally();
        tally.record(seconds(11.0), Duration::MAX / 4, CallOutcome::new(Ending::Answered, 1));
        assert!((tally.figures(1, usage()).unwrap().p99_s - 3600.0).abs() < 10.0);
    }
}
