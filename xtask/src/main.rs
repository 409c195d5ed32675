//! The gates of this workspace, run by developers and CI alike:
//! `cargo xtask test`, `cargo xtask ci`, `cargo xtask bench`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks to its user"
)]

mod bench;
mod command;
mod features;
mod needs;
mod source;
mod steps;
mod suite;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Runs the tests, the gates and the benchmarks of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Installs what the tests need and is missing, then runs every test.
    Test,
    /// Runs everything CI runs, in order, up to the first failure.
    Ci {
        /// Only these steps; all of them when none is named.
        #[arg(value_name = "STEP", value_enum, conflicts_with = "skip")]
        steps: Vec<steps::Step>,
        /// Every step but these.
        #[arg(long, value_name = "STEP", value_enum)]
        skip: Vec<steps::Step>,
    },
    /// Runs the benchmarks and keeps what they printed.
    Bench {
        /// Only these packages; every package that has benchmarks when none is named.
        #[arg(value_name = "PACKAGE")]
        packages: Vec<String>,
        /// What to pass on to the benchmarks.
        #[arg(last = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    match task {
        Task::Test => suite::run(&workspace),
        Task::Ci { steps, skip } => steps::run(&workspace, &steps::chosen(steps, skip)),
        Task::Bench { packages, arguments } => bench::run(&workspace, packages, arguments),
    }
}
