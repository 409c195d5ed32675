//! All the windows of a key judged together.

use std::time::Duration;

use crate::{
    cost::Sum,
    limiter::{Ask, Denied, DeniedKind},
    meter::Meter,
    policy::{Policy, WINDOWS},
    snapshot::{Snapshot, Standing},
};

/// Charges every window, or none.
#[inline(always)]
pub(super) fn take(policy: &Policy, tats: &mut [u64], now: u64, ask: &Ask) -> bool {
    let meters = policy.meters();
    if ask.spare > 0 && !leaves_enough(meters, tats, now, ask) {
        return false;
    }
    if let ([meter], [tat]) = (meters, &mut *tats) {
        return meter.take(tat, now, ask.cost.of(meter.unit()));
    }
    take_all(meters, tats, now, ask)
}

fn take_all(meters: &[Meter], tats: &mut [u64], now: u64, ask: &Ask) -> bool {
    let mut before = [0; WINDOWS];
    for (i, (meter, tat)) in meters.iter().zip(tats.iter_mut()).enumerate() {
        before[i] = *tat;
        if !meter.take(tat, now, ask.cost.of(meter.unit())) {
            tats[..i].copy_from_slice(&before[..i]);
            return false;
        }
    }
    true
}

#[cold]
fn leaves_enough(meters: &[Meter], tats: &[u64], now: u64, ask: &Ask) -> bool {
    meters.iter().zip(tats).all(|(meter, tat)| wait(meter, *tat, now, ask, 0) == 0)
}

/// The time until a window lets the request pass, and what stands `ahead` of it before.
fn wait(meter: &Meter, tat: u64, now: u64, ask: &Ask, ahead: u64) -> u64 {
    let cost = u64::from(ask.cost.of(meter.unit()));
    if cost == 0 {
        return 0;
    }
    let spare = u64::from(meter.burst()) * u64::from(ask.spare.min(100)) / 100;
    meter.wait(tat, now, ahead.saturating_add(cost).saturating_add(spare))
}

/// The moment, not before `from`, at which every window lets the request pass, if what stands ahead
/// of it does so as soon as it can.
pub(super) fn due(policy: &Policy, tats: &[u64], from: u64, ask: &Ask, ahead: &Sum) -> u64 {
    let waits = policy.meters().iter().zip(tats);
    let waits = waits.map(|(meter, tat)| wait(meter, *tat, from, ask, ahead.of(meter.unit())));
    from.saturating_add(waits.max().unwrap_or(0))
}

pub(super) fn is_too_large(policy: &Policy, ask: &Ask) -> bool {
    policy.meters().iter().any(|meter| ask.cost.of(meter.unit()) > meter.burst())
}

/// How late a waiter may be woken.
pub(super) fn slack(policy: &Policy) -> u64 {
    policy.meters().iter().map(Meter::slack).min().unwrap_or(0)
}

/// The time in which the request's cost comes back where that is the soonest.
pub(super) fn interval(policy: &Policy, ask: &Ask) -> u64 {
    let costs = policy
        .meters()
        .iter()
        .map(|meter| meter.every().saturating_mul(u64::from(ask.cost.of(meter.unit()))));
    costs.filter(|time| *time > 0).min().unwrap_or(0)
}

pub(super) fn snapshot(policy: &Policy, tats: &[u64], now: u64, ask: &Ask) -> Snapshot {
    if let ([meter], [tat]) = (policy.meters(), tats) {
        return Snapshot::of_one(policy.clone(), standing(meter, *tat, now, ask));
    }
    let standings = policy.meters().iter().zip(tats);
    let standings = standings.map(|(meter, tat)| standing(meter, *tat, now, ask));
    Snapshot::new(policy.clone(), standings)
}

#[inline]
fn standing(meter: &Meter, tat: u64, now: u64, ask: &Ask) -> Standing {
    let wait = wait(meter, tat, now, ask, 0);
    Standing::of_nanos(meter.remaining(tat, now), wait, tat.saturating_sub(now))
}

/// What there is to say of a request whose key has nothing about it but that its quota is spent.
///
/// It becomes a denial once the shard is let go: where most of it is still in registers, it is written
/// but once.
pub(crate) enum Spent {
    One { policy: Policy, standing: Standing, too_large: bool },
    Several(Denied),
}

impl Spent {
    #[inline(always)]
    pub(super) fn of(policy: &Policy, tats: &[u64], now: u64, ask: &Ask) -> Self {
        if let ([meter], [tat]) = (policy.meters(), tats) {
            let standing = standing(meter, *tat, now, ask);
            let too_large = ask.cost.of(meter.unit()) > meter.burst();
            return Self::One { policy: policy.clone(), standing, too_large };
        }
        let at = due(policy, tats, now, ask, &Sum::default());
        Self::Several(Standings { policy, tats, now, ask }.denied(DeniedKind::Quota, at))
    }

    #[inline(always)]
    pub(crate) fn denied(self) -> Denied {
        let (policy, standing, too_large) = match self {
            Self::One { policy, standing, too_large } => (policy, standing, too_large),
            Self::Several(denied) => return denied,
        };
        let (kind, after) = match too_large {
            true => (DeniedKind::CostTooLarge, None),
            false => (DeniedKind::Quota, Some(standing.wait())),
        };
        Denied::at(kind, after, Snapshot::of_one(policy, standing))
    }
}

/// The windows as they are at a denial.
pub(super) struct Standings<'a> {
    pub(super) policy: &'a Policy,
    pub(super) tats: &'a [u64],
    pub(super) now: u64,
    pub(super) ask: &'a Ask,
}

impl Standings<'_> {
    pub(super) fn denied(&self, kind: DeniedKind, at: u64) -> Denied {
        let after = Duration::from_nanos(at.saturating_sub(self.now));
        let (kind, after) = match is_too_large(self.policy, self.ask) {
            true => (DeniedKind::CostTooLarge, None),
            false => (kind, Some(after)),
        };
        Denied::at(kind, after, snapshot(self.policy, self.tats, self.now, self.ask))
    }
}
