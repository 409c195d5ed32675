//! How long something took, several times over.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Kept to a microsecond and three digits, up to ten minutes.
const LONGEST_MICROS: u64 = 600_000_000;
const DIGITS: u8 = 3;

/// How often something was tried, and how long it took when it worked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Times {
    /// How often it was tried.
    pub tries: u64,
    /// How often it did not work.
    pub failed: u64,
    /// Milliseconds of those that worked, if any did.
    #[serde(flatten)]
    pub took: Option<Took>,
}

/// Percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Took {
    /// The shortest.
    pub min_ms: f64,
    /// Half took no longer.
    pub p50_ms: f64,
    /// Nine in ten took no longer.
    pub p90_ms: f64,
    /// 99 in a hundred took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// Collects times.
#[derive(Debug, Default)]
pub(super) struct Series {
    took: Vec<Duration>,
    failed: u64,
}

impl Series {
    pub(super) fn took(&mut self, duration: Duration) {
        self.took.push(duration);
    }

    pub(super) const fn failed(&mut self) {
        self.failed += 1;
    }

    pub(super) fn worked(&self) -> bool {
        !self.took.is_empty()
    }

    pub(super) fn times(&self) -> Times {
        let count = u64::try_from(self.took.len()).unwrap_or(u64::MAX);
        Times { tries: count + self.failed, failed: self.failed, took: self.percentiles() }
    }

    fn percentiles(&self) -> Option<Took> {
        if self.took.is_empty() {
            return None;
        }
        // The bounds are constants that the library takes.
        let mut histogram = Histogram::<u64>::new_with_max(LONGEST_MICROS, DIGITS).ok()?;
        for duration in &self.took {
            let micros = u64::try_from(duration.as_micros()).unwrap_or(LONGEST_MICROS);
            histogram.saturating_record(micros);
        }
        let ms = |micros: u64| f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1_000.0;
        Some(Took {
            min_ms: ms(histogram.min()),
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p90_ms: ms(histogram.value_at_quantile(0.9)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            max_ms: ms(histogram.max()),
        })
    }
}

impl Times {
    /// Whether it ever worked.
    #[must_use]
    pub const fn worked(&self) -> bool {
        self.took.is_some()
    }

    /// The usual time in milliseconds, if it ever worked.
    #[must_use]
    pub fn p50_ms(&self) -> Option<f64> {
        self.took.map(|took| took.p50_ms)
    }

    /// For tests and tables: so many that took this long each, and so many that failed.
    #[cfg(test)]
    pub(super) fn of(worked: u64, ms: f64, failed: u64) -> Self {
        let took = Took { min_ms: ms, p50_ms: ms, p90_ms: ms, p99_ms: ms, max_ms: ms };
        Self { tries: worked + failed, failed, took: (worked > 0).then_some(took) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_those_that_worked() {
        let mut series = Series::default();
        for ms in [10, 20, 30, 40] {
            series.took(Duration::from_millis(ms));
        }
        series.failed();
        let times = series.times();
        assert_eq!((times.tries, times.failed), (5, 1));
        let took = times.took.unwrap();
        assert!((took.min_ms - 10.0).abs() < 0.05 && (took.p50_ms - 20.0).abs() < 0.05, "{took:?}");
        assert!((took.p99_ms - 40.0).abs() < 0.05 && (took.max_ms - 40.0).abs() < 0.05, "{took:?}");
    }

    #[test]
    fn of_nothing_there_are_no_percentiles() {
        let mut series = Series::default();
        assert_eq!(series.times(), Times::default());
        series.failed();
        assert!(!series.times().worked());
        assert_eq!(series.times().failed, 1);
    }

    #[test]
    fn a_time_beyond_all_bounds_is_the_longest() {
        let mut series = Series::default();
        series.took(Duration::from_secs(1_000_000));
        assert!(series.times().took.unwrap().max_ms >= 599_000.0);
    }
}
