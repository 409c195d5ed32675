//! One shard: the decisions about its keys, made under its lock.

use std::task::Waker;

use crate::{
    clock::nanos,
    cost::{Cost, Sum},
    key::Key,
    limiter::{Ask, Denied, DeniedKind, Lesson, Snapshot, Tier, Wait},
    policy::Policy,
    store::{
        judge::{Standings, due, interval, is_too_large, slack, snapshot, take},
        line::Rank,
        table::{Entry, FRESH, Table},
    },
};

/// How many entries are looked at when a key comes that is not known yet; and how many if there is
/// no room for it.
const SWEEP: (usize, usize) = (4, 32);

#[derive(Debug)]
pub(crate) struct Shard {
    tiers: Box<[Policy]>,
    table: Table,
    /// Keys that find the table full share these. Made when the first one does.
    overflow: Option<Table>,
    settings: Room,
    seeds: [u64; 2],
}

/// How much a shard may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) keys: usize,
    pub(crate) overflow: usize,
    pub(crate) stride: usize,
}

/// Where a key's windows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    Own(usize),
    Shared(usize),
}

/// What came of entering.
#[derive(Debug)]
pub(crate) enum Entered {
    Admitted,
    Denied(Denied),
    /// In line; when it is its turn, if it is the first.
    Queued(Option<u64>),
}

/// What came of asking whether it is one's turn.
#[derive(Debug)]
pub(crate) enum Turn {
    Admitted,
    Denied(Denied),
    /// Not before then; `None` if others stand before.
    NotYet(Option<u64>),
}

/// A request that waits, or is about to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) ask: Ask,
    pub(crate) wait: Wait,
    pub(crate) rank: Rank,
    pub(crate) deadline: u64,
    pub(crate) spread: u64,
}

impl Shard {
    pub(crate) fn new(tiers: Box<[Policy]>, room: Room, seeds: [u64; 2]) -> Self {
        let table = Table::new(room.stride, seeds);
        Self { tiers, table, overflow: None, settings: room, seeds }
    }

    /// Decides at once.
    #[inline]
    pub(crate) fn decide(&mut self, ask: &Ask, spread: u64, now: u64) -> Result<(), Denied> {
        let Some(spot) = self.place(ask, spread, now)? else { return Ok(()) };
        let (policy, entry, tats) = self.at(spot, ask.tier, now);
        if let Some(line) = &mut entry.line {
            if line.len() > 0 {
                let ahead = line.ahead((u64::MAX, u64::MAX));
                let at = due(policy, tats, now.max(line.hold().until()), ask, &ahead);
                return Err(Standings { policy, tats, now, ask }.denied(DeniedKind::Quota, at));
            }
            if now < line.hold().until() {
                let at = due(policy, tats, line.hold().until(), ask, &Sum::default());
                return Err(Standings { policy, tats, now, ask }.denied(DeniedKind::Paused, at));
            }
        }
        if !take(policy, tats, now, ask) {
            let at = due(policy, tats, now, ask, &Sum::default());
            return Err(Standings { policy, tats, now, ask }.denied(DeniedKind::Quota, at));
        }
        if let Some(line) = &mut entry.line {
            line.hold_mut().passed(now, interval(policy, ask));
        }
        Ok(())
    }

    /// Decides at once, or lets the request join the line.
    pub(crate) fn enter(&mut self, new: &Waiting, now: u64, waker: &Waker) -> (Entered, Spot) {
        let nowhere = Spot::Own(usize::MAX);
        let denied = match self.decide(&new.ask, new.spread, now) {
            Ok(()) => return (Entered::Admitted, nowhere),
            Err(denied) => denied,
        };
        let Some(spot) = self.locate(new.ask.key, new.spread, now) else {
            return (Entered::Denied(denied), nowhere);
        };
        if denied.kind() == DeniedKind::CostTooLarge {
            return (Entered::Denied(denied), nowhere);
        }
        let (policy, entry, tats) = self.at(spot, new.ask.tier, now);
        let (held, ahead, waiters) = entry.line.as_ref().map_or_else(Default::default, |line| {
            (line.hold().until(), line.ahead(new.rank), line.len())
        });
        let at = due(policy, tats, now.max(held), &new.ask, &ahead);
        let refused = |kind| {
            let standings = Standings { policy, tats: &*tats, now, ask: &new.ask };
            (Entered::Denied(standings.denied(kind, at)), nowhere)
        };
        if at > new.deadline {
            return refused(DeniedKind::WaitTooLong);
        }
        if waiters >= new.wait.queue {
            return refused(DeniedKind::QueueFull);
        }
        let line = entry.line.get_or_insert_default();
        line.join(new.rank, new.ask.cost, waker.clone());
        (Entered::Queued(line.is_head(new.rank).then_some(at)), spot)
    }

    /// Whether it is the turn of a request in line. With the answer comes whom to wake.
    pub(crate) fn turn(
        &mut self,
        waiting: &Waiting,
        shared: Option<usize>,
        now: u64,
        waker: &Waker,
    ) -> (Turn, Option<Waker>) {
        let ask = &waiting.ask;
        let Some(spot) = self.spot(ask.key, waiting.spread, shared) else {
            // An entry with waiters is not forgotten.
            return (Turn::Denied(Denied::new(DeniedKind::Unavailable, None)), None);
        };
        let (policy, entry, tats) = self.at(spot, ask.tier, now);
        let line = entry.line.get_or_insert_default();
        if !line.is_head(waiting.rank) {
            line.renew(waiting.rank, waker);
            if now > waiting.deadline {
                line.leave(waiting.rank);
                let at = due(policy, tats, now.max(line.hold().until()), ask, &Sum::default());
                let standings = Standings { policy, tats, now, ask };
                return (Turn::Denied(standings.denied(DeniedKind::WaitTooLong, at)), None);
            }
            return (Turn::NotYet(None), None);
        }
        let held = line.hold().until();
        // As of when the schedule has it: a timer that fires late must not cost rate.
        let at = due(policy, tats, held, ask, &Sum::default()).max(1);
        if at <= now && !is_too_large(policy, ask) {
            let moment = if now - at <= slack(policy) { at } else { now };
            if take(policy, tats, moment, ask) {
                line.hold_mut().passed(now, interval(policy, ask));
                line.leave(waiting.rank);
                return (Turn::Admitted, line.head());
            }
        }
        let at = due(policy, tats, now.max(held), ask, &Sum::default());
        if at > waiting.deadline || is_too_large(policy, ask) {
            line.leave(waiting.rank);
            let standings = Standings { policy, tats, now, ask };
            return (Turn::Denied(standings.denied(DeniedKind::WaitTooLong, at)), line.head());
        }
        line.renew(waiting.rank, waker);
        (Turn::NotYet(Some(at)), None)
    }

    /// A request leaves the line. Returns whom to wake.
    pub(crate) fn leave(&mut self, waiting: &Waiting, shared: Option<usize>) -> Option<Waker> {
        let spot = self.spot(waiting.ask.key, waiting.spread, shared)?;
        let line = self.raw(spot).0.line.as_mut()?;
        let was_head = line.is_head(waiting.rank);
        line.leave(waiting.rank);
        line.head().filter(|_| was_head)
    }

    /// Charges or refunds the difference. Returns whom to wake.
    pub(crate) fn settle(
        &mut self,
        ask: &Ask,
        actual: &Cost,
        spread: u64,
        now: u64,
    ) -> Option<Waker> {
        let spot = match self.locate(ask.key, spread, now) {
            Some(spot) => spot,
            // It was forgotten because every window is full: there is nothing to refund.
            None if actual.at_most(&ask.cost) == *actual => return None,
            None => self.make(ask.key, spread, ask.tier, now),
        };
        let (policy, entry, tats) = self.at(spot, ask.tier, now);
        for (meter, tat) in policy.meters().iter().zip(tats) {
            let (charged, actual) = (ask.cost.of(meter.unit()), actual.of(meter.unit()));
            *tat = match actual.checked_sub(charged) {
                Some(0) => *tat,
                Some(more) => meter.owe(*tat, now, more),
                None => meter.refund(*tat, charged - actual),
            };
        }
        entry.line.as_ref()?.head()
    }

    /// Pauses or lowers a key. Returns whom to wake.
    pub(crate) fn learn(
        &mut self,
        key: Key,
        tier: Tier,
        spread: u64,
        lesson: Lesson,
        now: u64,
    ) -> Option<Waker> {
        let spot = match self.locate(key, spread, now) {
            Some(spot) => spot,
            None => self.make(key, spread, tier, now),
        };
        let (policy, entry, tats) = self.at(spot, tier, now);
        match lesson {
            Lesson::Pause(pause) => {
                let line = entry.line.get_or_insert_default();
                line.hold_mut().pause(now, nanos(pause));
            }
            Lesson::Remaining(unit, left) => {
                let left = u32::try_from(left).unwrap_or(u32::MAX);
                for (meter, tat) in policy.meters().iter().zip(tats) {
                    if meter.unit() == unit {
                        *tat = meter.lower(*tat, now, left);
                    }
                }
            }
        }
        entry.line.as_ref()?.head()
    }

    /// What the windows of a key hold.
    pub(crate) fn peek(&mut self, ask: &Ask, spread: u64, now: u64) -> Snapshot {
        match self.locate(ask.key, spread, now) {
            Some(spot) => {
                let (policy, _, tats) = self.at(spot, ask.tier, now);
                snapshot(policy, tats, now, ask)
            }
            None => snapshot(&self.tiers[self.tier(ask.tier)], &FRESH, now, ask),
        }
    }

    /// Puts another policy in the place of one, and hands each key over with as much of its burst
    /// spent as it has. Calls `wake` with the first of each line.
    pub(crate) fn reconfigure(
        &mut self,
        tier: Tier,
        policy: &Policy,
        now: u64,
        mut wake: impl FnMut(Waker),
    ) {
        let Some(before) = self.tiers.get(tier.index()).cloned() else { return };
        for table in std::iter::once(&mut self.table).chain(&mut self.overflow) {
            for (entry, tats) in table.each().filter(|(entry, _)| entry.tier == tier) {
                convert(tats, &before, policy, now);
                if let Some(waker) = entry.line.as_ref().and_then(|line| line.head()) {
                    wake(waker);
                }
            }
        }
        self.tiers[tier.index()] = policy.clone();
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes() + self.overflow.as_ref().map_or(0, Table::bytes)
    }

    /// Finds the key's place. `None` if it is a new key, which was decided then: `Ok` if it was
    /// admitted.
    #[inline]
    fn place(&mut self, ask: &Ask, spread: u64, now: u64) -> Result<Option<Spot>, Denied> {
        if ask.cost == Cost::FREE {
            return Ok(None);
        }
        if let Some(spot) = self.locate(ask.key, spread, now) {
            return Ok(Some(spot));
        }
        let tier = self.tier(ask.tier);
        let mut tats = FRESH;
        let policy = &self.tiers[tier];
        if !take(policy, &mut tats, now, ask) {
            let at = due(policy, &tats, now, ask, &Sum::default());
            let standings = Standings { policy, tats: &FRESH, now, ask };
            return Err(standings.denied(DeniedKind::Quota, at));
        }
        let spot = self.make(ask.key, spread, ask.tier, now);
        if let Spot::Shared(_) = spot {
            return Ok(Some(spot));
        }
        let own = self.raw(spot).1;
        let windows = own.len();
        own.copy_from_slice(&tats[..windows]);
        Ok(None)
    }

    fn tier(&self, tier: Tier) -> usize {
        if tier.index() < self.tiers.len() { tier.index() } else { 0 }
    }

    fn slot(&self, spread: u64) -> usize {
        // The upper half: the lower one has chosen the shard.
        usize::try_from(spread >> 40).unwrap_or(0) % self.settings.overflow.max(1)
    }

    #[inline]
    fn locate(&mut self, key: Key, spread: u64, now: u64) -> Option<Spot> {
        if let Some(number) = self.table.find(key, spread) {
            return Some(Spot::Own(number));
        }
        // Whoever shares windows goes on doing so until they are full again.
        let slot = self.slot(spread);
        let (entry, tats) = self.overflow.as_mut()?.entry(slot);
        let busy = entry.line.as_ref().is_some_and(|line| !line.is_idle(now));
        (busy || tats.iter().any(|tat| *tat > now)).then_some(Spot::Shared(slot))
    }

    /// Where a request joined a line.
    fn spot(&self, key: Key, spread: u64, shared: Option<usize>) -> Option<Spot> {
        shared.map(Spot::Shared).or_else(|| self.table.find(key, spread).map(Spot::Own))
    }

    fn make(&mut self, key: Key, spread: u64, tier: Tier, now: u64) -> Spot {
        self.table.sweep(now, SWEEP.0);
        if self.table.len() >= self.settings.keys {
            self.table.sweep(now, SWEEP.1);
        }
        let tier = if tier.index() < self.tiers.len() { tier } else { Tier::FIRST };
        if self.table.len() < self.settings.keys {
            return Spot::Own(self.table.insert(key, spread, tier));
        }
        let (seeds, Room { overflow, stride, .. }) = (self.seeds, self.settings);
        self.overflow.get_or_insert_with(|| {
            let mut table = Table::new(stride, seeds);
            for slot in 0..overflow.max(1) {
                let key = Key::of_bits(slot as u128);
                table.insert(key, key.spread(seeds), Tier::FIRST);
            }
            table
        });
        Spot::Shared(self.slot(spread))
    }

    fn raw(&mut self, spot: Spot) -> (&mut Entry, &mut [u64]) {
        match (spot, &mut self.overflow) {
            (Spot::Shared(slot), Some(table)) => table.entry(slot),
            (Spot::Own(number) | Spot::Shared(number), _) => self.table.entry(number),
        }
    }

    /// The windows of a key, under the policy of this tier.
    #[inline]
    fn at(&mut self, spot: Spot, tier: Tier, now: u64) -> (&Policy, &mut Entry, &mut [u64]) {
        let tier = if tier.index() < self.tiers.len() { tier } else { Tier::FIRST };
        let policy = &self.tiers[tier.index()];
        let (entry, tats) = match (spot, &mut self.overflow) {
            (Spot::Shared(slot), Some(table)) => table.entry(slot),
            (Spot::Own(number) | Spot::Shared(number), _) => self.table.entry(number),
        };
        if entry.tier != tier {
            convert(tats, &self.tiers[entry.tier.index()], policy, now);
            entry.tier = tier;
        }
        (policy, entry, tats)
    }
}

#[cold]
fn convert(tats: &mut [u64], before: &Policy, after: &Policy, now: u64) {
    let mut all = FRESH;
    all[..tats.len()].copy_from_slice(tats);
    after.convert(&mut all, before, now);
    let windows = tats.len();
    tats.copy_from_slice(&all[..windows]);
}
