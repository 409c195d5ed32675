//! How well calls are spread while servers are slow or fail: a simulation in virtual time, from seeds.
//!
//! `cargo bench -p buttress-balance --bench quality`; `-- --quick` for fewer seeds and seconds, and
//! the names of scenarios (`faults`, `uniform`, `small`, `recovery`, `nginx`) for these alone. The
//! balancers are the real ones, ours and tower's, with the clock moved under them. Errors are 503s
//! and calls for which there was no server; latencies are those of good answers. It fails if a bar
//! is missed.
//!
//! nginx's column is this crate's `nginx_exact`, whose likeness to nginx is tested elsewhere.

mod report;
mod rows;
mod scenarios;
mod simulation;
mod tower;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use self::report::Report;

type Scenario = fn(&mut Report) -> io::Result<()>;

const SCENARIOS: [(&str, Scenario); 5] = [
    ("faults", scenarios::faults),
    ("uniform", scenarios::uniform),
    ("small", scenarios::small),
    ("recovery", scenarios::recovery),
    ("nginx", scenarios::nginx),
];

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    // Without cargo's `--bench` it is a test run that only sees whether it works.
    let (seeds, seconds, judged) = match (has("--bench") && !has("--test"), has("--quick")) {
        (true, false) => (5, 120, true),
        (true, true) => (2, 60, true),
        (false, _) => (1, 1, false),
    };
    let all = !SCENARIOS.iter().any(|(name, _)| has(name));
    let mut report = Report::new(seeds, seconds, judged);
    writeln!(io::stdout(), "{seeds} seeds, {seconds} s each, from the moment that faults begin")?;
    for (name, scenario) in SCENARIOS {
        if all || has(name) {
            scenario(&mut report)?;
        }
    }
    Ok(if report.finish()? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
