//! The line of callers that wait for a place at any endpoint: first come, first served.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

/// Only the head of the line looks for a place. It is woken when a call ends or the set changes;
/// when it leaves, the next one is woken and looks in turn, so that no place stays unused.
#[derive(Debug, Default)]
pub(crate) struct Line {
    length: AtomicUsize,
    waiters: Mutex<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    next: u64,
    line: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    waker: Option<Waker>,
}

/// A number in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Line {
    /// How many stand in line.
    pub(crate) fn len(&self) -> usize {
        self.length.load(Ordering::SeqCst)
    }

    /// A place at the end, if fewer than `most` wait.
    pub(crate) fn join(&self, most: usize) -> Option<Ticket> {
        let mut waiters = self.lock();
        if waiters.line.len() >= most {
            return None;
        }
        let number = waiters.next;
        waiters.next += 1;
        waiters.line.push_back(Waiter { number, waker: None });
        // Before the caller looks for a place: see `Load::take`.
        self.length.store(waiters.line.len(), Ordering::SeqCst);
        Some(Ticket(number))
    }

    /// Whether it is this caller's turn to look; `waker` is called when it may be, or may succeed.
    pub(crate) fn poll(&self, ticket: Ticket, waker: &Waker) -> bool {
        let mut waiters = self.lock();
        let at = waiters.line.binary_search_by_key(&ticket.0, |waiter| waiter.number);
        let Ok(at) = at else { return true };
        match &mut waiters.line[at].waker {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        at == 0
    }

    /// Gives the place up and lets the next one look.
    pub(crate) fn leave(&self, ticket: Ticket) {
        let mut waiters = self.lock();
        if let Ok(at) = waiters.line.binary_search_by_key(&ticket.0, |waiter| waiter.number) {
            waiters.line.remove(at);
            self.length.store(waiters.line.len(), Ordering::SeqCst);
        }
        let waker = waiters.line.front_mut().and_then(|head| head.waker.take());
        drop(waiters);
        waker.inspect(Waker::wake_by_ref);
    }

    /// A call ended. One load where nobody waits.
    pub(crate) fn released(&self) {
        if self.length.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
    }

    /// Lets the head of the line look.
    pub(crate) fn wake(&self) {
        if self.length.load(Ordering::SeqCst) == 0 {
            return;
        }
        let waker = self.lock().line.front_mut().and_then(|head| head.waker.take());
        waker.inspect(Waker::wake_by_ref);
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // Every step leaves the line whole.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
