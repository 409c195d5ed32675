use std::io::{self, Write};

/// What was measured of one case.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    name: String,
    min: f64,
    median: f64,
    ratio: Option<f64>,
    allocations: f64,
    bytes: f64,
}

/// What was measured of all cases, in the order in which they were added.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    cases: Vec<Measured>,
    timed: bool,
}

impl Measured {
    /// Works out the figures from the nanoseconds per call of each round, and the baseline's.
    pub(super) fn new(
        name: String,
        rounds: &[f64],
        baseline: Option<&[f64]>,
        (allocations, bytes): (f64, f64),
    ) -> Self {
        // A ratio of neighbours in time, for a round that was slow for one was slow for both.
        let ratio = baseline
            .map(|base| median(rounds.iter().zip(base).map(|(own, base)| own / base).collect()));
        let min = rounds.iter().copied().fold(f64::INFINITY, f64::min);
        Self { name, min, median: median(rounds.to_vec()), ratio, allocations, bytes }
    }

    /// Returns the name of the case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the nanoseconds per call of the fastest round.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.min
    }

    /// Returns the nanoseconds per call of the middle round.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.median
    }

    /// Returns how many times the baseline's time this case took: the middle one of the ratios of the
    /// rounds. `None` without a baseline.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        self.ratio
    }

    /// Returns the allocations per call.
    #[must_use]
    pub fn allocations(&self) -> f64 {
        self.allocations
    }

    /// Returns the bytes allocated per call.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        self.bytes
    }
}

impl Summary {
    pub(super) fn new(cases: Vec<Measured>, timed: bool) -> Self {
        Self { cases, timed }
    }

    /// Returns the cases that were run.
    #[must_use]
    pub fn cases(&self) -> &[Measured] {
        &self.cases
    }

    /// Returns the case of that name, if it was run.
    #[must_use]
    pub fn case(&self, name: &str) -> Option<&Measured> {
        self.cases.iter().find(|case| case.name == name)
    }

    /// Returns whether the times are of enough calls to mean something, which those of a smoke run
    /// are not. Allocations are counted in both.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.timed
    }

    pub(super) fn print(&self, title: &str, out: &mut dyn Write) -> io::Result<()> {
        let longest = self.cases.iter().map(|case| case.name.chars().count()).max();
        let width = longest.unwrap_or(0).max(title.chars().count());
        writeln!(
            out,
            "{title:width$}  {:>12}  {:>12}  {:>8}  {:>12}  {:>12}",
            "min ns/call", "p50 ns/call", "ratio", "allocs/call", "bytes/call"
        )?;
        for case in &self.cases {
            let ratio = case.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
            writeln!(
                out,
                "{:width$}  {:>12.1}  {:>12.1}  {ratio:>8}  {:>12.2}  {:>12.1}",
                case.name, case.min, case.median, case.allocations, case.bytes
            )?;
        }
        if !self.timed {
            writeln!(out, "one call each, to see that the cases work: the times mean nothing")?;
        }
        out.flush()
    }
}

/// The middle value, or the mean of the two in the middle. Not a number when there is none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle.wrapping_sub(1)), values.get(middle)) {
        (Some(low), Some(high)) if values.len().is_multiple_of(2) => f64::midpoint(*low, *high),
        (_, Some(middle)) => *middle,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::{Measured, Summary, median};

    #[test]
    fn the_median_is_the_middle_value_or_the_mean_of_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![5.0]), 5.0);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn a_round_that_was_slow_for_both_does_not_move_the_ratio() {
        let case =
            Measured::new("x".into(), &[20.0, 200.0, 22.0], Some(&[10.0, 100.0, 11.0]), (0.0, 0.0));
        assert_eq!(case.ratio(), Some(2.0));
        assert_eq!(case.min(), 20.0);
        assert_eq!(case.median(), 22.0);
    }

    #[test]
    fn the_table_has_one_line_a_case_and_a_dash_without_a_baseline() {
        let with = Measured::new("with".into(), &[5.0], Some(&[4.0]), (1.0, 24.0));
        let without = Measured::new("without".into(), &[5.0], None, (0.0, 0.0));
        let mut out = Vec::new();
        Summary::new(vec![with, without], true).print("title", &mut out).unwrap();
        let table = String::from_utf8(out).unwrap();
        let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let lines: Vec<_> = table.lines().map(cells).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1], ["with", "5.0", "5.0", "1.250", "1.00", "24.0"]);
        assert_eq!(lines[2], ["without", "5.0", "5.0", "-", "0.00", "0.0"]);
    }
}
