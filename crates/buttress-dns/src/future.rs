//! A lookup under way.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{Addrs, DnsError};

/// A lookup. It is ready at once if the answer is known, without an allocation.
///
/// Dropping it ends the wait, not the question: the answer still comes to the cache.
#[must_use = "a lookup does nothing unless it is polled"]
pub struct Lookup(State);

enum State {
    Ready(Option<Result<Addrs, DnsError>>),
    Waiting(Pin<Box<dyn Future<Output = Result<Addrs, DnsError>> + Send>>),
}

impl Lookup {
    pub(crate) const fn ready(result: Result<Addrs, DnsError>) -> Self {
        Self(State::Ready(Some(result)))
    }

    pub(crate) fn waiting(
        wait: impl Future<Output = Result<Addrs, DnsError>> + Send + 'static,
    ) -> Self {
        Self(State::Waiting(Box::pin(wait)))
    }
}

impl Future for Lookup {
    type Output = Result<Addrs, DnsError>;

    /// # Panics
    ///
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            // Ready => done
            State::Ready(result) => match result.take() {
                Some(result) => Poll::Ready(result),
                None => panic!("a lookup was polled after it was ready"),
            },
            // Waiting => done
            State::Waiting(wait) => wait.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            State::Waiting(_) => f.write_str("Waiting"),
        }
    }
}
