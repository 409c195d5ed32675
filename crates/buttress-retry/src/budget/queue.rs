//! A bucket with a line of waiters in front of it, first come, first served.
//!
//! Only the head of the line takes tokens, in its own poll, so that a waiter which goes away takes
//! none along. No wakeup is lost: the head leaves its waker under the lock and then looks at the
//! bucket; who adds tokens changes the word, sees in it that somebody queues, and then takes the
//! lock. Either the head sees the tokens, or the other side finds the head's waker.

use std::{collections::BTreeMap, sync::PoisonError, task::Waker};

use super::{
    bucket::Bucket,
    sync::{Mutex, MutexGuard},
    terms::{Claim, Terms},
};

#[derive(Debug)]
pub(super) struct Queue {
    bucket: Bucket,
    max_waiters: usize,
    line: Mutex<Line>,
}

/// Waiters by ticket; tickets only grow, so the smallest is the head.
#[derive(Debug, Default)]
struct Line {
    waiters: BTreeMap<u64, Waker>,
    next_ticket: u64,
}

/// What a poll came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The tokens are taken.
    Granted,
    /// Too many wait already.
    Full,
    /// Wait to be woken, and as the head no longer than to the tick in question.
    Later(Option<u64>),
}

impl Queue {
    pub(super) fn new(terms: Terms, max_waiters: usize) -> Self {
        Self { bucket: Bucket::new(terms), max_waiters, line: Mutex::new(Line::default()) }
    }

    pub(super) fn terms(&self) -> &Terms {
        self.bucket.terms()
    }

    pub(super) fn max_waiters(&self) -> usize {
        self.max_waiters
    }

    pub(super) fn balance(&self, now: u64) -> u64 {
        self.bucket.balance(now)
    }

    pub(super) fn waiters(&self) -> usize {
        self.lock().waiters.len()
    }

    /// Takes tokens without waiting, never ahead of those who wait.
    pub(super) fn take(&self, now: u64, claim: Claim) -> bool {
        self.bucket.take(now, claim)
    }

    pub(super) fn debit(&self, milli: u64) {
        self.bucket.debit(milli);
    }

    pub(super) fn credit(&self, milli: u64) {
        if self.bucket.credit(milli) {
            let head = self.lock().head();
            wake(head);
        }
    }

    /// Polls for tokens; the first poll that has to wait draws a ticket.
    pub(super) fn poll(
        &self,
        ticket: &mut Option<u64>,
        claim: Claim,
        now: u64,
        waker: &Waker,
    ) -> Turn {
        // Outlives the lock: dropping a waker runs code that is not ours.
        let _old;
        let mut line = self.lock();
        let mine = match *ticket {
            Some(mine) => mine,
            None if line.waiters.is_empty() && self.bucket.take(now, claim) => {
                return Turn::Granted;
            }
            None if line.waiters.len() >= self.max_waiters => return Turn::Full,
            None => line.draw(),
        };
        *ticket = Some(mine);
        _old = line.waiters.insert(mine, waker.clone());
        if !line.is_head(mine) {
            return Turn::Later(None);
        }
        self.bucket.set_queued(true);
        if let Err(tick) = self.bucket.take_first(now, claim) {
            return Turn::Later(tick);
        }
        *ticket = None;
        self.remove(line, mine);
        Turn::Granted
    }

    /// Gives a place in the line up.
    pub(super) fn leave(&self, ticket: u64) {
        self.remove(self.lock(), ticket);
    }

    fn remove(&self, mut line: MutexGuard<'_, Line>, ticket: u64) {
        let was_head = line.is_head(ticket);
        let mine = line.waiters.remove(&ticket);
        let next = if was_head { line.head() } else { None };
        if line.waiters.is_empty() {
            self.bucket.set_queued(false);
        }
        drop(line);
        drop(mine);
        wake(next);
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // A map of wakers is sound at any point, so a panic elsewhere leaves nothing to mistrust.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn draw(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        ticket
    }

    fn head(&self) -> Option<Waker> {
        self.waiters.first_key_value().map(|(_, waker)| waker.clone())
    }

    fn is_head(&self, ticket: u64) -> bool {
        self.waiters.first_key_value().is_some_and(|(&first, _)| first == ticket)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
