//! What a retry layer costs the calls that need no retry: beside the bare service, and beside
//! `tower::retry` without and with its budget.
//!
//! `cargo bench -p buttress-retry`; `-- --quick` for a tenth of the rounds. The ratio in the tables
//! is to `tower::retry` with its budget, where that is among the cases.

mod bodies;
mod calls;
mod inner;
mod parts;
mod peers;

use std::io::{self, Write};

use buttress_testkit::bench::Summary;

const BARE: &str = "bare service";
const OURS: &str = "buttress";
const OURS_FREE: &str = "buttress, no budget";
const TOWER: &str = "tower, no budget";
const TOWER_BUDGET: &str = "tower, TpsBudget";

fn main() -> io::Result<()> {
    // Some timers are made here, though none of them fires.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let _guard = runtime.enter();
    calls::run()?;
    bodies::run()?;
    parts::run()
}

/// Says what the layers add to the bare service.
fn say_overhead(summary: &Summary) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let (Some(bare), true) = (summary.case(BARE), summary.is_timed()) else {
        return writeln!(out);
    };
    let added = summary.cases().iter().filter(|case| case.name() != BARE).map(|case| {
        let time = case.min() - bare.min();
        let allocations = case.allocations() - bare.allocations();
        format!("{} {time:+.1} ns {allocations:+} allocs", case.name())
    });
    writeln!(out, "on top of bare: {}\n", added.collect::<Vec<_>>().join("; "))
}
