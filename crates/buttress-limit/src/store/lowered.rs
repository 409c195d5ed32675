//! What an upstream allows a key where that is less than was configured: for how long, and how the
//! key comes back from it.

use std::{cmp::Ordering, sync::Arc};

use crate::{
    clock::nanos,
    cost::Unit,
    limiter::Allowance,
    policy::{Policy, WINDOWS},
    quota::Quota,
};

/// The smallest part of a configured amount to which an upstream can lower it.
const LEAST: u32 = 10;

/// How long each of the stages lasts in which a key comes back, at the least and at the most.
const STAGE: (u64, u64) = (1_000_000_000, 60_000_000_000);

/// In how many stages the difference comes back.
const STAGES: u64 = 3;

/// How many keys of a shard can be lowered at a time: each has a policy of its own.
const KEYS: usize = 64;

/// How many keys of a shard are lowered.
#[derive(Debug, Default)]
pub(crate) struct Places(Arc<()>);

impl Places {
    fn take(&self) -> Option<Arc<()>> {
        (Arc::strong_count(&self.0) <= KEYS).then(|| Arc::clone(&self.0))
    }
}

/// Whether what is said is less than this policy allows.
pub(crate) fn says_less(said: &Allowance, base: &Policy, now: u64) -> bool {
    Limit::new(said, now).is_some_and(|limit| limit.lowers_some(base, now))
}

/// A key that is lowered.
#[derive(Debug)]
pub(crate) struct Lowered {
    limits: Vec<Limit>,
    policy: Policy,
    /// When the policy changes by itself.
    next: u64,
    _place: Arc<()>,
}

/// What was said of the windows that count `unit` in a time of this length.
#[derive(Clone, Copy, Debug)]
struct Limit {
    unit: Unit,
    per: u64,
    amount: u32,
    until: u64,
}

impl Lowered {
    /// A key that was not lowered until now; `None` if nothing is lowered thereby.
    pub(crate) fn new(
        said: &Allowance,
        base: &Policy,
        now: u64,
        places: &Places,
    ) -> Option<Box<Self>> {
        let limit = Limit::new(said, now).filter(|limit| limit.lowers_some(base, now))?;
        let (limits, policy) = (vec![limit], base.clone());
        let mut lowered = Self { limits, policy, next: 0, _place: places.take()? };
        lowered.renew(base, now).then(|| Box::new(lowered))
    }

    /// What holds for the key.
    pub(crate) const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// When it changes by itself.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// When all of it is over.
    pub(crate) fn over(&self) -> u64 {
        self.limits.iter().map(Limit::over).max().unwrap_or(0)
    }

    /// Takes in what was said anew, and says whether that changes the policy. A lower amount counts
    /// at once; a higher one says nothing until the lower one has run out.
    pub(crate) fn hear(&mut self, said: &Allowance, base: &Policy, now: u64) -> bool {
        let Some(new) = Limit::new(said, now) else { return false };
        let Some(quota) = base.quotas().iter().find(|quota| new.lowers(quota, now)) else {
            return false;
        };
        let Some(old) = self.limits.iter_mut().find(|limit| limit.is_about(quota)) else {
            let room = self.limits.len() < WINDOWS;
            self.limits.extend(room.then_some(new));
            return room;
        };
        match new.amount_of(quota, now).cmp(&old.amount_of(quota, now)) {
            Ordering::Less => *old = new,
            Ordering::Equal => *old = Limit { until: old.until.max(new.until), ..new },
            Ordering::Greater => return false,
        }
        let changes = old.amount_of(quota, now) != self.amount_now(quota);
        self.next = self.limits.iter().map(|limit| limit.next(now)).min().unwrap_or(u64::MAX);
        changes
    }

    fn amount_now(&self, quota: &Quota) -> u32 {
        let same = self.policy.quotas().iter().find(|other| other.name() == quota.name());
        same.map_or(quota.amount(), Quota::amount)
    }

    /// Works out the policy as of now. Whether the key still is lowered.
    pub(crate) fn renew(&mut self, base: &Policy, now: u64) -> bool {
        self.limits.retain(|limit| limit.over() > now);
        let limits = &self.limits;
        self.next = limits.iter().map(|limit| limit.next(now)).min().unwrap_or(u64::MAX);
        let amount = |quota: &Quota| {
            let amounts = limits.iter().filter(|limit| limit.is_about(quota));
            amounts.map(|limit| limit.amount_of(quota, now)).min().unwrap_or(quota.amount())
        };
        if base.quotas().iter().all(|quota| amount(quota) == quota.amount()) {
            return false;
        }
        let lowered = base.lowered(amount);
        lowered.map(|lowered| self.policy = lowered).is_some()
    }
}

impl Limit {
    /// An amount of nothing is no limit but a word for something else.
    fn new(said: &Allowance, now: u64) -> Option<Self> {
        let amount = u32::try_from(said.amount).unwrap_or(u32::MAX);
        let (lasts, per) = (nanos(said.lasts), nanos(said.per));
        let until = now.saturating_add(lasts);
        (amount > 0 && lasts > 0).then_some(Self { unit: said.unit, per, amount, until })
    }

    fn is_about(&self, quota: &Quota) -> bool {
        quota.unit() == self.unit && nanos(quota.per()) == self.per
    }

    fn lowers(&self, quota: &Quota, now: u64) -> bool {
        self.is_about(quota) && self.amount_of(quota, now) < quota.amount()
    }

    fn lowers_some(&self, base: &Policy, now: u64) -> bool {
        base.quotas().iter().any(|quota| self.lowers(quota, now))
    }

    /// How much of a window's amount it leaves at this moment.
    fn amount_of(&self, quota: &Quota, now: u64) -> u32 {
        let whole = quota.amount();
        let least = self.amount.max(whole.div_ceil(LEAST)).min(whole);
        let stage = match now.checked_sub(self.until) {
            Some(past) => past / self.stage() + 1,
            None => 0,
        };
        let back = u64::from(whole - least) * stage.min(STAGES) / STAGES;
        u32::try_from(u64::from(least) + back).unwrap_or(whole)
    }

    fn stage(&self) -> u64 {
        self.per.clamp(STAGE.0, STAGE.1)
    }

    /// When everything is back.
    fn over(&self) -> u64 {
        self.until.saturating_add(self.stage().saturating_mul(STAGES - 1))
    }

    /// When the next stage begins.
    fn next(&self, now: u64) -> u64 {
        let stage = now.checked_sub(self.until).map_or(0, |past| past / self.stage() + 1);
        self.until.saturating_add(self.stage().saturating_mul(stage))
    }
}
