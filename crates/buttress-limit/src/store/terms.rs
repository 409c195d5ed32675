//! The policy that holds for a key, which may be lowered.

use std::ops::Deref;

use crate::{
    limiter::Ask,
    policy::Policy,
    store::judge::{is_too_large, take},
};

/// The policy that holds for a key, and the one that would if the key was not lowered.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    pub(super) base: &'a Policy,
    pub(super) lowered: Option<Policy>,
}

impl Deref for Terms<'_> {
    type Target = Policy;

    #[inline]
    fn deref(&self) -> &Policy {
        self.lowered.as_ref().unwrap_or(self.base)
    }
}

impl Terms<'_> {
    /// What has to fit for a request to pass. Under a lowered policy one may cost more than a whole
    /// burst now is, and would never pass; it does when the whole burst is there, and owes the rest.
    pub(super) fn part(&self, ask: &Ask) -> Ask {
        let mut part = *ask;
        if self.lowered.is_none() || is_too_large(self.base, ask) {
            return part;
        }
        for meter in self.meters() {
            let spare = u64::from(ask.spare.min(99));
            let most = (u64::from(meter.burst()) * (100 - spare) / 100).max(1);
            let cost = u64::from(ask.cost.of(meter.unit()));
            let least = u64::from(part.cost.of(meter.unit())).min(cost.min(most));
            part.cost = part.cost.with(meter.unit(), least);
        }
        part
    }

    /// Charges every window, or none.
    pub(super) fn take(&self, tats: &mut [u64], now: u64, ask: &Ask) -> bool {
        if self.lowered.is_none() {
            return take(self.base, tats, now, ask);
        }
        let part = self.part(ask);
        if !take(self, tats, now, &part) {
            return false;
        }
        for (meter, tat) in self.meters().iter().zip(tats) {
            let unit = meter.unit();
            match ask.cost.of(unit) - part.cost.of(unit) {
                0 => {}
                rest => *tat = meter.owe(*tat, now, rest),
            }
        }
        true
    }
}
