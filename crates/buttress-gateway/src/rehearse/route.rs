//! The seam between the callers and the client that carries their calls.

use std::future::Future;

use bytes::Bytes;

/// A way to get chat calls to the busy API.
pub trait Route: Send + Sync + 'static {
    /// Sends one call, a JSON body for `POST /v1/chat/completions`, and sees it through: the answer
    /// has been read whole, or the client has given up.
    fn chat(&self, body: Bytes) -> impl Future<Output = CallOutcome> + Send;
}

/// How one call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallOutcome {
    /// Why it ended.
    pub ending: Ending,
    /// HTTP attempts that the client made for it, the first included.
    pub attempts: u32,
}

impl CallOutcome {
    /// A call that ended this way after this many attempts.
    #[must_use]
    pub fn new(ending: Ending, attempts: u32) -> Self {
        Self { ending, attempts }
    }
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// A whole answer with status 200.
    Answered,
    /// Another status, or the client's own refusal.
    Refused,
    /// A failure below HTTP: name, connection, or an answer that broke off. On loopback this means
    /// that the machine, not the API, ran out of something.
    Broken,
}
