use allocation_counter::{AllocationInfo, measure, opt_out};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Something that can be called many times under a clock or under a count.
pub(super) trait Case {
    /// Returns the time that `calls` calls took together.
    fn time(&mut self, calls: u32) -> Duration;
    /// Returns what `calls` calls allocated together.
    fn count(&mut self, calls: u32) -> AllocationInfo;
}

/// A case without input.
pub(super) struct Plain<F>(pub(super) F);

impl<F: FnMut() -> T, T> Plain<F> {
    fn turn(&mut self, calls: u32) {
        for _ in 0..calls {
            // The closure is the input: what it holds must not be known to the optimizer.
            black_box(black_box(&mut self.0)());
        }
    }
}

impl<F: FnMut() -> T, T> Case for Plain<F> {
    fn time(&mut self, calls: u32) -> Duration {
        clocked(|| self.turn(calls))
    }

    fn count(&mut self, calls: u32) -> AllocationInfo {
        measure(|| self.turn(calls))
    }
}

/// A case with an input for each call, made ahead.
pub(super) struct Prepared<P, F, I> {
    prepare: P,
    run: F,
    inputs: Vec<I>,
}

impl<P: FnMut() -> I, F: FnMut(I) -> T, I, T> Prepared<P, F, I> {
    pub(super) fn new(prepare: P, run: F) -> Self {
        Self { prepare, run, inputs: Vec::new() }
    }

    fn fill(&mut self, calls: u32) {
        self.inputs.extend((0..calls).map(|_| (self.prepare)()));
    }

    fn turn(&mut self) {
        for input in self.inputs.drain(..) {
            black_box((self.run)(black_box(input)));
        }
    }
}

impl<P: FnMut() -> I, F: FnMut(I) -> T, I, T> Case for Prepared<P, F, I> {
    fn time(&mut self, calls: u32) -> Duration {
        self.fill(calls);
        clocked(|| self.turn())
    }

    fn count(&mut self, calls: u32) -> AllocationInfo {
        self.fill(calls);
        measure(|| self.turn())
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the real passing of time")]
fn clocked(work: impl FnOnce()) -> Duration {
    let mut took = Duration::ZERO;
    opt_out(|| {
        let start = Instant::now();
        work();
        took = start.elapsed();
    });
    took
}
