//! The future of a request that may have to wait in line.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use tokio::time::Sleep;

use crate::{
    clock::nanos,
    limiter::{Ask, Denied, DeniedKind, Ticket, Wait},
    local::Shared,
    store::{Entered, Spot, Turn, Waiting},
};

/// Resolves when a [`Local`](crate::Local) limiter has decided, after a wait in line if it may wait.
///
/// Only the first in line has a timer. Dropped while it waits, it leaves the line, and the next one
/// takes its turn.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire {
    shared: Arc<Shared>,
    ask: Ask,
    wait: Option<Wait>,
    state: State,
}

enum State {
    New,
    Queued(Queued),
    Done,
}

struct Queued {
    waiting: Waiting,
    /// The shared windows in whose line it stands, if not in a line of its own key.
    slot: Option<usize>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Acquire {
    pub(crate) const fn new(shared: Arc<Shared>, ask: Ask, wait: Option<Wait>) -> Self {
        Self { shared, ask, wait, state: State::New }
    }

    /// Whether it stands in line.
    #[must_use]
    pub const fn is_queued(&self) -> bool {
        matches!(self.state, State::Queued(_))
    }

    /// `New => Queued | Done`.
    fn enter(&mut self, waker: &Waker) -> Poll<Result<(), Denied>> {
        let (shared, ask) = (&self.shared, self.ask);
        let spread = shared.spread(ask.key);
        let now = shared.clock.now();
        let Some(wait) = self.wait else {
            return Poll::Ready(shared.shard(spread).decide(&ask, spread, now));
        };
        let deadline = now.saturating_add(nanos(wait.max));
        let ages = nanos(wait.age).saturating_mul(u64::from(wait.class));
        let number = shared.waited.fetch_add(1, Ordering::Relaxed);
        let rank = (now.saturating_add(ages), number);
        let wait = if shared.may_wait() { wait } else { Wait { queue: 0, ..wait } };
        let waiting = Waiting { ask, wait, rank, deadline, spread };
        let (entered, spot) = shared.shard(spread).enter(&waiting, now, waker);
        match entered {
            Entered::Admitted => Poll::Ready(Ok(())),
            Entered::Denied(denied) => Poll::Ready(Err(denied)),
            Entered::Queued(due) => {
                shared.waiting.fetch_add(1, Ordering::Relaxed);
                let slot = match spot {
                    Spot::Shared(slot) => Some(slot),
                    Spot::Own(_) => None,
                };
                let mut queued = Queued { waiting, slot, timer: None };
                queued.set(shared, due);
                self.state = State::Queued(queued);
                Poll::Pending
            }
        }
    }
}

impl Queued {
    /// Sets the timer of the first in line; the others have none.
    fn set(&mut self, shared: &Shared, due: Option<u64>) {
        match (due.map(|due| shared.clock.instant(due)), &mut self.timer) {
            (Some(at), Some(timer)) => timer.as_mut().reset(at),
            (Some(at), none) => *none = Some(Box::pin(tokio::time::sleep_until(at))),
            (None, timer) => *timer = None,
        }
    }
}

impl Future for Acquire {
    type Output = Result<Ticket, Denied>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let entered = matches!(this.state, State::New);
        let mut polled = match &this.state {
            State::New => this.enter(cx.waker()),
            State::Queued(_) => Poll::Pending,
            State::Done => Poll::Ready(Err(Denied::new(DeniedKind::Unavailable, None))),
        };
        // Queued => Queued | Done. Once more after a timer is set, which has to know the waker.
        let mut asked = entered;
        while let (Poll::Pending, State::Queued(queued)) = (&polled, &mut this.state) {
            let running = queued.timer.as_mut().map(|timer| timer.as_mut().poll(cx).is_pending());
            if asked && running != Some(false) {
                return Poll::Pending;
            }
            let now = this.shared.clock.now();
            let (turn, next) = this.shared.shard(queued.waiting.spread).turn(
                &queued.waiting,
                queued.slot,
                now,
                cx.waker(),
            );
            next.into_iter().for_each(Waker::wake);
            polled = match turn {
                Turn::Admitted => Poll::Ready(Ok(())),
                Turn::Denied(denied) => Poll::Ready(Err(denied)),
                Turn::NotYet(due) => {
                    queued.set(&this.shared, due);
                    asked = true;
                    continue;
                }
            };
            this.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            this.state = State::Done;
        }
        if polled.is_ready() {
            this.state = State::Done;
        }
        polled.map_ok(|()| Ticket::new(this.ask))
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let State::Queued(queued) = &self.state {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            let next = self.shared.shard(queued.waiting.spread).leave(&queued.waiting, queued.slot);
            next.into_iter().for_each(Waker::wake);
        }
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("ask", &self.ask)
            .field("queued", &self.is_queued())
            .finish_non_exhaustive()
    }
}
