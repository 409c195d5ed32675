//! What a decision costs: the whole layer around a service that answers at once, governor raw, and
//! tower's `RateLimit` in a `Buffer`, in the same run.
//!
//! `cargo bench -p buttress-limit --bench quotas`; `-- --quick` for a tenth of the rounds. It fails
//! if a bar is missed: the fastest round is what is judged, since a shared machine only ever adds.

mod layers;
mod memory;
mod raw;
mod service;
mod waits;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use buttress_testkit::bench::Summary;

fn main() -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut met = true;
    met &= raw::run()?;
    for count in [1, 100_000] {
        met &= layers::admissions(count)?;
        met &= layers::denials(count)?;
    }
    layers::buffered(&runtime)?;
    met &= waits::run()?;
    met &= memory::run()?;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How much longer the fastest round of a case took than that of another.
pub(crate) fn over(summary: &Summary, case: &str, base: &str) -> Option<f64> {
    summary.is_timed().then_some(())?;
    Some(summary.case(case)?.min() - summary.case(base)?.min())
}

/// Says whether a figure is within its bar.
pub(crate) fn judge(what: &str, figure: Option<f64>, most: f64, unit: &str) -> io::Result<bool> {
    let Some(figure) = figure else { return Ok(true) };
    let met = figure <= most;
    let verdict = if met { "met   " } else { "MISSED" };
    writeln!(io::stdout().lock(), "  {verdict}  {what}: {figure:.1} of {most:.1} {unit}")?;
    Ok(met)
}
