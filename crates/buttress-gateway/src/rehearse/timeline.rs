//! Latency over time, in a bounded number of intervals.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::parameters::Schedule;

/// At most this many intervals, however long the run: enough for a line across a screen.
const MOST_INTERVALS: u32 = 150;

/// The longest latency that the timeline tells apart: ten minutes, in milliseconds.
const LONGEST_MILLIS: u64 = 600_000;

/// Percentiles of latency for each interval of a run.
#[derive(Debug)]
pub struct Timeline {
    interval: Duration,
    intervals: Vec<Histogram<u64>>,
}

/// One interval of a [`Timeline`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Point {
    /// Middle of the interval, in seconds from the start of the run.
    pub at_s: f64,
    /// Median latency of the calls that ended in it, in seconds.
    pub p50_s: f64,
    /// 99th percentile of the same, in seconds.
    pub p99_s: f64,
}

impl Timeline {
    /// Makes an empty one for a run with these times: intervals of a second, or longer ones for a
    /// long run.
    #[must_use]
    pub fn new(schedule: &Schedule) -> Self {
        let total = schedule.total();
        let interval = Duration::from_secs(1).max(total / MOST_INTERVALS);
        let count = total.as_nanos().div_ceil(interval.as_nanos());
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let intervals = (0..count).map(|_| Self::histogram(LONGEST_MILLIS, 2)).collect();
        Self { interval, intervals }
    }

    /// A histogram from 1 to `longest`, both in the same unit.
    pub(super) fn histogram(longest: u64, digits: u8) -> Histogram<u64> {
        #[expect(clippy::expect_used, reason = "constants: longest >= 2 and digits <= 5")]
        Histogram::new_with_bounds(1, longest, digits).expect("valid bounds")
    }

    /// Counts a call that ended `at` this long after the start; later than the end is left out.
    pub fn record(&mut self, at: Duration, latency: Duration) {
        let index = at.as_nanos() / self.interval.as_nanos();
        let slot = usize::try_from(index).ok().and_then(|index| self.intervals.get_mut(index));
        if let Some(histogram) = slot {
            histogram.saturating_record(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// The intervals in which calls ended, in order.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        let width = self.interval.as_secs_f64();
        let middles = std::iter::successors(Some(width / 2.0), move |middle| Some(middle + width));
        let seconds = |histogram: &Histogram<u64>, percentile| {
            Duration::from_millis(histogram.value_at_percentile(percentile)).as_secs_f64()
        };
        middles.zip(&self.intervals).filter(|(_, histogram)| !histogram.is_empty()).map(
            move |(at_s, histogram)| Point {
                at_s,
                p50_s: seconds(histogram, 50.0),
                p99_s: seconds(histogram, 99.0),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(warm_up: u64, measured: u64) -> Schedule {
        Schedule {
            warm_up: Duration::from_secs(warm_up),
            measured: Duration::from_secs(measured),
            ..Schedule::default()
        }
    }

    #[test]
    fn calls_fall_into_the_second_in_which_they_end() {
        let mut timeline = Timeline::new(&schedule(1, 2));
        timeline.record(Duration::from_millis(999), Duration::from_millis(100));
        timeline.record(Duration::from_millis(2_000), Duration::from_millis(200));
        timeline.record(Duration::from_millis(2_999), Duration::from_millis(400));
        timeline.record(Duration::from_millis(3_000), Duration::from_millis(900));
        let points: Vec<Point> = timeline.points().collect();
        assert_eq!(points.len(), 2);
        assert!((points[0].at_s - 0.5).abs() < 1e-9 && (points[0].p50_s - 0.1).abs() < 0.002);
        assert!((points[1].at_s - 2.5).abs() < 1e-9 && (points[1].p99_s - 0.4).abs() < 0.005);
    }

    #[test]
    fn a_long_run_has_no_more_intervals_than_a_screen_shows() {
        let timeline = Timeline::new(&schedule(600, 3_600));
        assert!(timeline.intervals.len() <= 150);
        assert_eq!(Timeline::new(&schedule(15, 30)).intervals.len(), 45);
    }
}
