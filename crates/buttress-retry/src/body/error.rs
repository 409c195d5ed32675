use std::{error::Error, fmt, sync::Arc};

use buttress_core::BoxError;

/// The error of a body whose request was sent again: a later attempt reads the source now.
///
/// Only the connection that still held the earlier attempt sees it, and it should give up the upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Superseded;

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a later attempt took over the request body")
    }
}

impl Error for Superseded {}

/// The error of a request body that failed while it was read: the fault is the sender's.
///
/// What went wrong is its [`source`](Error::source). It is remembered: whoever reads the body
/// afterwards gets the same error, so a body cut short is never taken for a whole one.
#[derive(Clone, Debug)]
pub struct SourceFailed {
    source: Arc<dyn Error + Send + Sync>,
}

impl SourceFailed {
    pub(super) fn new(source: BoxError) -> Self {
        Self { source: Arc::from(source) }
    }
}

impl fmt::Display for SourceFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body failed")
    }
}

impl Error for SourceFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// Why a request body cannot be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotReplayable {
    /// The body is longer than the cap for one request.
    Overflowed,
    /// All replay bodies together hold as much as they may.
    MemoryExhausted,
    /// The body itself failed, so nobody has the whole of it.
    SourceFailed,
}

impl fmt::Display for NotReplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overflowed => "the request body is longer than what is kept of it",
            Self::MemoryExhausted => "the memory for request bodies is used up",
            Self::SourceFailed => "the request body failed before its end",
        })
    }
}

impl Error for NotReplayable {}

/// The error of a response whose body failed before it had said anything.
///
/// The caller has seen nothing of that response, so another attempt is as safe as after a status that
/// says so. What went wrong is its [`source`](Error::source).
#[derive(Debug)]
pub struct BeforeFirstFrame {
    source: BoxError,
}

impl BeforeFirstFrame {
    pub(super) fn new(source: BoxError) -> Self {
        Self { source }
    }

    /// The error of the body.
    #[must_use]
    pub fn into_source(self) -> BoxError {
        self.source
    }
}

impl fmt::Display for BeforeFirstFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response body failed before its first frame")
    }
}

impl Error for BeforeFirstFrame {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// Stands in for the error of a source that panicked while it was polled.
#[derive(Debug)]
pub(super) struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body panicked")
    }
}

impl Error for Panicked {}
