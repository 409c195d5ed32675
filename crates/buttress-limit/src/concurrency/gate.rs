//! The gate: a limit on what is in flight, and the line in front of it.
//!
//! One word says all that a caller has to know who finds a place free, so entering and leaving are
//! one atomic step each. The line stands behind a lock. Its bit in the word is set and cleared
//! under that lock; while it is set nobody enters but from the line, and whoever leaves hands its
//! place on. Since the bit and the count share a word, a place is either seen to be free by the one
//! who is about to wait, or is handed to it by the one who leaves: there is no order of steps in
//! between.

use std::{
    sync::PoisonError,
    task::{Poll, Waker},
};

use super::{
    line::{Line, Settled, Ticket},
    sync::{AtomicU64, Mutex, MutexGuard, Ordering},
    word::{MOST, Word},
};

#[derive(Debug)]
pub(super) struct Gate {
    word: AtomicU64,
    line: Mutex<Line>,
}

/// What came of asking for a place in line.
#[derive(Debug)]
pub(super) enum Joined {
    /// There was a place free.
    Entered,
    /// Wait and [`poll`](Gate::poll).
    Waiting(Ticket),
    /// The line is full. With it, how long the wait would have been, in microseconds, if known.
    Full(Option<u64>),
    /// The wait would be so many microseconds, which is too long.
    Hopeless(u64),
}

impl Gate {
    pub(super) fn new(limit: u32) -> Self {
        Self { word: AtomicU64::new(Word::new(limit).0), line: Mutex::new(Line::default()) }
    }

    /// The limit, and what is in flight.
    pub(super) fn look(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed))
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        if self.look().has_waiting() { self.lock().len() } else { 0 }
    }

    /// Enters if fewer than `most` of the limit are in flight and nobody waits.
    pub(super) fn try_enter(&self, most: impl Fn(u32) -> u32) -> bool {
        let full = |word: Word| word.has_waiting() || word.in_flight() >= most(word.limit());
        self.change(|word| if full(word) { None } else { Some(word.entered()) }).is_ok()
    }

    /// Enters, or joins the line behind all of the same `rank`.
    ///
    /// In a full line one of a higher rank makes room for a lower one; it is for the caller to wake
    /// the waker that `displaced` is given.
    pub(super) fn join(
        &self,
        rank: u64,
        most: usize,
        max_wait: u64,
        now: u64,
        displaced: &mut Option<Waker>,
    ) -> Joined {
        let mut line = self.lock();
        if line.is_empty() && self.enter() {
            return Joined::Entered;
        }
        let expected = line.expected(rank, now);
        if let Some(wait) = expected.filter(|&wait| wait > max_wait) {
            return Joined::Hopeless(wait);
        }
        if line.len() >= most {
            match line.displace(rank) {
                Some(waker) => *displaced = waker,
                None => return Joined::Full(expected),
            }
        }
        // The last look for a place and the bit are one step.
        let changed = self.change(|word| {
            let free = !word.has_waiting() && word.in_flight() < word.limit();
            Some(if free { word.entered() } else { word.waiting() })
        });
        if changed.is_ok_and(|before| !before.has_waiting() && before.in_flight() < before.limit())
        {
            return Joined::Entered;
        }
        Joined::Waiting(line.join(rank))
    }

    /// Whether a ticket came to its place, `Ready(false)` if it lost its place in line.
    pub(super) fn poll(&self, ticket: Ticket, waker: &Waker) -> Poll<bool> {
        match self.lock().poll(ticket, waker) {
            None => Poll::Pending,
            Some(settled) => Poll::Ready(settled == Settled::Admitted),
        }
    }

    /// Gives a ticket up, and what it had come to.
    pub(super) fn leave(&self, ticket: Ticket, now: impl Fn() -> u64) {
        let mut line = self.lock();
        let settled = line.leave(ticket);
        self.clear_if_empty(&line);
        drop(line);
        if settled == Some(Settled::Admitted) {
            self.exit(now);
        }
    }

    /// Lets one go that was in flight; its place goes to the first in line.
    pub(super) fn exit(&self, now: impl Fn() -> u64) {
        let before = Word(self.word.fetch_sub(1, Ordering::AcqRel));
        if before.has_waiting() {
            self.admit(now());
        }
    }

    /// Changes the limit and returns the one before. What is in flight stays so; those in line are
    /// let in as far as there is room now.
    pub(super) fn set_limit(&self, limit: u32, now: impl Fn() -> u64) -> u32 {
        let limit = limit.clamp(1, MOST);
        let before = self.change(|word| Some(word.limited(limit))).unwrap_or_else(|word| word);
        if before.has_waiting() {
            self.admit(now());
        }
        before.limit()
    }

    /// Lets in those in line for whom there is room, and wakes each outside of the lock.
    fn admit(&self, now: u64) {
        loop {
            let mut line = self.lock();
            if line.is_empty() || !self.enter_from_line() {
                return;
            }
            let waker = line.admit(now);
            self.clear_if_empty(&line);
            drop(line);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn enter(&self) -> bool {
        let full = |word: Word| word.has_waiting() || word.in_flight() >= word.limit();
        self.change(|word| if full(word) { None } else { Some(word.entered()) }).is_ok()
    }

    fn enter_from_line(&self) -> bool {
        let free = |word: Word| word.in_flight() < word.limit();
        self.change(|word| free(word).then(|| word.entered())).is_ok()
    }

    fn clear_if_empty(&self, line: &MutexGuard<'_, Line>) {
        if line.is_empty() {
            let _ = self.change(|word| Some(word.nobody_waiting()));
        }
    }

    /// The word before the change; as an error, where none was made.
    fn change(&self, step: impl Fn(Word) -> Option<Word>) -> Result<Word, Word> {
        let mut seen = self.look();
        while let Some(next) = step(seen) {
            let done = self.word.compare_exchange_weak(
                seen.0,
                next.0,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            match done {
                Ok(_) => return Ok(seen),
                Err(found) => seen = Word(found),
            }
        }
        Err(seen)
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // Every step leaves the line whole.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
