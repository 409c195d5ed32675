//! Seeded draws. Every stream of draws has a generator of its own, so the order in which tasks
//! happen to run changes none of them.

use std::{io, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, Exp1, LogNormal};

/// Whose draws they are. Two streams share no draw, whatever the seed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Stream {
    /// What the caller with this number thinks and asks.
    Caller(u64),
    /// How long the endpoint with this number takes for an answer.
    Service(u64),
    /// When the endpoint with this number is busy.
    Busy(u64),
}

/// A reproducible sequence of draws.
#[derive(Debug)]
pub struct Draws {
    generator: StdRng,
}

impl Draws {
    /// Starts `stream` under `seed`.
    #[must_use]
    pub fn new(seed: u64, stream: Stream) -> Self {
        let (kind, number) = match stream {
            Stream::Caller(number) => (1_u64, number),
            Stream::Service(number) => (2, number),
            Stream::Busy(number) => (3, number),
        };
        let mut key = [0; 32];
        for (word, value) in key.chunks_exact_mut(8).zip([seed, kind, number]) {
            word.copy_from_slice(&value.to_le_bytes());
        }
        Self { generator: StdRng::from_seed(key) }
    }

    /// An exponential time with this mean.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        let factor: f64 = Exp1.sample(&mut self.generator);
        mean.mul_f64(factor)
    }

    /// A time from `distribution`, which is in seconds.
    pub fn time(&mut self, distribution: &ServiceTime) -> Duration {
        Duration::try_from_secs_f64(distribution.seconds.sample(&mut self.generator))
            .unwrap_or(Duration::MAX)
    }

    /// True with this probability, which is between 0 and 1.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.generator.random::<f64>() < probability
    }

    /// A whole number below `bound`, or 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.generator.random_range(0..bound.max(1))
    }
}

/// A lognormal time.
#[derive(Clone, Copy, Debug)]
pub struct ServiceTime {
    seconds: LogNormal<f64>,
}

impl ServiceTime {
    /// A lognormal time with this mean, and this standard deviation divided by the mean.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if the mean is zero or `variation` is negative or not finite.
    pub fn new(mean: Duration, variation: f64) -> io::Result<Self> {
        let finite = !mean.is_zero() && variation.is_finite();
        let seconds = LogNormal::from_mean_cv(mean.as_secs_f64(), variation)
            .ok()
            .filter(|_| finite)
            .ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_another_does_not() {
        let draw = |seed| Draws::new(seed, Stream::Caller(7)).exponential(Duration::from_secs(1));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn streams_of_one_seed_differ() {
        let draw = |stream| Draws::new(1, stream).below(u64::MAX);
        assert_ne!(draw(Stream::Caller(1)), draw(Stream::Caller(2)));
        assert_ne!(draw(Stream::Caller(1)), draw(Stream::Service(1)));
    }

    #[test]
    fn means_and_variation_are_as_asked() {
        let mut draws = Draws::new(1, Stream::Service(0));
        let service = ServiceTime::new(Duration::from_millis(300), 0.5).unwrap();
        let times: Vec<f64> = (0..50_000).map(|_| draws.time(&service).as_secs_f64()).collect();
        let mean = times.iter().sum::<f64>() / 50_000.0;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / 50_000.0;
        assert!((mean - 0.3).abs() < 0.005, "{mean}");
        assert!((variance.sqrt() / mean - 0.5).abs() < 0.02, "{variance}");

        let think: f64 =
            (0..50_000).map(|_| draws.exponential(Duration::from_millis(678)).as_secs_f64()).sum();
        assert!((think / 50_000.0 - 0.678).abs() < 0.02, "{think}");
    }

    #[test]
    fn a_share_is_a_share() {
        let mut draws = Draws::new(1, Stream::Caller(0));
        let hits = (0..10_000).filter(|_| draws.happens(0.2)).count();
        assert!((1_850..2_150).contains(&hits), "{hits}");
        assert!(!draws.happens(0.0));
        assert!(draws.happens(1.0));
    }

    #[test]
    fn a_service_time_that_is_none_is_refused() {
        assert!(ServiceTime::new(Duration::ZERO, 0.5).is_err());
        assert!(ServiceTime::new(Duration::from_secs(1), -1.0).is_err());
        assert!(ServiceTime::new(Duration::from_secs(1), f64::NAN).is_err());
    }
}
