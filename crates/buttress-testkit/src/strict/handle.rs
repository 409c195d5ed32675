use super::state::{InFlight, Shared, State, Violation};
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

/// Steers and watches one strict service together with all its clones.
///
/// Cheap to clone. Calls are counted from 1, in the order in which they were made.
pub struct Handle<E> {
    shared: Arc<Shared<E>>,
}

/// Readiness.
impl<E> Handle<E> {
    /// Makes the next `polls` readiness polls, whichever instance they reach, answer `Pending`.
    ///
    /// The waker of each is kept for [`wake`](Self::wake); nothing wakes it before.
    pub fn pend_ready(&self, polls: u32) {
        self.shared.lock().ready_pending = polls;
    }

    /// Makes every readiness poll answer `Pending` until [`unblock_ready`](Self::unblock_ready).
    ///
    /// An instance that is ready already stays so.
    pub fn block_ready(&self) {
        self.shared.lock().ready_blocked = true;
    }

    /// Ends [`block_ready`](Self::block_ready) and [`pend_ready`](Self::pend_ready), and wakes the
    /// waiting tasks.
    pub fn unblock_ready(&self) {
        let mut state = self.shared.lock();
        state.ready_blocked = false;
        state.ready_pending = 0;
        drop(state);
        self.wake();
    }

    /// Wakes every task that waits for readiness; returns how many there were.
    pub fn wake(&self) -> usize {
        let wakers = std::mem::take(&mut self.shared.lock().ready_wakers);
        wakers.into_values().map(Waker::wake).count()
    }

    /// Makes the next readiness poll fail with `error`; several are handed out in order.
    pub fn fail_next_ready(&self, error: E) {
        self.shared.lock().ready_failures.next.push_back(error);
    }

    /// Makes every readiness poll fail, until [`recover`](Self::recover).
    ///
    /// `error` must not use the handle, which is locked meanwhile.
    pub fn fail_every_ready(&self, error: impl FnMut() -> E + Send + 'static) {
        self.shared.lock().ready_failures.every = Some(Box::new(error));
    }

    /// Returns how many instances wait for readiness with a waker that was not woken yet.
    #[must_use]
    pub fn waiting_ready(&self) -> usize {
        self.shared.lock().ready_wakers.len()
    }

    /// Returns how many readiness polls there were.
    #[must_use]
    pub fn ready_polls(&self) -> u64 {
        self.shared.lock().ready_polls
    }
}

/// Calls.
impl<E> Handle<E> {
    /// Makes the answers to later calls wait until they are released.
    pub fn hold(&self) {
        self.shared.lock().hold = true;
    }

    /// Ends [`hold`](Self::hold) and lets every held answer go.
    pub fn release(&self) {
        let mut state = self.shared.lock();
        state.hold = false;
        let wakers: Vec<Waker> = state.in_flight.values_mut().filter_map(free).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Lets the held answer to one call go, whatever its place in the order; later calls are still
    /// held. Returns false when that call is not in flight.
    #[must_use]
    pub fn release_call(&self, call: u64) -> bool {
        let mut state = self.shared.lock();
        let Some(entry) = state.in_flight.get_mut(&call) else {
            return false;
        };
        let waker = free(entry);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Makes the answer to each later call `Pending` for `polls` polls, each of which wakes its task
    /// at once. Zero ends it.
    pub fn lag(&self, polls: u32) {
        self.shared.lock().lag = polls;
    }

    /// Makes the next call end in `error`; several are handed out in order.
    ///
    /// The wrapped service is called all the same, and its answer is thrown away.
    pub fn fail_next_call(&self, error: E) {
        self.shared.lock().call_failures.next.push_back(error);
    }

    /// Makes every call end in an error, until [`recover`](Self::recover).
    ///
    /// `error` must not use the handle, which is locked meanwhile.
    pub fn fail_every_call(&self, error: impl FnMut() -> E + Send + 'static) {
        self.shared.lock().call_failures.every = Some(Box::new(error));
    }

    /// Takes back every planted failure that was not handed out yet.
    pub fn recover(&self) {
        let mut state = self.shared.lock();
        state.ready_failures.clear();
        state.call_failures.clear();
    }

    /// Returns how many calls there were.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.shared.lock().calls
    }

    /// Returns how many response futures are neither complete nor dropped.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.lock().in_flight.len()
    }

    /// Returns how many held response futures were polled and so keep a waker.
    #[must_use]
    pub fn waiting_calls(&self) -> usize {
        self.shared.lock().in_flight.values().filter(|entry| entry.waker.is_some()).count()
    }

    /// Returns how many response futures gave their output.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.shared.lock().completed
    }

    /// Returns how many response futures were dropped before their output.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }
}

/// Instances and breaches.
impl<E> Handle<E> {
    /// Returns how many instances of the service are alive: the first one and its clones.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.shared.lock().live
    }

    /// Returns the breaches so far.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.lock().violations.clone()
    }

    /// Asserts that there was no breach.
    ///
    /// # Panics
    ///
    /// Panics with a list of the breaches when there was one.
    #[track_caller]
    pub fn assert_clean(&self) {
        let sentences: Vec<String> = self.violations().iter().map(ToString::to_string).collect();
        assert!(sentences.is_empty(), "{}", sentences.join("\n"));
    }

    pub(super) fn new(shared: Arc<Shared<E>>) -> Self {
        Self { shared }
    }
}

fn free(entry: &mut InFlight) -> Option<Waker> {
    entry.held = false;
    entry.waker.take()
}

impl<E> Clone for Handle<E> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl<E> fmt::Debug for Handle<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { live, ready_polls, calls, completed, dropped, .. } = &*self.shared.lock();
        f.debug_struct("Handle")
            .field("instances", live)
            .field("ready_polls", ready_polls)
            .field("calls", calls)
            .field("completed", completed)
            .field("dropped", dropped)
            .finish_non_exhaustive()
    }
}
