//! Why there is no diagnosis.

use std::{error, fmt, io};

use super::Diagnosis;

/// Why an examination did not end with a clean bill of health.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A setting is wrong; nothing was sent.
    Setting {
        /// The flag or argument, as the user types it.
        flag: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// The machine refused something the examination needs.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It ended, and something is wrong. It was printed already.
    Unwell(Diagnosis),
    /// Ctrl-C.
    Interrupted,
}

impl Error {
    /// What the process should exit with: 2 for a wrong setting, 130 after Ctrl-C, otherwise 1.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Setting { .. } => 2,
            Self::Interrupted => 130,
            Self::Io { .. } | Self::Unwell(_) => 1,
        }
    }

    pub(super) fn setting(flag: &'static str, reason: impl Into<String>) -> Self {
        Self::Setting { flag, reason: reason.into() }
    }

    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { flag, reason } => write!(f, "{flag}: {reason}"),
            Self::Io { doing, .. } => write!(f, "cannot {doing}"),
            Self::Unwell(diagnosis) => write!(f, "not healthy: {diagnosis}"),
            Self::Interrupted => f.write_str("interrupted before the examination was over"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
