//! What is left of a key's quota.

use std::time::Duration;

use smallvec::SmallVec;

use crate::{clock::nanos, policy::Policy};

/// What the windows of a key hold.
#[derive(Clone, Debug)]
pub struct Snapshot {
    policy: Policy,
    standings: SmallVec<[Standing; 2]>,
}

/// What one window of a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    wait: u64,
    full: u64,
    remaining: u32,
}

impl Standing {
    /// For limiters that implement the trait.
    #[must_use]
    pub fn new(remaining: u32, wait: Duration, full: Duration) -> Self {
        Self { wait: nanos(wait), full: nanos(full), remaining }
    }

    #[inline]
    pub(crate) const fn of_nanos(remaining: u32, wait: u64, full: u64) -> Self {
        Self { wait, full, remaining }
    }

    /// How much is left.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        self.remaining
    }

    /// When what was asked for fits; zero if it does.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        Duration::from_nanos(self.wait)
    }

    /// Whether that is not yet.
    #[inline]
    pub(crate) const fn waits(&self) -> bool {
        self.wait > 0
    }

    /// When the whole burst is back.
    #[must_use]
    pub const fn full(&self) -> Duration {
        Duration::from_nanos(self.full)
    }
}

impl Snapshot {
    /// For limiters that implement the trait: one standing for each quota, in the same order.
    #[must_use]
    pub fn new(policy: Policy, standings: impl IntoIterator<Item = Standing>) -> Self {
        Self { policy, standings: standings.into_iter().collect() }
    }

    #[inline]
    pub(crate) fn of_one(policy: Policy, standing: Standing) -> Self {
        let unused = Standing::of_nanos(0, 0, 0);
        Self { policy, standings: SmallVec::from_buf_and_len([standing, unused], 1) }
    }

    /// The policy and the standing of its one window, if it has no more.
    #[inline]
    pub(crate) fn into_one(self) -> Result<(Policy, Standing), Self> {
        match *self.standings {
            [standing] => Ok((self.policy, standing)),
            _ => Err(self),
        }
    }

    /// The policy that holds for the key.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// One standing for each quota of the policy, in the same order.
    #[must_use]
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// The names of the windows into which the request does not fit.
    pub fn violated(&self) -> impl Iterator<Item = &str> {
        let windows = self.policy.quotas().iter().zip(&self.standings);
        windows.filter(|(_, standing)| standing.waits()).map(|(quota, _)| quota.name())
    }
}
