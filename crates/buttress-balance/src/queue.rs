//! The line of callers that wait for a place at any endpoint: first come, first served.

use std::{collections::VecDeque, task::Waker};

use super::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};

/// The head of the line looks for a place. It is woken when a call ends or the set changes; when it
/// leaves, the next one is woken and looks in turn, so that no place stays unused.
///
/// A place may be of no use to the head, which was refused there before. It then lets the next one
/// look, and keeps its own place.
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
    ticket: Ticket,
    /// Whether what is free is of no use to it.
    passes: bool,
    waker: Option<Waker>,
}

/// A place in the line: behind all whose calls began earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    since: u64,
    number: u64,
}

impl Waiters {
    fn find(&self, ticket: Ticket) -> Option<usize> {
        self.line.binary_search_by_key(&ticket, |waiter| waiter.ticket).ok()
    }

    /// Takes a waker, so that it is called once until its owner has looked.
    fn waker_at(&mut self, at: usize) -> Option<Waker> {
        self.line.get_mut(at).and_then(|waiter| waiter.waker.take())
    }
}

impl Line {
    /// How many stand in line.
    pub(crate) fn len(&self) -> usize {
        self.length.load(Ordering::SeqCst)
    }

    /// A place for a call that began at `since`, if fewer than `most` wait.
    pub(crate) fn join(&self, most: usize, since: u64) -> Option<Ticket> {
        let mut waiters = self.lock();
        if waiters.line.len() >= most {
            return None;
        }
        let ticket = Ticket { since, number: waiters.next };
        waiters.next += 1;
        // At the end, but for a call that was refused elsewhere and is older than who came since.
        let at = waiters.line.iter().rposition(|waiter| waiter.ticket < ticket);
        let waiter = Waiter { ticket, passes: false, waker: None };
        waiters.line.insert(at.map_or(0, |before| before + 1), waiter);
        // Before the caller looks for a place: see `Load::take`.
        self.length.store(waiters.line.len(), Ordering::SeqCst);
        Some(ticket)
    }

    /// Whether it is this caller's turn to look; `waker` is called when it may be, or may succeed.
    pub(crate) fn poll(&self, ticket: Ticket, waker: &Waker) -> bool {
        let mut waiters = self.lock();
        let Some(at) = waiters.find(ticket) else { return true };
        let waiter = &mut waiters.line[at];
        waiter.passes = false;
        match &mut waiter.waker {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        waiters.line.iter().take(at).all(|before| before.passes)
    }

    /// Lets the next one look: what is free is of no use to this caller.
    pub(crate) fn pass(&self, ticket: Ticket) {
        let mut waiters = self.lock();
        let Some(at) = waiters.find(ticket) else { return };
        waiters.line[at].passes = true;
        let waker = waiters.waker_at(at + 1);
        drop(waiters);
        waker.inspect(Waker::wake_by_ref);
    }

    /// Gives the place up and lets the next one look.
    pub(crate) fn leave(&self, ticket: Ticket) {
        let mut waiters = self.lock();
        if let Some(at) = waiters.find(ticket) {
            waiters.line.remove(at);
            self.length.store(waiters.line.len(), Ordering::SeqCst);
        }
        let waker = waiters.waker_at(0);
        drop(waiters);
        waker.inspect(Waker::wake_by_ref);
    }

    /// A call ended. One load where nobody waits.
    pub(crate) fn released(&self) {
        if self.len() > 0 {
            self.wake();
        }
    }

    /// Lets the head of the line look.
    pub(crate) fn wake(&self) {
        if self.len() == 0 {
            return;
        }
        let waker = self.lock().waker_at(0);
        waker.inspect(Waker::wake_by_ref);
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // Every step leaves the line whole.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
