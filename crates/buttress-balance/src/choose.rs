//! The choice of an endpoint.

use crate::{
    Ask, Candidate, Lease, Moment, Panic, Pick, PickContext, Unavailable,
    ask::Back,
    balancer::Core,
    clock::millis,
    lease::Kind,
    pick::LevelTerms,
    table::{Level, Table},
};

/// The success rate of an endpoint to which a failed call may go again while others are full.
const DOES_WELL: f32 = 0.8;

impl<P: Pick> Core<P> {
    /// The same as [`Balancer::lease`](crate::Balancer::lease), for whoever has no copy of the table at
    /// hand, and for calls that may go back.
    pub(crate) fn lease(&self, ask: &Ask<'_>, now: Moment) -> Result<Lease, Unavailable> {
        if let Some(probe) = self.catch_up(ask, now) {
            return Ok(probe);
        }
        let choice =
            Choice { core: self, table: &self.table.load(), ask, seed: fastrand::u64(..), now };
        match ask.back {
            Some(back) => choice.again(back),
            None => choice.make(),
        }
    }
}

/// One choice: what it is made by, and for whom.
pub(crate) struct Choice<'c, P: Pick> {
    pub(crate) core: &'c Core<P>,
    pub(crate) table: &'c Table<P::Table>,
    pub(crate) ask: &'c Ask<'c>,
    pub(crate) seed: u64,
    pub(crate) now: Moment,
}

impl<P: Pick> Choice<'_, P> {
    #[inline(always)]
    pub(crate) fn make(&self) -> Result<Lease, Unavailable> {
        match self.strictly() {
            Err(reason) if self.ask.lenient && self.ask.tried.is_some() => self.leniently(reason),
            chosen => chosen,
        }
    }

    /// One that was tried, where no other is to be had: any, if all were tried; else one that does well
    /// apart from that and has room, which serves better than a wait for the others.
    #[cold]
    fn leniently(&self, reason: Unavailable) -> Result<Lease, Unavailable> {
        match reason {
            Unavailable::Tried => {
                let ask = &Ask { tried: None, ..*self.ask };
                Choice { ask, ..*self }.strictly()
            }
            Unavailable::Full => self.well().ok_or(reason),
            _ => Err(reason),
        }
    }

    /// For a call that waits in line and may go back to where it was refused.
    #[cold]
    fn again(&self, back: Back) -> Result<Lease, Unavailable> {
        if back.last {
            return self.last_try();
        }
        match self.strictly() {
            Err(Unavailable::Tried) if self.now < back.from => Err(Unavailable::Held(back.from)),
            Err(reason) => self.leniently(reason),
            chosen => chosen,
        }
    }

    /// One that does well, or that nobody has to leave alone.
    fn last_try(&self) -> Result<Lease, Unavailable> {
        let asked_until = |candidate: &Candidate| candidate.node().asked_until();
        let left_alone = |candidate: &Candidate| asked_until(candidate) <= self.now;
        self.well().or_else(|| self.least_busy(left_alone)).ok_or_else(|| {
            let later = self.table.members.iter().map(asked_until).filter(|it| *it > self.now);
            later.min().map_or(Unavailable::Full, Unavailable::Held)
        })
    }

    /// The one with the fewest calls in flight of those that do well and have room, tried or not; none
    /// that is spared still, if only for some caller's sake: this may be the one.
    fn well(&self) -> Option<Lease> {
        self.least_busy(|candidate| {
            candidate.success_rate(self.now) >= DOES_WELL
                && candidate.node().next_end_of_hold(self.now).is_none()
        })
    }

    /// Backups, and those that are spared, only if no other one suits.
    fn least_busy(&self, suits: impl Fn(&Candidate) -> bool) -> Option<Lease> {
        let suitable = |it: &&Candidate| !it.node().is_full() && suits(it);
        let of_level = |level: &Level<P::Table>| {
            let suitable = level.candidates.iter().filter(suitable);
            self.take(suitable.min_by_key(|candidate| candidate.in_flight())?, Kind::Plain)
        };
        self.table.levels().find_map(of_level)
    }

    #[inline(always)]
    fn strictly(&self) -> Result<Lease, Unavailable> {
        let first = self.table.first.as_ref();
        match first.and_then(|level| self.take_from(level, Kind::Plain)) {
            Some(lease) => Ok(lease),
            None => self.further(),
        }
    }

    #[cold]
    fn further(&self) -> Result<Lease, Unavailable> {
        let mut further = self.table.further.iter();
        let taken = further.find_map(|level| self.take_from(level, Kind::Plain));
        taken.map_or_else(|| self.last_resort(), Ok)
    }

    /// Someone who is held or out, if nobody is fit; or why not.
    #[cold]
    fn last_resort(&self) -> Result<Lease, Unavailable> {
        if self.table.first.is_some() {
            return Err(self.refused(self.table.fit()));
        }
        if let Some(level) = &self.table.held {
            let until = level.candidates.iter().filter_map(|c| c.node().held_until(self.now)).min();
            let until = until.map_or(self.now, Moment::from_millis);
            if !self.ask.insistent && until > self.now {
                return Err(Unavailable::Held(until));
            }
            let lease = self.take_from(level, Kind::Plain);
            return lease.ok_or_else(|| self.refused(&level.candidates));
        }
        let Some(level) = &self.table.out else { return Err(Unavailable::Empty) };
        if self.core.health.panic == Panic::FailFast {
            return Err(Unavailable::Ejected);
        }
        let lease = self.take_from(level, Kind::Panic);
        lease.ok_or_else(|| self.refused(&level.candidates))
    }

    #[inline(always)]
    fn take_from(&self, level: &Level<P::Table>, kind: Kind) -> Option<Lease> {
        let warms = self.now.as_millis() < level.warm_until;
        let slow_start = if warms { millis(self.core.health.slow_start) } else { 0 };
        let Ask { key, tried, .. } = *self.ask;
        let terms = LevelTerms { key, tried, limited: level.limited, slow_start };
        let cx = PickContext::of_level(&level.candidates, self.now, self.seed, terms);
        // Another thread may take the last place between the choice and the count.
        for _ in 0..3 {
            let index = self.core.policy.pick(&level.table, &cx)?;
            if tried.is_some() && !cx.allowed(index) {
                break;
            }
            let candidate = level.candidates.get(index)?;
            if let Some(lease) = self.take(candidate, kind) {
                return Some(lease);
            }
        }
        self.take_any(&cx, kind)
    }

    /// Whoever is allowed, beginning anywhere.
    #[cold]
    fn take_any(&self, cx: &PickContext<'_>, kind: Kind) -> Option<Lease> {
        let candidates = cx.candidates();
        let start = cx.below(candidates.len());
        let (first, second) = candidates.split_at(start);
        let mut others = second.iter().chain(first).zip((start..candidates.len()).chain(0..start));
        others.find_map(|(candidate, index)| {
            cx.allowed(index).then(|| self.take(candidate, kind)).flatten()
        })
    }

    #[inline(always)]
    fn take(&self, candidate: &Candidate, kind: Kind) -> Option<Lease> {
        let lease = Lease::take(candidate, kind, self.now)?;
        if self.core.health.exact {
            let health = candidate.node().health();
            health.exact_picked(self.now.as_millis(), self.core.patience());
        }
        Some(lease)
    }

    /// Why none of the candidates was taken: all of them were tried, or some had no place free.
    fn refused<'a>(&self, candidates: impl IntoIterator<Item = &'a Candidate>) -> Unavailable {
        let tried = |candidate: &Candidate| {
            self.ask.tried.is_some_and(|tried| tried.has_tried(candidate.id().number()))
        };
        if candidates.into_iter().all(tried) { Unavailable::Tried } else { Unavailable::Full }
    }
}
