//! Why a rehearsal did not come to its end.

use std::{error, fmt, io};

/// Why a rehearsal did not come to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A setting is wrong; nothing was run.
    Setting {
        /// The flag, as the user types it.
        flag: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// The machine refused something the run needs.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The plot could not be written; the run itself was completed.
    Plot(String),
    /// No call ended in the measured window of this run.
    NoCalls(&'static str),
    /// The client could not be made.
    Client(Box<dyn error::Error + Send + Sync>),
    /// A caller's task came to an end by itself.
    CallerDied,
    /// Ctrl-C.
    Interrupted,
}

impl Error {
    /// What the process should exit with: 2 for a wrong setting, 130 after Ctrl-C, otherwise 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Setting { .. } => 2,
            Self::Interrupted => 130,
            _ => 1,
        }
    }

    pub(super) fn setting(flag: &'static str, reason: impl Into<String>) -> Self {
        Self::Setting { flag, reason: reason.into() }
    }

    /// For `map_err`: what was being done when the system refused.
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { flag, reason } => write!(f, "{flag}: {reason}"),
            Self::Io { doing, .. } => write!(f, "cannot {doing}"),
            Self::Plot(reason) => write!(f, "--plot: {reason}"),
            Self::NoCalls(run) => write!(
                f,
                "no call of the `{run}` run ended in the measured time; give it a longer --seconds"
            ),
            Self::Client(_) => f.write_str("cannot make the Buttress client"),
            Self::CallerDied => f.write_str("a caller stopped before the run was over"),
            Self::Interrupted => f.write_str("interrupted before all runs were over; no figures"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Client(source) => Some(&**source),
            _ => None,
        }
    }
}
