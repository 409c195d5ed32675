//! Who waits for a key, and until when nobody may have it.

use std::{collections::BTreeMap, task::Waker};

use crate::{
    cost::{Cost, Sum},
    store::lowered::Lowered,
};

/// A place in line: when it counts as having come, and a number that no other has.
pub(crate) type Rank = (u64, u64);

/// What few keys have: waiters, a pause, or less than was configured.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiters: BTreeMap<Rank, Waiter>,
    queued: Sum,
    hold: Hold,
    lowered: Option<Box<Lowered>>,
}

#[derive(Debug)]
struct Waiter {
    cost: Cost,
    waker: Waker,
}

impl Line {
    /// What costs stand before one that comes with `rank`.
    pub(crate) fn ahead(&self, rank: Rank) -> Sum {
        match self.waiters.last_key_value() {
            Some((last, _)) if *last >= rank => {
                let mut sum = Sum::default();
                for (_, waiter) in self.waiters.range(..rank) {
                    sum.add(&waiter.cost);
                }
                sum
            }
            _ => self.queued,
        }
    }

    pub(crate) fn join(&mut self, rank: Rank, cost: Cost, waker: Waker) {
        self.queued.add(&cost);
        self.waiters.insert(rank, Waiter { cost, waker });
    }

    pub(crate) fn leave(&mut self, rank: Rank) {
        if let Some(waiter) = self.waiters.remove(&rank) {
            self.queued.subtract(&waiter.cost);
        }
    }

    pub(crate) fn renew(&mut self, rank: Rank, waker: &Waker) {
        if let Some(waiter) = self.waiters.get_mut(&rank) {
            waiter.waker.clone_from(waker);
        }
    }

    pub(crate) fn is_head(&self, rank: Rank) -> bool {
        self.waiters.first_key_value().is_some_and(|(first, _)| *first == rank)
    }

    /// The waker of whoever is first in line.
    pub(crate) fn head(&self) -> Option<Waker> {
        self.waiters.first_key_value().map(|(_, waiter)| waiter.waker.clone())
    }

    /// The wakers of all, for when each has to see whether it still wants to wait.
    pub(crate) fn all(&self) -> Vec<Waker> {
        self.waiters.values().map(|waiter| waiter.waker.clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(crate) const fn hold(&self) -> &Hold {
        &self.hold
    }

    pub(crate) const fn hold_mut(&mut self) -> &mut Hold {
        &mut self.hold
    }

    pub(crate) fn lowered(&self) -> Option<&Lowered> {
        self.lowered.as_deref()
    }

    pub(crate) const fn lowered_mut(&mut self) -> &mut Option<Box<Lowered>> {
        &mut self.lowered
    }

    /// Whether the policy of a lowered key is another one by now.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.lowered.as_ref().is_some_and(|lowered| lowered.next() <= now)
    }

    /// When that will be.
    pub(crate) fn changes(&self) -> u64 {
        self.lowered.as_ref().map_or(u64::MAX, |lowered| lowered.next())
    }

    /// Whether it says nothing that a key without one does not.
    pub(crate) fn is_idle(&self, now: u64) -> bool {
        let over = self.lowered.as_ref().is_none_or(|lowered| lowered.over() <= now);
        self.waiters.is_empty() && self.hold.is_over(now) && over
    }
}

/// A pause that an upstream asked for, and the stages in which the key comes back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hold {
    /// Nothing passes before.
    until: u64,
    /// From when to when it comes back.
    ramp: (u64, u64),
}

impl Hold {
    /// How long a key takes to come back, at the least and at the most.
    const RAMP: (u64, u64) = (1_000_000_000, 10_000_000_000);

    /// Lets nothing pass for `pause`, and little for as long again.
    pub(crate) fn pause(&mut self, now: u64, pause: u64) {
        let until = now.saturating_add(pause);
        if until <= self.until {
            return;
        }
        let ramp = pause.clamp(Self::RAMP.0, Self::RAMP.1);
        *self = Self { until, ramp: (until, until.saturating_add(ramp)) };
    }

    pub(crate) const fn until(&self) -> u64 {
        self.until
    }

    pub(crate) const fn is_over(&self, now: u64) -> bool {
        now >= self.until && now >= self.ramp.1
    }

    /// Notes that something passed which takes `interval` to come back. In the first third of the
    /// ramp a quarter of the rate passes, then a half, then three quarters.
    pub(crate) fn passed(&mut self, now: u64, interval: u64) {
        let (from, to) = self.ramp;
        if now < from || now >= to {
            return;
        }
        let gap = match (now - from) / ((to - from) / 3).max(1) {
            0 => interval.saturating_mul(4),
            1 => interval.saturating_mul(2),
            _ => interval.saturating_add(interval / 3),
        };
        // No longer than the ramp: a window of a day would stop the key for days.
        self.until = self.until.max(now.saturating_add(gap).min(to));
    }
}
