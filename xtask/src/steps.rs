//! `cargo xtask ci`: the gates, in the order in which CI runs them.

use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::command::{cargo, program, run as run_command};
use crate::workspace::Workspace;
use crate::{features, suite, tidy};

/// One gate. Cheap ones come first; the tests come last, so that their closing lines do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// The formatting is rustfmt's.
    Fmt,
    /// The house rules that no compiler knows.
    Tidy,
    /// Clippy has no complaint, in tests, benchmarks and examples too.
    Clippy,
    /// The documentation builds without a warning.
    Doc,
    /// Each published crate compiles by itself in every feature combination.
    Features,
    /// The workspaces of the benchmarks beside other projects and of the fuzz targets compile, and
    /// clippy has no complaint there either.
    Apart,
    /// Licences, sources and duplicates are as deny.toml has them.
    Deny,
    /// All tests pass, the exhaustive ones too: `cargo xtask test`.
    Test,
}

/// How a gate ended, if it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Skipped(&'static str),
}

/// The steps that the command line asks for, in the order of the gates.
pub(crate) fn chosen(only: &[Step], skip: &[Step]) -> Vec<Step> {
    Step::value_variants()
        .iter()
        .filter(|step| only.is_empty() || only.contains(step))
        .filter(|step| !skip.contains(step))
        .copied()
        .collect()
}

/// Runs the steps up to the first that fails, and prints how long each one took.
pub(crate) fn run(workspace: &Workspace, steps: &[Step]) -> anyhow::Result<()> {
    let mut summary = Vec::new();
    let mut failure = None;
    for &step in steps {
        println!("\n== {}", step.name());
        let started = now();
        let outcome = step.run(workspace);
        let (word, reason) = match &outcome {
            Ok(Outcome::Passed) => ("passed", ""),
            Ok(Outcome::Skipped(reason)) => ("skipped", *reason),
            Err(_) => ("FAILED", ""),
        };
        summary.push(format!(
            "{:<9} {word:<7} {:>9} {reason}",
            step.name(),
            shown(now() - started)
        ));
        if let Err(error) = outcome {
            let name = step.name();
            let alone = format!("step `{name}` failed (alone: `cargo xtask ci {name}`)");
            failure = Some(error.context(alone));
            break;
        }
    }
    println!("\n== summary");
    for line in summary {
        println!("{}", line.trim_end());
    }
    failure.map_or(Ok(()), Err)
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn run(self, workspace: &Workspace) -> anyhow::Result<Outcome> {
        let cargo = || cargo(workspace);
        match self {
            Self::Fmt => run_command(cargo().args(["fmt", "--all", "--check"]))?,
            Self::Tidy => tidy::check(workspace)?,
            Self::Clippy => run_command(
                cargo()
                    .args(["clippy", "--workspace", "--all-targets", "--all-features"])
                    .args(["--", "-D", "warnings"]),
            )?,
            Self::Doc => run_command(
                cargo()
                    .args(["doc", "--workspace", "--no-deps", "--all-features"])
                    .env("RUSTDOCFLAGS", "-D warnings"),
            )?,
            Self::Features => features::check(workspace)?,
            Self::Apart => return apart(workspace),
            Self::Deny => return deny(workspace),
            Self::Test => suite::run(workspace)?,
        }
        Ok(Outcome::Passed)
    }
}

fn apart(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let clippy = |apart: Option<Workspace>| -> anyhow::Result<()> {
        let Some(apart) = apart else { return Ok(()) };
        run_command(
            cargo(&apart)
                .args(["clippy", "--locked", "--workspace", "--all-targets"])
                .args(["--", "-D", "warnings"]),
        )
    };
    clippy(workspace.peers()?)?;
    if program("c++").is_none() {
        let reason = "the fuzz targets need a C++ compiler, for libFuzzer";
        println!("skipped: {reason}");
        return Ok(Outcome::Skipped(reason));
    }
    clippy(workspace.fuzz()?)?;
    Ok(Outcome::Passed)
}

/// Advisories are left out: they need a database from the network, and a new one must not turn
/// yesterday's green commit red. `cargo deny check advisories` is for the day of a release.
fn deny(workspace: &Workspace) -> anyhow::Result<Outcome> {
    if program("cargo-deny").is_none() {
        let reason = "cargo-deny is not installed: cargo install --locked cargo-deny";
        println!("skipped: {reason}");
        return Ok(Outcome::Skipped(reason));
    }
    run_command(
        cargo(workspace)
            .args(["deny", "check", "--hide-inclusion-graph"])
            .args(["bans", "licenses", "sources"]),
    )?;
    Ok(Outcome::Passed)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a step takes is a matter of the wall clock"
)]
fn now() -> Instant {
    Instant::now()
}

fn shown(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} m {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_steps_run_unless_some_are_named() {
        assert_eq!(chosen(&[], &[]), Step::value_variants());
        let named = [Step::Test, Step::Fmt];
        assert_eq!(chosen(&named, &[]), [Step::Fmt, Step::Test]);
    }

    #[test]
    fn a_skipped_step_does_not_run() {
        let steps = chosen(&[], &[Step::Test]);
        assert_eq!(steps.len() + 1, Step::value_variants().len());
        assert!(!steps.contains(&Step::Test));
    }

    #[test]
    fn long_times_are_shown_in_minutes() {
        assert_eq!(shown(Duration::from_millis(1_240)), "1.2 s");
        assert_eq!(shown(Duration::from_secs(184)), "3 m 04 s");
    }
}
