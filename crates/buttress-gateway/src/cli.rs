//! The command line, from arguments to exit code.

use std::{error::Error, ffi::OsString, fmt, io};

use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use tokio::runtime::{self, Runtime};

use crate::{doctor, log::Logging, rehearse, serve};

/// Keeps HTTP calls standing when the other side stalls.
#[derive(Parser, Clone, Debug)]
#[command(name = "buttress", version, about, max_term_width = 100)]
#[non_exhaustive]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    logging: Logging,
}

/// What the program does.
#[derive(Subcommand, Clone, Debug)]
#[expect(missing_docs, reason = "a doc here would hide the help that the arguments bring")]
#[non_exhaustive]
pub enum Command {
    Serve(Box<serve::Arguments>),
    Rehearse(rehearse::Arguments),
    Doctor(Box<doctor::Arguments>),
}

impl Cli {
    /// Reads the arguments, the program's name first, and the environment.
    ///
    /// # Errors
    ///
    /// If they ask for help or the version, which is a way to [`Stop`] too, or make no sense.
    pub fn read(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, Stop> {
        Self::try_parse_from(arguments).map_err(|error| Stop::of_clap(&error))
    }

    /// Does what was asked, to its end.
    ///
    /// # Errors
    ///
    /// Whatever should end the process with another exit code than 0.
    pub fn run(self) -> Result<(), Stop> {
        let usual = match &self.command {
            Command::Serve(_) => "info",
            Command::Rehearse(_) => "warn",
            // What it says of failures is in its findings.
            Command::Doctor(_) => "off",
        };
        self.logging.begin(usual).map_err(|line| Stop::failed(2, line))?;
        match self.command {
            Command::Serve(arguments) => run_serve(&arguments),
            Command::Rehearse(arguments) => start(None)?
                .block_on(Box::pin(rehearse::run(arguments)))
                .map_err(|error| Stop::failed(error.exit_code(), chain(&error))),
            Command::Doctor(arguments) => run_doctor(*arguments),
        }
    }
}

fn run_doctor(arguments: doctor::Arguments) -> Result<(), Stop> {
    let runtime = start(None)?;
    let examined = runtime.block_on(Box::pin(doctor::run(arguments)));
    // The system's lookup cannot be ended, and nobody waits for it any more.
    runtime.shutdown_background();
    match examined {
        Ok(()) => Ok(()),
        // The verdict was printed.
        Err(error @ doctor::Error::Unwell(_)) => Err(Stop::Silent(error.exit_code())),
        Err(error) => Err(Stop::failed(error.exit_code(), chain(&error))),
    }
}

fn run_serve(arguments: &serve::Arguments) -> Result<(), Stop> {
    let runtime = start(arguments.workers)?;
    let drained = runtime.block_on(Box::pin(serve::run(arguments)));
    // A name lookup may still be at work on a thread of its own; nobody waits for its result.
    runtime.shutdown_background();
    match drained {
        Ok(serve::Drained::Clean) => Ok(()),
        Ok(serve::Drained::TimedOut) => {
            let line = "--drain-timeout: it passed before everything was finished";
            Err(Stop::failed(1, line.to_owned()))
        }
        Ok(serve::Drained::Aborted) => Err(Stop::Silent(130)),
        Err(error) => Err(Stop::failed(error.exit_code(), chain(&error))),
    }
}

/// One worker runs on this thread alone, which spares it all synchronisation.
fn start(workers: Option<usize>) -> Result<Runtime, Stop> {
    let mut builder = match workers {
        Some(1) => runtime::Builder::new_current_thread(),
        _ => runtime::Builder::new_multi_thread(),
    };
    if let Some(workers) = workers.filter(|&workers| workers > 1) {
        builder.worker_threads(workers);
    }
    builder
        .enable_all()
        .build()
        .map_err(|error| Stop::failed(1, format!("cannot start the runtime: {error}")))
}

/// Why the process ends now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// Help or the version was asked for; this is it.
    Shown(String),
    /// Something is wrong: one line, and the exit code.
    Failed {
        /// 2 for a wrong setting, otherwise as the command says.
        code: u8,
        /// What is wrong, on one line.
        line: String,
    },
    /// Somebody who knows asked for it.
    Silent(u8),
}

impl Stop {
    const fn failed(code: u8, line: String) -> Self {
        Self::Failed { code, line }
    }

    /// Clap writes paragraphs: what is wrong, a tip, the usage. Help stays as it is; of an error
    /// the first two go on one line.
    fn of_clap(error: &clap::Error) -> Self {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                return Self::Shown(error.render().to_string());
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                let names: Vec<_> = Cli::command()
                    .get_subcommands()
                    .map(|command| command.get_name().to_owned())
                    .collect();
                return Self::failed(2, format!("no command given: {}", alternatives(&names)));
            }
            _ => {}
        }
        let text = error.render().to_string();
        let mut paragraphs = text.split("\n\n").map(one_line);
        let what = paragraphs.next().unwrap_or_default();
        let what = what.strip_prefix("error: ").unwrap_or(&what);
        let tip = paragraphs.find_map(|text| text.strip_prefix("tip: ").map(str::to_owned));
        Self::failed(2, tip.map_or_else(|| what.to_owned(), |tip| format!("{what} ({tip})")))
    }

    /// What the process should exit with.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Shown(_) => 0,
            Self::Failed { code, .. } | Self::Silent(code) => *code,
        }
    }

    /// Tells the user: help on standard output, an error as one line on standard error.
    ///
    /// # Errors
    ///
    /// If it cannot be written, as into a closed pipe.
    pub fn tell(&self, mut out: impl io::Write, mut err: impl io::Write) -> io::Result<()> {
        match self {
            Self::Shown(text) => write!(out, "{text}"),
            Self::Failed { line, .. } => writeln!(err, "error: {line}"),
            Self::Silent(_) => Ok(()),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shown(text) => f.write_str(text),
            Self::Failed { line, .. } => f.write_str(line),
            Self::Silent(code) => write!(f, "stopped with code {code}"),
        }
    }
}

impl Error for Stop {}

/// An error and its sources, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    one_line(&text)
}

fn alternatives(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str]) -> String {
        let stop = Cli::read(["buttress"].iter().chain(arguments).copied()).unwrap_err();
        assert_eq!(stop.exit_code(), 2, "{stop}");
        let line = stop.to_string();
        assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
        line
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_flag_is_named_on_one_line() {
        const UP: [&str; 3] = ["serve", "--upstream", "http://h"];
        let with = |flag: &str, value: &str| line(&[&UP[..], &[flag, value]].concat());
        assert!(line(&[]).contains("serve, rehearse or doctor"));
        assert!(line(&["serve"]).contains("--upstream"));
        assert!(line(&["serve", "--upstrem", "http://h"]).contains("'--upstrem'"));
        assert!(line(&["serve", "--upstrem", "x"]).contains("similar argument exists"));
        assert!(line(&["serve", "--upstream", "ftp://h"]).contains("--upstream"));
        assert!(with("--attempts", "0").contains("--attempts"));
        assert!(with("--retry-budget", "NaN").contains("--retry-budget"));
        assert!(with("--policy", "none").contains("--policy"));
        assert!(with("--connect-timeout", "0s").contains("--connect-timeout"));
        assert!(with("--listen", "8080").contains("--listen"));
        assert!(with("--max-body-replay", "a\nb").contains("--max-body-replay"));
    }

    #[test]
    fn help_is_shown_whole() {
        let stop = Cli::read(["buttress", "serve", "--help"]).unwrap_err();
        assert_eq!(stop.exit_code(), 0);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        stop.tell(&mut out, &mut err).unwrap();
        assert!(String::from_utf8(out).unwrap().lines().count() > 20);
        assert!(err.is_empty());
    }
}
