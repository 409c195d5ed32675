//! Tables, and bars that must be met.

use std::io::{self, Write};

use crate::simulation::tally::Tally;

/// How much is simulated, and what was missed.
pub(crate) struct Report {
    pub(crate) seeds: u64,
    pub(crate) seconds: u64,
    /// Whether it is enough to judge by.
    judged: bool,
    bars: Vec<Bar>,
}

struct Bar {
    what: String,
    found: String,
    met: bool,
}

impl Report {
    pub(crate) const fn new(seeds: u64, seconds: u64, judged: bool) -> Self {
        Self { seeds, seconds, judged, bars: Vec::new() }
    }

    /// Notes a bar: `found` is at most, or `at_least`, what it must be.
    pub(crate) fn at_most(&mut self, what: impl Into<String>, found: f64, bound: f64) {
        self.bar(what.into(), format!("{found:.4} of at most {bound:.4}"), found <= bound);
    }

    pub(crate) fn at_least(&mut self, what: impl Into<String>, found: f64, bound: f64) {
        self.bar(what.into(), format!("{found:.4} of at least {bound:.4}"), found >= bound);
    }

    fn bar(&mut self, what: String, found: String, met: bool) {
        self.bars.push(Bar { what, found, met });
    }

    /// Says which bars were met; whether all were.
    pub(crate) fn finish(&self) -> io::Result<bool> {
        let mut out = io::stdout().lock();
        if !self.judged {
            writeln!(out, "\ntoo short to judge by")?;
            return Ok(true);
        }
        writeln!(out, "\nbars")?;
        for Bar { what, found, met } in &self.bars {
            writeln!(out, "  {}  {what}: {found}", if *met { "met   " } else { "MISSED" })?;
        }
        Ok(self.bars.iter().all(|bar| bar.met))
    }
}

/// Heads a table.
pub(crate) fn title(words: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "\n{words}")
}

/// Names the columns of [`line`].
pub(crate) fn head() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "  {:25} {:9} {:>7} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "policy",
        "ejection",
        "clients",
        "errors %",
        "timeouts%",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "slow %",
        "broken %",
        "ejected"
    )
}

/// One row; `slow` and `broken` are the numbers of such servers.
pub(crate) fn line(
    (policy, ejection): (&str, &str),
    clients: usize,
    tally: &Tally,
    (slow, broken): (Option<usize>, Option<usize>),
) -> io::Result<()> {
    let part = |server: Option<usize>| {
        server.map_or_else(|| "-".to_owned(), |server| format!("{:.2}", tally.share(server) * 1e2))
    };
    let millis = |share| format!("{:.1}", tally.millis(share));
    writeln!(
        io::stdout().lock(),
        "  {policy:25} {ejection:9} {clients:>7} {:>9.3} {:>9.3} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8.3}",
        tally.errors() * 1e2,
        tally.timeouts() * 1e2,
        millis(0.5),
        millis(0.99),
        millis(0.999),
        part(slow),
        part(broken),
        tally.mean_ejected(),
    )
}
