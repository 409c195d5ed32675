//! What a layer was told, and what that means for one call.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_core::Deadline;
use tokio::time::Instant;

use crate::{Backoff, Budget, Budgets, Delay};

/// Everything a call needs to know; shared by all the calls of a service.
#[derive(Clone, Debug)]
pub(crate) struct Settings<P, O> {
    pub(crate) policy: P,
    pub(crate) observer: O,
    pub(crate) limits: Limits,
}

/// The settings that are the same whatever the policy.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) max_attempts: NonZeroU32,
    pub(crate) backoff: Backoff,
    pub(crate) budget: Scope,
    pub(crate) on_empty_budget: EmptyBudget,
    pub(crate) total_timeout: Option<Duration>,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) ready_timeout: Option<Duration>,
    pub(crate) random: Random,
}

/// Which budget a call draws on.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    None,
    One(Budget),
    Each(Budgets),
}

/// What happens to a call that needs a retry while the budget is empty.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptyBudget {
    /// The last failure goes back to the caller at once.
    #[default]
    GiveBack,
    /// The call waits in line for the next token, as long as its deadline allows. It keeps the
    /// caller whole as well as the upstream when an overload lasts; set a total timeout with it.
    Wait,
}

/// Where jitter comes from.
#[derive(Clone, Debug)]
pub(crate) enum Random {
    /// A generator per thread, seeded by the operating system.
    Thread,
    /// A sequence that is the same every time, for tests.
    Seeded(Arc<AtomicU64>),
}

impl Random {
    pub(crate) fn next(&self) -> u64 {
        match self {
            Self::Thread => fastrand::u64(..),
            Self::Seeded(seed) => {
                fastrand::Rng::with_seed(seed.fetch_add(1, Ordering::Relaxed)).u64(..)
            }
        }
    }
}

/// What was settled about a call before its first attempt.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) deadline: Option<Limit>,
    /// One of several budgets; `None` if the settings have but one.
    pub(crate) budget: Option<Budget>,
}

/// A point in time, and how long it was away when it was set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) at: Instant,
    pub(crate) allowed: Duration,
}

impl Terms {
    pub(crate) fn deadline_at(&self) -> Option<Instant> {
        self.deadline.map(|limit| limit.at)
    }

    /// The time that the call was allowed, if it is used up.
    pub(crate) fn overdue(&self) -> Option<Duration> {
        let limit = self.deadline?;
        (Instant::now() >= limit.at).then_some(limit.allowed)
    }
}

impl Limits {
    /// Settles what depends on the request before it is sent.
    pub(crate) fn of<'a>(
        &self,
        deadline: Option<Deadline>,
        scope: impl FnOnce() -> Option<&'a [u8]>,
    ) -> Terms {
        let budget = match &self.budget {
            Scope::Each(budgets) => Some(budgets.of(scope().unwrap_or_default()).clone()),
            Scope::None | Scope::One(_) => None,
        };
        Terms { deadline: self.deadline(deadline), budget }
    }

    fn deadline(&self, wanted: Option<Deadline>) -> Option<Limit> {
        if wanted.is_none() && self.total_timeout.is_none() {
            return None;
        }
        let now = Instant::now();
        if let Some(deadline) = wanted {
            let at = Instant::from_std(deadline.instant());
            return Some(Limit { at, allowed: at.saturating_duration_since(now) });
        }
        let allowed = self.total_timeout?;
        // A limit beyond what the clock can say is no limit.
        now.checked_add(allowed).map(|at| Limit { at, allowed })
    }

    /// How long to wait before retry number `step`.
    pub(crate) fn wait(&self, delay: Delay, step: u32, previous: Duration) -> Duration {
        let backoff = || self.backoff.delay(step, previous, self.random.next());
        match delay {
            Delay::Backoff => backoff(),
            Delay::AtLeast(asked) => backoff().max(self.spread(asked)),
            Delay::Pushback(asked) => self.spread(asked),
        }
    }

    /// Adds up to a tenth, at most a second, to what a server asked for.
    fn spread(&self, asked: Duration) -> Duration {
        let most = u64::try_from((asked / 10).min(Duration::from_secs(1)).as_nanos());
        let share = (u128::from(most.unwrap_or(0)) * u128::from(self.random.next())) >> 64;
        asked.saturating_add(Duration::from_nanos(u64::try_from(share).unwrap_or(0)))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_attempts: NonZeroU32::MIN.saturating_add(2),
            backoff: Backoff::default(),
            budget: Scope::One(Budget::default()),
            on_empty_budget: EmptyBudget::GiveBack,
            total_timeout: None,
            attempt_timeout: None,
            ready_timeout: None,
            random: Random::Thread,
        }
    }
}
