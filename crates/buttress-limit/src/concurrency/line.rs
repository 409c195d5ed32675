//! The line of those who wait for a place: by rank, and first come, first served within one.

use std::{collections::BTreeMap, task::Waker};

/// A place in the line. A lower rank goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    rank: u64,
    number: u64,
}

/// What became of one who waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It has a place among those in flight.
    Admitted,
    /// The line was full, and it made room for one who goes first.
    Displaced,
}

/// Those who wait, those who are settled and have not looked yet, and how fast places come free.
#[derive(Debug, Default)]
pub(super) struct Line {
    next: u64,
    waiting: BTreeMap<Ticket, Option<Waker>>,
    settled: BTreeMap<u64, Settled>,
    pace: Pace,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn join(&mut self, rank: u64) -> Ticket {
        let ticket = Ticket { rank, number: self.next };
        self.next += 1;
        self.waiting.insert(ticket, None);
        ticket
    }

    /// Turns away the last in line, if one of this `rank` would go before it.
    pub(super) fn displace(&mut self, rank: u64) -> Option<Option<Waker>> {
        let last = *self.waiting.last_key_value()?.0;
        if last.rank <= rank {
            return None;
        }
        self.settled.insert(last.number, Settled::Displaced);
        self.waiting.remove(&last)
    }

    /// Admits the first in line.
    pub(super) fn admit(&mut self, now: u64) -> Option<Waker> {
        let (ticket, waker) = self.waiting.pop_first()?;
        self.settled.insert(ticket.number, Settled::Admitted);
        self.pace.step(now, !self.waiting.is_empty());
        waker
    }

    /// What became of a ticket, told once; while it waits, `waker` is kept.
    pub(super) fn poll(&mut self, ticket: Ticket, waker: &Waker) -> Option<Settled> {
        if let Some(slot) = self.waiting.get_mut(&ticket) {
            match slot {
                Some(old) => old.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
            return None;
        }
        self.settled.remove(&ticket.number)
    }

    /// Gives a ticket up; says what had become of it.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Settled> {
        if self.waiting.remove(&ticket).is_some() {
            self.pace.unbroken &= !self.waiting.is_empty();
            return None;
        }
        self.settled.remove(&ticket.number)
    }

    /// How long one who joined now with this `rank` would wait, if that can be told.
    pub(super) fn expected(&self, rank: u64, now: u64) -> Option<u64> {
        let behind_all = self.waiting.last_key_value().is_none_or(|(last, _)| last.rank <= rank);
        let ahead = if behind_all {
            self.waiting.len()
        } else {
            self.waiting.range(..=Ticket { rank, number: u64::MAX }).count()
        };
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        Some(self.pace.known(now)?.saturating_mul(ahead.saturating_add(1)))
    }
}

/// How long it takes from one admission to the next while there is always someone waiting.
#[derive(Debug, Default)]
struct Pace {
    last: Option<u64>,
    /// Whether the line has not been empty since `last`.
    unbroken: bool,
    mean: Option<u64>,
}

/// What was measured longer ago says nothing, in microseconds.
const STALE: u64 = 30_000_000;

impl Pace {
    fn step(&mut self, now: u64, more: bool) {
        if let Some(last) = self.last.filter(|_| self.unbroken) {
            let sample = now.saturating_sub(last);
            self.mean = Some(match self.mean.filter(|_| now.saturating_sub(last) < STALE) {
                Some(mean) => mean - mean / 8 + sample / 8,
                None => sample,
            });
        }
        self.last = Some(now);
        self.unbroken = more;
    }

    fn known(&self, now: u64) -> Option<u64> {
        let recent = self.last.is_some_and(|last| now.saturating_sub(last) < STALE);
        self.mean.filter(|_| recent)
    }
}
