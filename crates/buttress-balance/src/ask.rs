//! What a call asks for, and why it may not get it.

use std::{error::Error, fmt};

use buttress_core::Attempts;

use crate::Moment;

/// What a call asks for.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub(crate) key: Option<u64>,
    pub(crate) tried: Option<&'a Attempts>,
    pub(crate) replayable: bool,
    pub(crate) insistent: bool,
    pub(crate) lenient: bool,
    pub(crate) back: Option<Back>,
}

/// When a call that was refused may go to endpoints that it has tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Back {
    /// To any of them.
    pub(crate) from: Moment,
    /// Whether it is the last try, which needs an endpoint that does well, or that nobody has to leave alone.
    pub(crate) last: bool,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Ask<'a> {
    /// Any endpoint, for a call that can be made again.
    pub const fn new() -> Self {
        Self {
            key: None,
            tried: None,
            replayable: true,
            insistent: false,
            lenient: false,
            back: None,
        }
    }

    /// For a request with this hash key.
    pub const fn key(mut self, key: Option<u64>) -> Self {
        self.key = key;
        self
    }

    /// None of those that were tried already.
    pub const fn tried(mut self, attempts: &'a Attempts) -> Self {
        self.tried = Some(attempts);
        self
    }

    /// One of those that were tried all the same if there is no other.
    pub const fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// One of those that were tried, once its time has come.
    pub(crate) const fn back(mut self, back: Option<Back>) -> Self {
        self.back = back;
        self
    }

    /// Whether the call can be made again if it fails. One that cannot tries an ejected endpoint
    /// only when no other call did for a while. Default: yes.
    pub const fn replayable(mut self, replayable: bool) -> Self {
        self.replayable = replayable;
        self
    }

    /// Takes an endpoint that is held by its server's wish if there is no other.
    pub const fn insistent(mut self) -> Self {
        self.insistent = true;
        self
    }
}

/// Why there is no endpoint for a call.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The set has no endpoint, or none that has a weight.
    Empty,
    /// Every endpoint that is fit has as many calls in flight as it may have.
    Full,
    /// Every endpoint that is fit asked to be left alone; the first one until then.
    Held(Moment),
    /// Every endpoint is out, and that fails calls ([`Panic::FailFast`](crate::Panic::FailFast)).
    Ejected,
    /// Every endpoint that is fit was tried.
    Tried,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "there is no endpoint",
            Self::Full => "every endpoint has as many calls in flight as it may have",
            Self::Held(_) => "every endpoint asked to be left alone",
            Self::Ejected => "every endpoint is ejected",
            Self::Tried => "every endpoint was tried",
        })
    }
}

impl Error for Unavailable {}
