//! Where log lines go: standard error, as text or JSON.

use std::io::{self, IsTerminal as _};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// What is logged, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct Logging {
    /// What to log: a level (`warn` leaves the access log out), or a filter as in `RUST_LOG`
    #[arg(long, value_name = "FILTER", global = true, env = "BUTTRESS_LOG")]
    log: Option<String>,

    /// How to write a log line
    #[arg(long, value_enum, global = true, default_value_t, env = "BUTTRESS_LOG_FORMAT")]
    log_format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

impl Logging {
    /// Begins to log; `usual` is the filter where neither the flag nor `RUST_LOG` is given.
    ///
    /// # Errors
    ///
    /// One line that names the flag or variable whose filter is invalid.
    pub(crate) fn begin(&self, usual: &str) -> Result<(), String> {
        let (setting, filter) = match &self.log {
            Some(filter) => ("--log", filter.clone()),
            None => ("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_default()),
        };
        let filter = if filter.trim().is_empty() { usual } else { &filter };
        let filter = EnvFilter::try_new(filter).map_err(|error| format!("{setting}: {error}"))?;
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        // It would say on standard error that it cannot write there, and panic since it cannot.
        let lines = lines.log_internal_errors(false);
        let begun = match self.log_format {
            Format::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
            Format::Json => lines.json().flatten_event(true).try_init(),
        };
        // Somebody who logs already goes on doing so.
        drop(begun);
        Ok(())
    }
}
