//! What becomes of a key besides being charged: settled, taught, put under another policy.

use std::{sync::Arc, task::Waker};

use crate::{
    clock::nanos,
    cost::Cost,
    key::Key,
    limiter::{Allowance, Ask, Lesson, Tier},
    policy::Policy,
    store::{
        asked::Spot,
        line::Line,
        lowered::{Lowered, says_less},
        shard::{Shard, convert},
        table::{Mark, Own},
    },
};

impl Shard {
    /// Charges or refunds the difference. Returns whom to wake.
    pub(crate) fn settle(
        &mut self,
        (ask, mark): (&Ask, &Mark),
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
        let policy = self.at(spot, ask.tier, now).0.clone();
        let (table, number) = self.table(spot);
        for (window, meter) in policy.meters().iter().enumerate() {
            let (charged, actual) = (ask.cost.of(meter.unit()), actual.of(meter.unit()));
            match actual.checked_sub(charged) {
                Some(0) => {}
                Some(more) => {
                    let tat = &mut table.own(number).tats[window];
                    *tat = meter.owe(*tat, now, more);
                }
                None => table.refund(number, window, meter.time(charged - actual), mark, now),
            }
        }
        let Own { entry, lines, .. } = table.own(number);
        lines.of(entry)?.head()
    }

    /// Pauses or lowers a key. Returns whom to wake: all who wait, who may not want to any longer.
    pub(crate) fn learn(
        &mut self,
        key: Key,
        tier: Tier,
        spread: u64,
        lesson: Lesson,
        now: u64,
    ) -> Vec<Waker> {
        let spot = match (self.locate(key, spread, now), &lesson) {
            (Some(spot), _) => spot,
            (None, Lesson::Limit(said)) if !says_less(said, &self.tiers[self.tier(tier)], now) => {
                return Vec::new();
            }
            (None, _) => self.make(key, spread, tier, now),
        };
        let (policy, Own { entry, tats, lines }) = self.at(spot, tier, now);
        match lesson {
            Lesson::Pause(pause) => {
                lines.make(entry).hold_mut().pause(now, nanos(pause));
            }
            Lesson::Remaining(unit, left) => {
                let left = u32::try_from(left).unwrap_or(u32::MAX);
                for (meter, tat) in policy.meters().iter().zip(tats) {
                    if meter.unit() == unit {
                        *tat = meter.lower(*tat, now, left);
                    }
                }
            }
            Lesson::Limit(said) => return self.lower(spot, tier, &said, now),
        }
        lines.of(entry).map_or_else(Vec::new, Line::all)
    }

    /// Takes in that an upstream allows a key less than its policy does.
    fn lower(&mut self, spot: Spot, tier: Tier, said: &Allowance, now: u64) -> Vec<Waker> {
        let base = self.tiers[self.tier(tier)].clone();
        let Own { entry, lines, .. } = self.own(spot);
        let before = lines.lowered(entry).unwrap_or(&base).clone();
        let heard = match lines.of_mut(entry).and_then(|line| line.lowered_mut().as_mut()) {
            Some(lowered) => lowered.hear(said, &base, now) && lowered.renew(&base, now),
            None => {
                let lowered = Lowered::new(said, &base, now, &self.places);
                let Own { entry, lines, .. } = self.own(spot);
                let heard = lowered.is_some();
                if heard {
                    *lines.make(entry).lowered_mut() = lowered;
                }
                heard
            }
        };
        if !heard {
            return Vec::new();
        }
        self.hand_over(spot, &before, now);
        let Own { entry, lines, .. } = self.own(spot);
        lines.of(entry).map_or_else(Vec::new, Line::all)
    }

    /// Puts a key under the policy of this tier, as far as it is not lowered at this moment.
    #[cold]
    pub(super) fn turn_over(&mut self, spot: Spot, tier: Tier, now: u64) {
        let base = self.tiers[tier.index()].clone();
        let before = self.own(spot).entry.tier.index();
        let before = &self.tiers[before].clone();
        let Own { entry, lines, .. } = self.own(spot);
        let before = lines.lowered(entry).unwrap_or(before).clone();
        lines.renew(entry, &base, now);
        entry.tier = tier;
        self.hand_over(spot, &before, now);
    }

    /// Hands a key over from a policy to the one that holds for it now.
    fn hand_over(&mut self, spot: Spot, before: &Policy, now: u64) {
        let tier = self.own(spot).entry.tier.index();
        let base = self.tiers[tier].clone();
        let (table, number) = self.table(spot);
        let life = table.life();
        let Own { entry, tats, lines } = table.own(number);
        convert(tats, before, lines.lowered(entry).unwrap_or(&base), now);
        entry.life = life;
    }

    /// Puts another policy in the place of one, and hands each key over with as much of its burst
    /// spent as it has. Calls `wake` with all who wait.
    pub(crate) fn reconfigure(
        &mut self,
        tier: Tier,
        policy: &Policy,
        now: u64,
        mut wake: impl FnMut(Waker),
    ) {
        let Some(before) = self.tiers.get(tier.index()).cloned() else { return };
        for table in std::iter::once(&mut self.table).chain(&mut self.overflow) {
            let life = table.life();
            table.for_each(|Own { entry, tats, lines }| {
                if entry.tier != tier {
                    return;
                }
                let before = lines.lowered(entry).unwrap_or(&before).clone();
                lines.renew(entry, policy, now);
                convert(tats, &before, lines.lowered(entry).unwrap_or(policy), now);
                entry.life = life;
                if let Some(line) = lines.of(entry) {
                    line.all().into_iter().for_each(&mut wake);
                }
            });
        }
        Arc::make_mut(&mut self.tiers)[tier.index()] = policy.clone();
    }
}
