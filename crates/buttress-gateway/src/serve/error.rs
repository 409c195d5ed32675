//! Why a gateway does not run.

use std::{error, fmt, io};

/// Why a gateway does not run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A setting is wrong or cannot be met.
    Setting {
        /// The flag, as the user types it.
        flag: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// The system refused something every server needs.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn setting(flag: &'static str, reason: impl Into<String>) -> Self {
        Self::Setting { flag, reason: reason.into() }
    }

    /// For `map_err`: what was being done when the system refused.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    /// What the process should exit with: 2 for a setting, otherwise 1.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Setting { .. } => 2,
            Self::Io { .. } => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { flag, reason } => write!(f, "{flag}: {reason}"),
            Self::Io { doing, .. } => write!(f, "cannot {doing}"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Setting { .. } => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}
