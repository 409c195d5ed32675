//! What can go wrong with a budget.

use std::{error::Error, fmt};

/// As many callers as a budget allows already wait for its next token.
///
/// [`Acquire`](crate::Acquire) resolves to this at once; the caller never joined the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueFull;

impl fmt::Display for QueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many callers wait for the retry budget already")
    }
}

impl Error for QueueFull {}
