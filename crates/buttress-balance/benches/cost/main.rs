//! What spreading a call costs: the choice alone, the whole layer, and tower's balancer in the same
//! run.
//!
//! `cargo bench -p buttress-balance --bench cost`; `-- --quick` for a tenth of the rounds. It fails
//! if a bar is missed: the fastest round is what is judged, since a shared machine only ever adds.

mod choices;
mod layers;
mod peers;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use buttress_testkit::bench::Summary;

fn main() -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut met = true;
    for endpoints in [3, 10, 16, 100, 1_000] {
        met &= choices::run(endpoints)?;
    }
    choices::clocks()?;
    for endpoints in [3, 10, 1_000] {
        met &= layers::run(endpoints, &runtime)?;
    }
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The most that a case may take: nanoseconds, allocations.
type Bar<'a> = (&'a str, f64, f64);

/// Says which bars were met; whether all were. Those of cases that did not run are passed over.
fn judge(summary: &Summary, bars: &[Bar<'_>]) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let mut all = true;
    for (name, nanos, allocations) in bars {
        let Some(case) = summary.case(name) else { continue };
        let met =
            case.allocations() <= *allocations && (case.min() <= *nanos || !summary.is_timed());
        all &= met;
        let verdict = if met { "met   " } else { "MISSED" };
        let (time, count) = (case.min(), case.allocations());
        writeln!(
            out,
            "  {verdict}  {name}: {time:.1} of {nanos} ns, {count} of {allocations} allocs"
        )?;
    }
    writeln!(out)?;
    Ok(all)
}
