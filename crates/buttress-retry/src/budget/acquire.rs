use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep_until};

use super::{Budget, Reservation, queue::Turn, terms::Claim};
use crate::QueueFull;

/// Waits for a retry's tokens; made by [`Budget::wait`](super::Budget::wait).
///
/// Resolves to a [`Reservation`], or at once to [`QueueFull`] when the line is as long as it may be.
/// The place in the line is drawn by the first poll. Dropping it at any time gives the place up and
/// lets the next one through; no token is lost.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire {
    budget: Budget,
    claim: Claim,
    ticket: Option<u64>,
    // Only the head of the line ever has a timer, and only if time alone brings tokens.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Acquire {
    pub(super) fn new(budget: Budget, claim: Claim) -> Self {
        Self { budget, claim, ticket: None, timer: None }
    }

    fn poll_timer(&mut self, tick: Option<u64>, cx: &mut Context<'_>) -> Poll<()> {
        // A tick that no `Instant` reaches is as good as none.
        let Some(when) = tick.and_then(|tick| self.budget.instant(tick)) else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(when)));
        if timer.deadline() != when {
            timer.as_mut().reset(when);
        }
        timer.as_mut().poll(cx)
    }
}

impl Future for Acquire {
    type Output = Result<Reservation, QueueFull>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let claim = this.claim;
        if claim.need == 0 {
            return Poll::Ready(Ok(this.budget.reserved(claim)));
        }
        loop {
            let queue = this.budget.queue();
            match queue.poll(&mut this.ticket, claim, this.budget.tick(), cx.waker()) {
                // Queued => Granted
                Turn::Granted => return Poll::Ready(Ok(this.budget.reserved(claim))),
                // New => Refused
                Turn::Full => return Poll::Ready(Err(QueueFull)),
                // New => Queued | Queued => Queued
                Turn::Later(tick) => match this.poll_timer(tick, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) => {}
                },
            }
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.budget.queue().leave(ticket);
        }
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("budget", &self.budget)
            .field("queued", &self.ticket.is_some())
            .finish_non_exhaustive()
    }
}
