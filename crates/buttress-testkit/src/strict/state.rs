use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The error that tests plant; two are equal when their marks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planted {
    mark: u64,
}

impl Planted {
    /// Makes an error that carries `mark`.
    #[must_use]
    pub fn new(mark: u64) -> Self {
        Self { mark }
    }

    /// Returns the mark that the error was made with.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.mark
    }
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "planted error {}", self.mark)
    }
}

impl std::error::Error for Planted {}

/// A breach of the rules of `tower_service::Service` by the code above a strict service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// `call` came without a `poll_ready` that said `Ready(Ok(()))` on the same instance.
    #[non_exhaustive]
    CalledUnready {
        /// Which instance was called; they are numbered from 1 in the order in which they were made.
        instance: u64,
        /// The instance that it was cloned from, if it is a clone.
        cloned_from: Option<u64>,
        /// Why the instance was not ready.
        because: &'static str,
    },
    /// A response future was polled after it had given its output.
    #[non_exhaustive]
    PolledAfterCompletion {
        /// Which call the future belongs to, counted from 1.
        call: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CalledUnready { instance, cloned_from, because } => {
                write!(f, "the inner service was called unready: instance {instance}")?;
                if let Some(origin) = cloned_from {
                    write!(f, ", a clone of instance {origin},")?;
                }
                write!(f, " {because}")
            }
            Self::PolledAfterCompletion { call } => {
                write!(f, "the response future of call {call} was polled after its output")
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    Never,
    Pending,
    Ready,
    Spent,
    Failed,
}

impl Readiness {
    pub(super) fn because(self) -> &'static str {
        match self {
            Self::Never => "was never polled for readiness",
            Self::Pending => "had last answered Pending to poll_ready",
            Self::Ready => "was ready",
            Self::Spent => "had used its readiness up in an earlier call",
            Self::Failed => "had last answered poll_ready with an error",
        }
    }
}

/// Failures to hand out: some once each and in order, then one for ever.
pub(super) struct Failures<E> {
    pub(super) next: VecDeque<E>,
    pub(super) every: Option<Box<dyn FnMut() -> E + Send>>,
}

impl<E> Failures<E> {
    fn take(&mut self) -> Option<E> {
        self.next.pop_front().or_else(|| self.every.as_mut().map(|make| make()))
    }

    pub(super) fn clear(&mut self) {
        self.next.clear();
        self.every = None;
    }
}

impl<E> Default for Failures<E> {
    fn default() -> Self {
        Self { next: VecDeque::new(), every: None }
    }
}

/// One call whose future is neither complete nor dropped.
pub(super) struct InFlight {
    pub(super) held: bool,
    pub(super) lag: u32,
    pub(super) waker: Option<Waker>,
}

pub(super) struct State<E> {
    pub(super) next_instance: u64,
    pub(super) live: usize,
    pub(super) ready_polls: u64,
    pub(super) ready_blocked: bool,
    pub(super) ready_pending: u32,
    pub(super) ready_wakers: BTreeMap<u64, Waker>,
    pub(super) ready_failures: Failures<E>,
    pub(super) calls: u64,
    pub(super) completed: u64,
    pub(super) dropped: u64,
    pub(super) hold: bool,
    pub(super) lag: u32,
    pub(super) in_flight: BTreeMap<u64, InFlight>,
    pub(super) call_failures: Failures<E>,
    pub(super) violations: Vec<Violation>,
}

impl<E> State<E> {
    pub(super) fn born(&mut self) -> u64 {
        self.next_instance += 1;
        self.live += 1;
        self.next_instance
    }

    pub(super) fn died(&mut self, instance: u64) {
        self.live -= 1;
        self.ready_wakers.remove(&instance);
    }

    /// Answers a readiness poll from the script; `Ready(Ok(()))` leaves it to the wrapped service.
    pub(super) fn poll_ready(
        &mut self,
        instance: u64,
        readiness: Readiness,
        cx: &Context<'_>,
    ) -> Poll<Result<(), E>> {
        self.ready_polls += 1;
        if readiness == Readiness::Ready {
            return Poll::Ready(Ok(()));
        }
        if self.ready_blocked || self.ready_pending > 0 {
            self.ready_pending = self.ready_pending.saturating_sub(1);
            self.ready_wakers.insert(instance, cx.waker().clone());
            return Poll::Pending;
        }
        self.ready_wakers.remove(&instance);
        match self.ready_failures.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Notes a call; returns its number and the failure that it is to end in.
    pub(super) fn start(&mut self) -> (u64, Option<E>) {
        self.calls += 1;
        let entry = InFlight { held: self.hold, lag: self.lag, waker: None };
        self.in_flight.insert(self.calls, entry);
        (self.calls, self.call_failures.take())
    }

    /// Says whether the future of `call` may go on to its output.
    pub(super) fn poll_call(&mut self, call: u64, cx: &Context<'_>) -> Poll<()> {
        let Some(entry) = self.in_flight.get_mut(&call) else {
            return Poll::Ready(());
        };
        if entry.held {
            entry.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if entry.lag > 0 {
            entry.lag -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        entry.waker = None;
        Poll::Ready(())
    }
}

pub(super) struct Shared<E> {
    state: Mutex<State<E>>,
}

impl<E> Shared<E> {
    /// Locks the state. A breach panics outside the lock, so a poisoned lock is still sound.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn breach(&self, violation: Violation) -> ! {
        let sentence = violation.to_string();
        self.lock().violations.push(violation);
        panic!("{sentence}");
    }
}

impl<E> Default for Shared<E> {
    fn default() -> Self {
        let state = State {
            next_instance: 0,
            live: 0,
            ready_polls: 0,
            ready_blocked: false,
            ready_pending: 0,
            ready_wakers: BTreeMap::new(),
            ready_failures: Failures::default(),
            calls: 0,
            completed: 0,
            dropped: 0,
            hold: false,
            lag: 0,
            in_flight: BTreeMap::new(),
            call_failures: Failures::default(),
            violations: Vec::new(),
        };
        Self { state: Mutex::new(state) }
    }
}
