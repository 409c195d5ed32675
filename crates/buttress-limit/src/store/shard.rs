//! One shard: the decisions about its keys, made under its lock.

use std::{sync::Arc, task::Waker};

use crate::{
    cost::{Cost, Sum},
    key::Key,
    limiter::{Ask, Denied, DeniedKind, Tier},
    policy::Policy,
    snapshot::Snapshot,
    store::{
        asked::{Entered, Placed, Room, Spot, Turn, Waiting},
        judge::{Spent, Standings, due, interval, is_too_large, slack, snapshot, take},
        lowered::Places,
        table::{FRESH, Mark, Own, Table},
        terms::Terms,
    },
};

/// How many entries are looked at when a key comes that is not known yet; and how many if there is
/// no room for it.
const SWEEP: (usize, usize) = (4, 32);

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Shard {
    // What a decision reads comes first, for the sake of the line of the cache in which it is.
    /// The same for all shards, until they are told of another policy.
    pub(super) tiers: Arc<[Policy]>,
    pub(super) table: Table,
    /// Keys that find the table full share these. Made when the first one does.
    pub(super) overflow: Option<Table>,
    settings: Room,
    seeds: [u64; 2],
    pub(super) places: Places,
}

/// What is quickly seen of a request. The numbers are those of its key's entry.
pub(crate) enum Straight {
    Fits(usize),
    Spent(usize),
    /// There is more to be looked at.
    No,
}

/// What is noted of an admission: what a refund needs, or nothing.
pub(crate) trait Noted {
    fn of(table: &mut Table, number: usize) -> Self;
    fn from(mark: Mark) -> Self;
}

impl Noted for Mark {
    fn of(table: &mut Table, number: usize) -> Self {
        table.mark(number)
    }

    fn from(mark: Mark) -> Self {
        mark
    }
}

impl Noted for () {
    fn of(_: &mut Table, _: usize) -> Self {}

    fn from(_: Mark) -> Self {}
}

impl Shard {
    pub(crate) fn new(tiers: Arc<[Policy]>, room: Room, seeds: [u64; 2]) -> Self {
        let table = Table::new(room.stride, seeds);
        Self { tiers, table, overflow: None, settings: room, seeds, places: Places::default() }
    }

    /// Decides at once.
    #[inline]
    pub(crate) fn decide(&mut self, ask: &Ask, spread: u64, now: u64) -> Result<Mark, Denied> {
        match self.straight(ask, spread, now) {
            Straight::Fits(number) => Ok(self.table.mark(number)),
            Straight::Spent(number) => Err(self.spent(number, ask, now).denied()),
            Straight::No => self.weigh(ask, spread, now),
        }
    }

    /// Decides at once, and says what is left.
    #[inline]
    pub(crate) fn decide_and_peek<N: Noted>(
        &mut self,
        ask: &Ask,
        spread: u64,
        now: u64,
    ) -> Result<(N, Snapshot), Denied> {
        match self.straight(ask, spread, now) {
            Straight::Fits(number) => {
                let noted = N::of(&mut self.table, number);
                let tats = &*self.table.own(number).tats;
                Ok((noted, snapshot(&self.tiers[ask.tier.index()], tats, now, ask)))
            }
            Straight::Spent(number) => Err(self.spent(number, ask, now).denied()),
            Straight::No => {
                let mark = self.weigh(ask, spread, now)?;
                Ok((N::from(mark), self.peek(ask, spread, now)))
            }
        }
    }

    /// What most requests take: their key is known and has nothing about it.
    #[inline(always)]
    pub(crate) fn straight(&mut self, ask: &Ask, spread: u64, now: u64) -> Straight {
        // The policy is that of the request, which has not to be waited for, and not of the entry.
        let Some(policy) = self.tiers.get(ask.tier.index()) else { return Straight::No };
        let Some(number) = self.table.find(ask.key, spread) else { return Straight::No };
        let Own { entry, tats, .. } = self.table.own(number);
        if !entry.is_plain(ask.tier) {
            return Straight::No;
        }
        if take(policy, tats, now, ask) { Straight::Fits(number) } else { Straight::Spent(number) }
    }

    #[inline(always)]
    pub(crate) fn spent(&mut self, number: usize, ask: &Ask, now: u64) -> Spent {
        let policy = &self.tiers[self.tier(ask.tier)];
        let tats = &*self.table.own(number).tats;
        Spent::of(policy, tats, now, ask)
    }

    /// Decides where there is more to be looked at, or to be said.
    #[cold]
    pub(crate) fn weigh(&mut self, ask: &Ask, spread: u64, now: u64) -> Result<Mark, Denied> {
        let spot = match self.place(ask, spread, now)? {
            Placed::Free => return Ok(Mark::default()),
            Placed::Taken(spot) => return Ok(self.mark(spot)),
            Placed::At(spot) => spot,
        };
        let (terms, Own { entry, tats, lines }) = self.at(spot, ask.tier, now);
        let (policy, whole, ask) = (&*terms, ask, &terms.part(ask));
        if let Some(line) = lines.of(entry) {
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
        if !terms.take(tats, now, whole) {
            let at = due(policy, tats, now, ask, &Sum::default());
            return Err(Standings { policy, tats, now, ask }.denied(DeniedKind::Quota, at));
        }
        if lines.of(entry).is_some_and(|line| line.is_idle(now)) {
            lines.end(entry);
        }
        if let Some(line) = lines.of_mut(entry) {
            line.hold_mut().passed(now, interval(policy, ask));
        }
        Ok(self.mark(spot))
    }

    /// Decides at once, or lets the request join the line.
    pub(crate) fn enter(&mut self, new: &Waiting, now: u64, waker: &Waker) -> (Entered, Spot) {
        let nowhere = Spot::Own(usize::MAX);
        let denied = match self.decide(&new.ask, new.spread, now) {
            Ok(mark) => return (Entered::Admitted(mark), nowhere),
            Err(denied) => denied,
        };
        let Some(spot) = self.locate(new.ask.key, new.spread, now) else {
            return (Entered::Denied(denied), nowhere);
        };
        if denied.kind() == DeniedKind::CostTooLarge {
            return (Entered::Denied(denied), nowhere);
        }
        let (terms, Own { entry, tats, lines }) = self.at(spot, new.ask.tier, now);
        let (policy, ask) = (&*terms, &terms.part(&new.ask));
        let (held, ahead, waiters) = lines.of(entry).map_or_else(Default::default, |line| {
            (line.hold().until(), line.ahead(new.rank), line.len())
        });
        let at = due(policy, tats, now.max(held), ask, &ahead);
        let refused = |kind| {
            let standings = Standings { policy, tats: &*tats, now, ask };
            (Entered::Denied(standings.denied(kind, at)), nowhere)
        };
        if at > new.deadline {
            return refused(DeniedKind::WaitTooLong);
        }
        if waiters >= new.wait.queue {
            return refused(DeniedKind::QueueFull);
        }
        let line = lines.make(entry);
        line.join(new.rank, new.ask.cost, waker.clone());
        let at = at.min(line.changes());
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
        let (terms, Own { entry, tats, lines }) = self.at(spot, ask.tier, now);
        let (policy, whole, ask) = (&*terms, ask, &terms.part(ask));
        let line = lines.make(entry);
        if !line.is_head(waiting.rank) {
            let from = now.max(line.hold().until());
            let at = due(policy, tats, from, ask, &line.ahead(waiting.rank));
            if at > waiting.deadline {
                line.leave(waiting.rank);
                let standings = Standings { policy, tats, now, ask };
                return (Turn::Denied(standings.denied(DeniedKind::WaitTooLong, at)), None);
            }
            line.renew(waiting.rank, waker);
            return (Turn::NotYet(None), None);
        }
        let held = line.hold().until();
        // As of when the schedule has it: a timer that fires late must not cost rate.
        let at = due(policy, tats, held, ask, &Sum::default()).max(1);
        if at <= now && !is_too_large(policy, ask) {
            let moment = if now - at <= slack(policy) { at } else { now };
            if terms.take(tats, moment, whole) {
                line.hold_mut().passed(now, interval(policy, ask));
                line.leave(waiting.rank);
                let head = line.head();
                return (Turn::Admitted(self.mark(spot)), head);
            }
        }
        let at = due(policy, tats, now.max(held), ask, &Sum::default());
        if at > waiting.deadline || is_too_large(policy, ask) {
            line.leave(waiting.rank);
            let standings = Standings { policy, tats, now, ask };
            return (Turn::Denied(standings.denied(DeniedKind::WaitTooLong, at)), line.head());
        }
        line.renew(waiting.rank, waker);
        // A lowered key gets more at moments of which nobody tells those who wait.
        (Turn::NotYet(Some(at.min(line.changes()))), None)
    }

    /// A request leaves the line. Returns whom to wake.
    pub(crate) fn leave(&mut self, waiting: &Waiting, shared: Option<usize>) -> Option<Waker> {
        let spot = self.spot(waiting.ask.key, waiting.spread, shared)?;
        let Own { entry, lines, .. } = self.own(spot);
        let line = lines.of_mut(entry)?;
        let was_head = line.is_head(waiting.rank);
        line.leave(waiting.rank);
        line.head().filter(|_| was_head)
    }

    /// What the windows of a key hold.
    pub(crate) fn peek(&mut self, ask: &Ask, spread: u64, now: u64) -> Snapshot {
        match self.locate(ask.key, spread, now) {
            Some(spot) => {
                let (terms, own) = self.at(spot, ask.tier, now);
                snapshot(&terms, own.tats, now, &terms.part(ask))
            }
            None => snapshot(&self.tiers[self.tier(ask.tier)], &FRESH, now, ask),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes() + self.overflow.as_ref().map_or(0, Table::bytes)
    }

    /// Finds the key's place. A new key is decided at once, so that a denial leaves none behind.
    #[inline]
    fn place(&mut self, ask: &Ask, spread: u64, now: u64) -> Result<Placed, Denied> {
        if ask.cost == Cost::FREE {
            return Ok(Placed::Free);
        }
        if let Some(spot) = self.locate(ask.key, spread, now) {
            return Ok(Placed::At(spot));
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
            return Ok(Placed::At(spot));
        }
        let own = self.own(spot).tats;
        let windows = own.len();
        own.copy_from_slice(&tats[..windows]);
        Ok(Placed::Taken(spot))
    }

    #[inline]
    fn mark(&mut self, spot: Spot) -> Mark {
        let (table, number) = self.table(spot);
        table.mark(number)
    }

    pub(super) fn tier(&self, tier: Tier) -> usize {
        if tier.index() < self.tiers.len() { tier.index() } else { 0 }
    }

    fn slot(&self, spread: u64) -> usize {
        // Beyond the bits that have chosen the shard.
        usize::try_from(spread >> 40).unwrap_or(0) % self.settings.overflow.max(1)
    }

    #[inline]
    pub(super) fn locate(&mut self, key: Key, spread: u64, now: u64) -> Option<Spot> {
        if let Some(number) = self.table.find(key, spread) {
            return Some(Spot::Own(number));
        }
        // Whoever shares windows goes on doing so until they are full again.
        let slot = self.slot(spread);
        let Own { entry, tats, lines } = self.overflow.as_mut()?.own(slot);
        let busy = lines.of(entry).is_some_and(|line| !line.is_idle(now));
        (busy || tats.iter().any(|tat| *tat > now)).then_some(Spot::Shared(slot))
    }

    /// Where a request joined a line.
    fn spot(&self, key: Key, spread: u64, shared: Option<usize>) -> Option<Spot> {
        shared.map(Spot::Shared).or_else(|| self.table.find(key, spread).map(Spot::Own))
    }

    pub(super) fn make(&mut self, key: Key, spread: u64, tier: Tier, now: u64) -> Spot {
        self.table.sweep(now, SWEEP.0);
        if self.table.len() >= self.settings.keys {
            self.table.sweep(now, SWEEP.1);
        }
        let tier = if tier.index() < self.tiers.len() { tier } else { Tier::FIRST };
        if self.table.len() < self.settings.keys {
            return Spot::Own(self.table.insert(key, spread, tier));
        }
        let (seeds, Room { overflow, stride, .. }) = (self.seeds, self.settings);
        self.overflow.get_or_insert_with(|| Table::shared(stride, seeds, overflow.max(1)));
        Spot::Shared(self.slot(spread))
    }

    #[inline]
    pub(super) const fn table(&mut self, spot: Spot) -> (&mut Table, usize) {
        match (spot, &mut self.overflow) {
            (Spot::Shared(slot), Some(table)) => (table, slot),
            (Spot::Own(number) | Spot::Shared(number), _) => (&mut self.table, number),
        }
    }

    pub(super) fn own(&mut self, spot: Spot) -> Own<'_> {
        let (table, number) = self.table(spot);
        table.own(number)
    }

    /// The windows of a key, under what holds for it of the policy of this tier.
    #[inline]
    pub(super) fn at(&mut self, spot: Spot, tier: Tier, now: u64) -> (Terms<'_>, Own<'_>) {
        let tier = if tier.index() < self.tiers.len() { tier } else { Tier::FIRST };
        let Own { entry, lines, .. } = self.own(spot);
        if entry.tier != tier || lines.of(entry).is_some_and(|line| line.is_due(now)) {
            self.turn_over(spot, tier, now);
        }
        let base = &self.tiers[tier.index()];
        let (table, number) = match (spot, &mut self.overflow) {
            (Spot::Shared(slot), Some(table)) => (table, slot),
            (Spot::Own(number) | Spot::Shared(number), _) => (&mut self.table, number),
        };
        let own = table.own(number);
        let lowered = own.lines.lowered(own.entry).cloned();
        (Terms { base, lowered }, own)
    }
}

#[cold]
pub(super) fn convert(tats: &mut [u64], before: &Policy, after: &Policy, now: u64) {
    let mut all = FRESH;
    all[..tats.len()].copy_from_slice(tats);
    after.convert(&mut all, before, now);
    let windows = tats.len();
    tats.copy_from_slice(&all[..windows]);
}
