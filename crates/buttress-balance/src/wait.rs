//! A call that waits in line for an endpoint.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Sleep, sleep_until},
};

use crate::{Ask, BalanceError, Lease, Moment, Pick, Unavailable, balancer::Core, queue::Ticket};

/// How many calls may wait, and how long each may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    pub(crate) most: usize,
    pub(crate) timeout: Duration,
}

/// A place in line; dropping it lets the next one look.
#[derive(Debug)]
pub(crate) struct Wait<P: Pick> {
    core: Arc<Core<P>>,
    ticket: Ticket,
    until: Moment,
    timeout: Duration,
    /// Boxed: few calls wait.
    sleep: Pin<Box<Sleep>>,
}

impl<P: Pick> Wait<P> {
    /// Joins the line for a call that began at `started`; `None` if it is full.
    pub(crate) fn join(core: &Arc<Core<P>>, queue: Queue, started: Moment) -> Option<Self> {
        // A set that does not change needs no runtime, and without one there is no timer to wait by.
        if queue.timeout.is_zero() || Handle::try_current().is_err() {
            return None;
        }
        let ticket = core.set().pulse().line.join(queue.most, started.as_micros())?;
        let until = started.after(queue.timeout);
        let sleep = Box::pin(sleep_until(core.set().instant(until)));
        Some(Self { core: Arc::clone(core), ticket, until, timeout: queue.timeout, sleep })
    }

    pub(crate) fn poll(
        &mut self,
        ask: &Ask<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Lease, BalanceError>> {
        loop {
            let pulse = self.core.set().pulse();
            let turn = pulse.line.poll(self.ticket, cx.waker());
            let now = self.core.set().now();
            let late = now >= self.until;
            let reason = if turn || late {
                match self.core.lease(ask, now) {
                    Ok(lease) => return Poll::Ready(Ok(lease)),
                    Err(reason) => reason,
                }
            } else {
                Unavailable::Full
            };
            if late {
                // What is held is the least bad that there is.
                let held = matches!(reason, Unavailable::Held(_));
                let insistent = held.then(|| self.core.lease(&ask.insistent(), now).ok()).flatten();
                let refused = || BalanceError::unavailable(reason, Some(self.timeout));
                return Poll::Ready(insistent.ok_or_else(refused));
            }
            if matches!(reason, Unavailable::Ejected | Unavailable::Tried) {
                return Poll::Ready(Err(BalanceError::unavailable(reason, None)));
            }
            // What is free, or will be before its time has come, is for those behind.
            let for_others = || ask.back.is_some() || self.core.table.load().has_room();
            // So is an ejected endpoint that this call may not try.
            let is_due = turn && pulse.is_due(now);
            if is_due || (turn && ask.tried.is_some() && for_others()) {
                pulse.line.pass(self.ticket);
            }
            let due = match reason {
                // Whoever looks after the set may just be about to make the appointment.
                Unavailable::Held(until) => Some(until),
                _ if is_due => Some(now.after(LOOK)),
                _ if turn => pulse.next_due(),
                _ => None,
            };
            let wake = due.map_or(self.until, |due| due.max(now.after(MILLI)).min(self.until));
            self.sleep.as_mut().reset(self.core.set().instant(wake));
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// tokio's timer counts in milliseconds.
const MILLI: Duration = Duration::from_millis(1);

/// When a call looks again after what it has left to those behind it.
const LOOK: Duration = Duration::from_millis(50);

impl<P: Pick> Drop for Wait<P> {
    fn drop(&mut self) {
        self.core.set().pulse().line.leave(self.ticket);
    }
}
