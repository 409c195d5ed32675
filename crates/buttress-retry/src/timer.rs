//! The one timer of a call.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Serves every limit and wait of a call, one after the other.
///
/// The sleep is boxed, and made when a wait first needs it: most calls end without one, and their
/// future stays small.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whether the sleep stands for what is waited for now.
    armed: bool,
}

impl Timer {
    /// Resolves at the instant that `until` names when this wait is first polled; never, if it
    /// names none. The next wait begins with [`rest`](Self::rest).
    pub(crate) fn poll_until(
        &mut self,
        cx: &mut Context<'_>,
        until: impl FnOnce() -> Option<Instant>,
    ) -> Poll<()> {
        if !self.armed {
            self.arm(until());
        }
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Ends a wait.
    pub(crate) const fn rest(&mut self) {
        self.armed = false;
    }

    fn arm(&mut self, until: Option<Instant>) {
        self.armed = true;
        match (until, &mut self.sleep) {
            (None, sleep) => *sleep = None,
            (Some(until), Some(sleep)) => sleep.as_mut().reset(until),
            (Some(until), sleep) => *sleep = Some(Box::pin(sleep_until(until))),
        }
    }
}

/// The end of `limit`, counted from now, or `other` if that comes first. What the clock cannot
/// reach never comes.
pub(crate) fn earlier(limit: Option<Duration>, other: Option<Instant>) -> Option<Instant> {
    let end = limit.and_then(|limit| Instant::now().checked_add(limit));
    match (end, other) {
        (Some(end), Some(other)) => Some(end.min(other)),
        (end, other) => end.or(other),
    }
}
