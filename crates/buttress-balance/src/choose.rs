//! The choice of an endpoint, and the care for those that are out or held.

use std::sync::{Arc, PoisonError};

use crate::{
    Ask, Candidate, Event, Lease, Moment, Panic, Pick, PickContext, Unavailable,
    ask::Back,
    balancer::Core,
    lease::Kind,
    pick::LevelTerms,
    table::{Level, Table},
};

/// After how many milliseconds it is looked again whether a backup is needed.
const LOOK: u64 = 1_000;
/// The success rate of an endpoint to which a failed call may go again while others are full.
const DOES_WELL: f32 = 0.8;

impl<P: Pick> Core<P> {
    /// The same as [`Balancer::lease`], for whoever has no copy of the table at hand.
    pub(crate) fn lease(&self, ask: &Ask<'_>, now: Moment) -> Result<Lease, Unavailable> {
        if let Some(probe) = self.catch_up(ask, now) {
            return Ok(probe);
        }
        let (table, seed) = (self.table.load(), fastrand::u64(..));
        match ask.back {
            Some(back) => self.choose_again(&table, ask, back, seed, now),
            None => self.choose(&table, ask, seed, now),
        }
    }

    /// Brings the table up to date and looks after what is due; maybe the call is to try an ejected
    /// endpoint.
    #[cold]
    pub(crate) fn catch_up(&self, ask: &Ask<'_>, now: Moment) -> Option<Lease> {
        self.refresh(now);
        if !self.set.pulse().is_due(now) {
            return None;
        }
        let probe = self.attend(&self.table.load(), ask, now);
        self.refresh(now);
        probe
    }

    fn refresh(&self, now: Moment) {
        if self.table.load().version != self.set.pulse().version() {
            self.rebuild(now);
        }
    }

    /// Brings the table up to date, unless another thread did in the meantime.
    fn rebuild(&self, now: Moment) {
        let _one = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.table.load();
        let version = self.set.pulse().version();
        if before.version == version {
            return;
        }
        let members = self.set.candidates();
        if let Some(learned) = &self.learned {
            members.iter().for_each(|member| learned.begin(member.node()));
        }
        let table = Table::build(version, members, &self.policy, &self.health, now);
        let (was, is) = (before.is_panic(), table.is_panic());
        if was != is {
            tracing::warn!(on = is, "every endpoint is out");
            self.set.pulse().tell(|| Event::Panic { on: is });
        }
        self.table.store(Arc::new(table));
    }

    /// Looks after holds and ejections whose time has come; maybe the call is to try one of them.
    fn attend(&self, table: &Table<P::Table>, ask: &Ask<'_>, now: Moment) -> Option<Lease> {
        let pulse = self.set.pulse();
        pulse.attend();
        let row = table.row();
        let (mut probe, mut changed) = (None, false);
        for candidate in table.members.iter().filter(|candidate| candidate.weight() > 0) {
            let node = candidate.node();
            changed |= node.hold_ended(now);
            if let Some(until) = node.next_end_of_hold(now) {
                pulse.due_at(until);
            }
            if node.is_down() {
                continue;
            }
            let Some(left) = self.due_in(candidate, now) else { continue };
            // A backup that nobody needs is not tried; whether somebody does is seen to again.
            if row.is_some_and(|row| candidate.priority > row) && table.has_room() {
                pulse.due_at(now.as_millis().saturating_add(left.max(LOOK)));
                continue;
            }
            if left > 0 {
                pulse.due_at(now.as_millis().saturating_add(left));
            } else if probe.is_none() {
                probe = self.probe(candidate, ask, now);
                if probe.is_none() {
                    pulse.due_at(now.as_millis().saturating_add(1));
                }
            } else {
                pulse.due_at(0);
            }
        }
        if changed {
            pulse.changed();
        }
        probe
    }

    /// In how many milliseconds a call may try it, if it is ejected.
    fn due_in(&self, candidate: &Candidate, now: Moment) -> Option<u64> {
        let health = candidate.node().health();
        if self.health.exact {
            health.exact_due_in(now.as_millis())
        } else {
            health.due_in(now.as_millis(), self.patience())
        }
    }

    /// How long a call may try an ejected endpoint before another one may, in milliseconds.
    fn patience(&self) -> u64 {
        crate::clock::millis(self.health.fail_timeout)
    }

    fn probe(&self, candidate: &Candidate, ask: &Ask<'_>, now: Moment) -> Option<Lease> {
        let node = candidate.node();
        let tried = ask.tried.is_some_and(|tried| tried.has_tried(candidate.id().number()));
        let health = node.health();
        let cautious = !ask.replayable
            && !self.health.exact
            && health.overdue(now.as_millis()) < self.patience() / 2;
        if tried || cautious || node.is_full() {
            return None;
        }
        let epoch = if self.health.exact {
            health.exact_probe(now.as_millis(), self.patience())
        } else {
            health.probe(now.as_millis(), self.patience())
        }?;
        match Lease::take(candidate, Kind::Probe, now) {
            Some(mut lease) => {
                lease.epoch = epoch;
                // If nothing comes of it.
                let next = self.due_in(candidate, now).unwrap_or(0);
                node.pulse().due_at(now.as_millis().saturating_add(next));
                Some(lease)
            }
            None => {
                health.give_back(epoch);
                None
            }
        }
    }

    #[inline(always)]
    pub(crate) fn choose(
        &self,
        table: &Table<P::Table>,
        ask: &Ask<'_>,
        seed: u64,
        now: Moment,
    ) -> Result<Lease, Unavailable> {
        match self.choose_strictly(table, ask, seed, now) {
            Err(reason) if ask.lenient && ask.tried.is_some() => {
                self.choose_leniently(table, ask, seed, now, reason)
            }
            chosen => chosen,
        }
    }

    /// One that was tried, where no other is to be had: any, if all were tried; else one that does well
    /// apart from that and has room, which serves better than a wait for the others.
    #[cold]
    fn choose_leniently(
        &self,
        table: &Table<P::Table>,
        ask: &Ask<'_>,
        seed: u64,
        now: Moment,
        reason: Unavailable,
    ) -> Result<Lease, Unavailable> {
        match reason {
            Unavailable::Tried => {
                self.choose_strictly(table, &Ask { tried: None, ..*ask }, seed, now)
            }
            Unavailable::Full => self.choose_well(table, now).ok_or(reason),
            _ => Err(reason),
        }
    }

    /// The one with the fewest calls in flight of those that do well and have room, tried or not.
    fn choose_well(&self, table: &Table<P::Table>, now: Moment) -> Option<Lease> {
        let does_well = |candidate: &Candidate| candidate.success_rate(now) >= DOES_WELL;
        self.least_busy(table, does_well, now)
    }

    fn least_busy(
        &self,
        table: &Table<P::Table>,
        suits: impl Fn(&Candidate) -> bool,
        now: Moment,
    ) -> Option<Lease> {
        let free = table.fit().filter(|candidate| !candidate.node().is_full());
        let suitable = free.filter(|candidate| suits(candidate));
        self.take(suitable.min_by_key(|candidate| candidate.in_flight())?, Kind::Plain, now)
    }

    /// For a call that waits in line and may go back to where it was refused.
    #[cold]
    fn choose_again(
        &self,
        table: &Table<P::Table>,
        ask: &Ask<'_>,
        back: Back,
        seed: u64,
        now: Moment,
    ) -> Result<Lease, Unavailable> {
        if back.last {
            let asked_until = |candidate: &Candidate| candidate.node().asked_until();
            let left_alone = |candidate: &Candidate| asked_until(candidate) <= now;
            let found = self.choose_well(table, now);
            return found.or_else(|| self.least_busy(table, left_alone, now)).ok_or_else(|| {
                let until = table.members.iter().map(asked_until).filter(|until| *until > now);
                until.min().map_or(Unavailable::Full, Unavailable::Held)
            });
        }
        match self.choose_strictly(table, ask, seed, now) {
            Err(Unavailable::Tried) if now < back.from => Err(Unavailable::Held(back.from)),
            Err(reason) => self.choose_leniently(table, ask, seed, now, reason),
            chosen => chosen,
        }
    }

    #[inline(always)]
    fn choose_strictly(
        &self,
        table: &Table<P::Table>,
        ask: &Ask<'_>,
        seed: u64,
        now: Moment,
    ) -> Result<Lease, Unavailable> {
        let first = table.first.as_ref();
        match first.and_then(|level| self.take_from(level, Kind::Plain, ask, seed, now)) {
            Some(lease) => Ok(lease),
            None => self.choose_further(table, ask, seed, now),
        }
    }

    #[cold]
    fn choose_further(
        &self,
        table: &Table<P::Table>,
        ask: &Ask<'_>,
        seed: u64,
        now: Moment,
    ) -> Result<Lease, Unavailable> {
        let mut further = table.further.iter();
        let taken = further.find_map(|level| self.take_from(level, Kind::Plain, ask, seed, now));
        taken.map_or_else(|| self.last_resort(table, ask, seed, now), Ok)
    }

    /// Someone who is held or out, if nobody is fit; or why not.
    #[cold]
    fn last_resort(
        &self,
        table: &Table<P::Table>,
        ask: &Ask<'_>,
        seed: u64,
        now: Moment,
    ) -> Result<Lease, Unavailable> {
        if table.first.is_some() {
            return Err(refused(ask, table.fit()));
        }
        if let Some(level) = &table.held {
            let until = level.candidates.iter().filter_map(|c| c.node().held_until(now)).min();
            let until = until.map_or(now, Moment::from_millis);
            if !ask.insistent && until > now {
                return Err(Unavailable::Held(until));
            }
            let lease = self.take_from(level, Kind::Plain, ask, seed, now);
            return lease.ok_or_else(|| refused(ask, &level.candidates));
        }
        let Some(level) = &table.out else { return Err(Unavailable::Empty) };
        if self.health.panic == Panic::FailFast {
            return Err(Unavailable::Ejected);
        }
        let lease = self.take_from(level, Kind::Panic, ask, seed, now);
        lease.ok_or_else(|| refused(ask, &level.candidates))
    }

    #[inline(always)]
    fn take_from(
        &self,
        level: &Level<P::Table>,
        kind: Kind,
        ask: &Ask<'_>,
        seed: u64,
        now: Moment,
    ) -> Option<Lease> {
        let slow_start = if now.as_millis() < level.warm_until {
            crate::clock::millis(self.health.slow_start)
        } else {
            0
        };
        let terms =
            LevelTerms { key: ask.key, tried: ask.tried, limited: level.limited, slow_start };
        let cx = PickContext::of_level(&level.candidates, now, seed, terms);
        // Another thread may take the last place between the choice and the count.
        for _ in 0..3 {
            let index = self.policy.pick(&level.table, &cx)?;
            if ask.tried.is_some() && !cx.allowed(index) {
                break;
            }
            let candidate = level.candidates.get(index)?;
            if let Some(lease) = self.take(candidate, kind, now) {
                return Some(lease);
            }
        }
        self.take_any(&cx, kind, now)
    }

    /// Whoever is allowed, beginning anywhere.
    #[cold]
    fn take_any(&self, cx: &PickContext<'_>, kind: Kind, now: Moment) -> Option<Lease> {
        let candidates = cx.candidates();
        let start = cx.below(candidates.len());
        let (first, second) = candidates.split_at(start);
        let mut others = second.iter().chain(first).zip((start..candidates.len()).chain(0..start));
        others.find_map(|(candidate, index)| {
            cx.allowed(index).then(|| self.take(candidate, kind, now)).flatten()
        })
    }

    #[inline(always)]
    fn take(&self, candidate: &Candidate, kind: Kind, now: Moment) -> Option<Lease> {
        let lease = Lease::take(candidate, kind, now)?;
        if self.health.exact {
            candidate.node().health().exact_picked(now.as_millis(), self.patience());
        }
        Some(lease)
    }
}

/// Why none of the candidates was taken: all of them were tried, or some had no place free.
fn refused<'c>(ask: &Ask<'_>, candidates: impl IntoIterator<Item = &'c Candidate>) -> Unavailable {
    let tried = |candidate: &Candidate| {
        ask.tried.is_some_and(|tried| tried.has_tried(candidate.id().number()))
    };
    if candidates.into_iter().all(tried) { Unavailable::Tried } else { Unavailable::Full }
}
