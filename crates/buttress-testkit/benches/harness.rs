//! What the harness itself costs, and what it sees: an empty case, an allocation, an input.

use buttress_testkit::Bench;
use buttress_testkit::bench::poll_once;
use std::future::ready;

fn main() -> std::io::Result<()> {
    Bench::new("harness")
        .case("nothing", || 0_u64)
        .case("a future that is ready", || poll_once(ready(0_u64)))
        .case("an allocation", || Box::new(0_u64))
        .case_with("an input", || 0_u64, |input| input + 1)
        .baseline("nothing")
        .run()?;
    Ok(())
}
