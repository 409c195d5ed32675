//! A small benchmark harness: cases take turns, so that a machine that slows down slows all of them.
//!
//! A bench target with `harness = false` has this for its `main`:
//!
//! ```
//! use buttress_testkit::bench::{Bench, poll_once};
//! use std::future::ready;
//!
//! # fn main() -> std::io::Result<()> {
//! let summary = Bench::new("example")
//!     .case("bare", || poll_once(ready(7)))
//!     .case("boxed", || poll_once(Box::pin(ready(7))))
//!     .case_with("summed", || vec![1_u64; 8], |numbers| numbers.iter().sum::<u64>())
//!     .baseline("bare")
//!     .run()?;
//!
//! if let (Some(bare), Some(boxed)) = (summary.case("bare"), summary.case("boxed")) {
//!     assert_eq!(bare.allocations(), 0.0);
//!     assert_eq!(boxed.allocations(), 1.0);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `cargo bench -- NAME --quick` runs the cases whose names contain `NAME` (and the baseline) with a
//! tenth of the rounds. Without cargo's `--bench` argument, or with `--test`, as under `cargo test
//! --benches`, each case is called once, and the times mean nothing.
//!
//! Times include dropping what the case returns. The rounds run in all the places that a stack can have
//! in a line of the cache, so that the fastest one does not depend on where the stack of a process came
//! to lie. Allocations are
//! counted apart from the timing, on the calling thread; while it is timed the counting allocator only
//! asks whether it is to count.

mod arguments;
mod case;
mod depth;
mod summary;

pub use self::summary::{Measured, Summary};

use self::arguments::{Arguments, Mode};
use self::case::{Case, Plain, Prepared};
use self::depth::at_depth;
use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Calls over which allocations are averaged.
const COUNTED_CALLS: u32 = 64;
/// How much `--quick` divides the rounds by.
const QUICK: u32 = 10;

/// Named cases to be run in turn.
pub struct Bench<'a> {
    title: String,
    cases: Vec<(String, Box<dyn Case + 'a>)>,
    baseline: Option<String>,
    rounds: u32,
    calls: u32,
}

impl<'a> Bench<'a> {
    /// Starts a bench without cases; `title` heads its table.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), cases: Vec::new(), baseline: None, rounds: 200, calls: 1000 }
    }

    /// Adds a case that calls `run`.
    #[must_use]
    pub fn case<T>(mut self, name: impl Into<String>, run: impl FnMut() -> T + 'a) -> Self {
        self.cases.push((name.into(), Box::new(Plain(run))));
        self
    }

    /// Adds a case that calls `run` with what `prepare` makes; only `run` is timed and counted.
    ///
    /// The inputs of a whole round are made before the round.
    #[must_use]
    pub fn case_with<I: 'a, T>(
        mut self,
        name: impl Into<String>,
        prepare: impl FnMut() -> I + 'a,
        run: impl FnMut(I) -> T + 'a,
    ) -> Self {
        self.cases.push((name.into(), Box::new(Prepared::new(prepare, run))));
        self
    }

    /// Names the case that the others are compared with; by default there is none.
    #[must_use]
    pub fn baseline(mut self, name: impl Into<String>) -> Self {
        self.baseline = Some(name.into());
        self
    }

    /// Sets the number of rounds, in each of which every case has one turn; the default is 200.
    #[must_use]
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = rounds.max(1);
        self
    }

    /// Sets the number of calls that one turn makes; the default is 1000.
    #[must_use]
    pub fn calls(mut self, calls: u32) -> Self {
        self.calls = calls.max(1);
        self
    }

    /// Runs the cases as the arguments of the process ask, and prints the table to standard output.
    ///
    /// # Errors
    ///
    /// Returns the error of writing the table.
    pub fn run(self) -> io::Result<Summary> {
        self.run_with(std::env::args().skip(1), &mut io::stdout().lock())
    }

    /// Runs the cases as `arguments` ask, and prints the table to `out`.
    ///
    /// # Errors
    ///
    /// Returns the error of writing the table, or `InvalidInput` when the baseline is not a case or
    /// two cases share a name.
    pub fn run_with(
        mut self,
        arguments: impl IntoIterator<Item = String>,
        out: &mut dyn Write,
    ) -> io::Result<Summary> {
        self.check_names()?;
        let arguments = Arguments::parse(arguments);
        self.keep(&arguments);
        let summary = match arguments.mode {
            Mode::List => return self.list(out),
            Mode::Smoke => {
                (self.rounds, self.calls) = (1, 1);
                self.measure(1)
            }
            Mode::Quick => {
                self.rounds = self.rounds.div_ceil(QUICK);
                self.measure(COUNTED_CALLS)
            }
            Mode::Full => self.measure(COUNTED_CALLS),
        };
        let summary = Summary::new(summary, arguments.mode != Mode::Smoke);
        summary.print(&self.title, out)?;
        Ok(summary)
    }

    fn check_names(&self) -> io::Result<()> {
        let invalid = |words: String| Err(io::Error::new(io::ErrorKind::InvalidInput, words));
        for (index, (name, _)) in self.cases.iter().enumerate() {
            if self.cases[..index].iter().any(|(other, _)| other == name) {
                return invalid(format!("two cases are named {name:?}"));
            }
        }
        match &self.baseline {
            Some(name) if !self.cases.iter().any(|(case, _)| case == name) => {
                invalid(format!("the baseline {name:?} is not the name of a case"))
            }
            _ => Ok(()),
        }
    }

    /// Drops the cases that are not asked for; the baseline of one that is stays.
    fn keep(&mut self, arguments: &Arguments) {
        if !self.cases.iter().any(|(name, _)| arguments.matches(name)) {
            self.cases.clear();
        }
        let baseline = self.baseline.as_ref();
        self.cases.retain(|(name, _)| arguments.matches(name) || Some(name) == baseline);
    }

    fn list(&self, out: &mut dyn Write) -> io::Result<Summary> {
        for (name, _) in &self.cases {
            writeln!(out, "{name}: benchmark")?;
        }
        Ok(Summary::default())
    }

    fn measure(&mut self, counted_calls: u32) -> Vec<Measured> {
        // The count is the warm-up as well; a first call that fills a cache is not counted.
        let counts: Vec<_> =
            self.cases.iter_mut().map(|(_, case)| count(case, counted_calls)).collect();
        let times = self.time_in_turn();
        let position = |name: &String| self.cases.iter().position(|(case, _)| case == name);
        let baseline = self.baseline.as_ref().and_then(position).map(|index| &*times[index]);
        let names = self.cases.iter().map(|(name, _)| name.clone());
        let figures = names.zip(&times).zip(counts);
        figures
            .map(|((name, rounds), count)| Measured::new(name, rounds, baseline, count))
            .collect()
    }

    /// Returns the nanoseconds per call of each round, for each case.
    fn time_in_turn(&mut self) -> Vec<Vec<f64>> {
        let mut times = vec![Vec::new(); self.cases.len()];
        for round in 0..self.rounds {
            let indices = 0..self.cases.len();
            // Every other round goes backwards, so that no case always follows the same neighbour.
            let order: Vec<_> =
                if round % 2 == 0 { indices.collect() } else { indices.rev().collect() };
            for index in order {
                let case = &mut self.cases[index].1;
                let time = at_depth(round, &mut || case.time(self.calls));
                times[index].push(time.as_secs_f64() * 1e9 / f64::from(self.calls));
            }
        }
        times
    }
}

impl fmt::Debug for Bench<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.cases.iter().map(|(name, _)| name).collect();
        f.debug_struct("Bench")
            .field("title", &self.title)
            .field("cases", &names)
            .field("baseline", &self.baseline)
            .finish_non_exhaustive()
    }
}

/// Polls a future that must be ready at once, without a runtime.
///
/// # Panics
///
/// Panics when the future is pending.
pub fn poll_once<F: Future>(future: F) -> F::Output {
    let future = pin!(future);
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a future that was to be ready at once is pending"),
    }
}

/// Returns allocations and bytes per call.
fn count(case: &mut Box<dyn Case + '_>, calls: u32) -> (f64, f64) {
    case.time(1);
    let info = case.count(calls);
    let per_call = |total: u64| to_f64(total) / f64::from(calls);
    (per_call(info.count_total), per_call(info.bytes_total))
}

/// Converts a count that is far below two to the 53rd.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below two to the 53rd")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
