//! What the limit on calls under way and the throttle cost, beside tower's `ConcurrencyLimit` and the
//! bare service; and what the throttle does for a server that has too much to do.
//!
//! `cargo bench -p buttress-limit --bench concurrency`; `-- --quick` for a tenth of the rounds.

mod cost;
mod simulation;
mod table;

use std::io;

fn main() -> io::Result<()> {
    cost::limits()?;
    cost::throttles()?;
    table::print()
}
