//! One limit and all that goes with it, and the permit to be under way.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use super::{
    Limit, Mode, Overloaded, OverloadedKind, Priority, Snapshot, Wait,
    gate::{Gate, Joined},
    learner::Learner,
    line::Ticket,
    sample::Sample,
};
use crate::overload::{Clock, Resting, micros};

/// A limit: its gate, and what finds it.
#[derive(Debug)]
pub(super) struct Place {
    gate: Gate,
    learner: Option<Learner>,
    clock: Clock,
}

/// What came of asking to be let in.
pub(super) enum Begun {
    Admitted(Permit),
    /// Boxed: few calls wait.
    Waiting(Pin<Box<Waiting>>),
    Refused(Overloaded),
}

impl Place {
    pub(super) fn new(limit: Limit, clock: Clock) -> Self {
        Self { gate: Gate::new(limit.first()), learner: Learner::of(limit), clock }
    }

    /// Asks to be let in. A waker that is left in `displaced` is to be woken by the caller, once it
    /// holds no lock.
    pub(super) fn begin(
        self: &Arc<Self>,
        mode: Mode,
        priority: Priority,
        displaced: &mut Option<Waker>,
    ) -> Begun {
        let refused = |kind| Begun::Refused(Overloaded::new(kind, None, Duration::ZERO));
        match mode {
            Mode::Reject if self.gate.try_enter(|limit| limit) => self.admitted(),
            Mode::Reject => refused(OverloadedKind::Full),
            Mode::Shed(shed) if self.gate.try_enter(|limit| shed.most(priority, limit)) => {
                self.admitted()
            }
            Mode::Shed(_) if priority == Priority::FIRST => refused(OverloadedKind::Full),
            Mode::Shed(_) => {
                let word = self.gate.look();
                let full = word.in_flight() >= word.limit();
                refused(if full { OverloadedKind::Full } else { OverloadedKind::Reserved })
            }
            Mode::Wait(_) if self.gate.try_enter(|limit| limit) => self.admitted(),
            Mode::Wait(wait) => self.join(wait, priority, displaced),
        }
    }

    fn join(
        self: &Arc<Self>,
        wait: Wait,
        priority: Priority,
        displaced: &mut Option<Waker>,
    ) -> Begun {
        let now = self.clock.now();
        let (rank, longest) = (wait.rank(priority, now), micros(wait.max_wait));
        let refused = |kind, expected: Option<u64>| {
            let expected = expected.map(Duration::from_micros);
            Begun::Refused(Overloaded::new(kind, expected, Duration::ZERO))
        };
        match self.gate.join(rank, wait.most, longest, now, displaced) {
            Joined::Entered => self.admitted(),
            Joined::Full(expected) => refused(OverloadedKind::QueueFull, expected),
            Joined::Hopeless(expected) => refused(OverloadedKind::Hopeless, Some(expected)),
            Joined::Waiting(ticket) => Begun::Waiting(Box::pin(Waiting {
                place: Arc::clone(self),
                ticket: Some(ticket),
                began: now,
                sleep: Box::pin(sleep(wait.max_wait)),
                wait,
            })),
        }
    }

    fn admitted(self: &Arc<Self>) -> Begun {
        Begun::Admitted(self.permit())
    }

    /// The permit of one who has entered.
    fn permit(self: &Arc<Self>) -> Permit {
        let began = if self.learner.is_some() { self.clock.now() } else { 0 };
        Permit { place: Arc::clone(self), began }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let word = self.gate.look();
        let waiting = self.gate.waiting();
        Snapshot { limit: word.limit(), in_flight: word.in_flight(), waiting }
    }

    /// Sets the limit, or where one that is found goes on from. Returns the limit before and after.
    pub(super) fn set_limit(&self, limit: u32) -> (u32, u32) {
        let apply = |limit| (self.gate.set_limit(limit, || self.clock.now()), limit);
        match &self.learner {
            Some(learner) => learner.set(limit, apply),
            None => apply(limit),
        }
    }
}

impl Resting for Place {
    fn rests(&self) -> bool {
        let word = self.gate.look();
        word.in_flight() == 0 && !word.has_waiting()
    }
}

/// Leave to be under way. Dropping it lets the next one in.
#[must_use = "it is given back when it is dropped"]
pub struct Permit {
    place: Arc<Place>,
    began: u64,
}

impl Permit {
    /// Tells a limit that is found how the call went: `overload` if the answer says that there is
    /// too much to do. Returns the limit before and after.
    pub(super) fn learn(&self, overload: bool) -> Option<(u32, u32)> {
        let learner = self.place.learner.as_ref()?;
        let (now, in_flight) = (self.place.clock.now(), self.place.gate.look().in_flight());
        let sample = Sample { began: self.began, now, in_flight, overload };
        Some(learner.learn(&sample, |limit| {
            if limit == self.place.gate.look().limit() {
                return (limit, limit);
            }
            (self.place.gate.set_limit(limit, || now), limit)
        }))
    }

    pub(super) fn is_adaptive(&self) -> bool {
        self.place.learner.is_some()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.place.gate.exit(|| self.place.clock.now());
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// A place in line; dropping it gives the place up.
pub(super) struct Waiting {
    place: Arc<Place>,
    ticket: Option<Ticket>,
    began: u64,
    wait: Wait,
    sleep: Pin<Box<Sleep>>,
}

impl Waiting {
    /// How long it has waited.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_micros(self.place.clock.now().saturating_sub(self.began))
    }
}

impl Future for Waiting {
    type Output = Result<Permit, Overloaded>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(ticket) = self.ticket else { return Poll::Pending };
        match self.place.gate.poll(ticket, cx.waker()) {
            Poll::Ready(true) => {
                self.ticket = None;
                return Poll::Ready(Ok(self.place.permit()));
            }
            Poll::Ready(false) => {
                self.ticket = None;
                let refused = Overloaded::new(OverloadedKind::QueueFull, None, self.waited());
                return Poll::Ready(Err(refused));
            }
            Poll::Pending => {}
        }
        if self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let (kind, waited) = (OverloadedKind::WaitedTooLong, self.wait.max_wait);
        Poll::Ready(Err(Overloaded::new(kind, None, waited)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.place.gate.leave(ticket, || self.place.clock.now());
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}
