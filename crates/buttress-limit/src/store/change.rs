//! What becomes of a key besides being charged: settled, taught, put under another policy.

use std::task::Waker;

use crate::{
    clock::nanos,
    cost::Cost,
    key::Key,
    limiter::{Ask, Lesson, Tier},
    policy::Policy,
    store::{
        shard::{Shard, convert},
        table::Mark,
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
                    let tat = &mut table.entry(number).1[window];
                    *tat = meter.owe(*tat, now, more);
                }
                None => table.refund(number, window, meter.time(charged - actual), mark, now),
            }
        }
        table.entry(number).0.line.as_ref()?.head()
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
        entry.line.as_ref().map_or_else(Vec::new, |line| line.all())
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
            for (entry, tats) in table.each().filter(|(entry, _)| entry.tier == tier) {
                convert(tats, &before, policy, now);
                entry.life = life;
                if let Some(line) = &entry.line {
                    line.all().into_iter().for_each(&mut wake);
                }
            }
        }
        self.tiers[tier.index()] = policy.clone();
    }
}
