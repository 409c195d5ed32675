//! The layer, which is its own builder.

use std::{
    num::NonZeroU32,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tower_layer::{Identity, Layer};

use crate::{
    Backoff, Budget, Budgets, EmptyBudget, Observer, Retry, SettingError,
    settings::{Limits, Random, Scope, Settings},
};

/// Makes a failed call again: after a jittered, growing wait, within a budget and a deadline.
///
/// The layer is its own builder. `P` decides what may go again ([`Policy`](crate::Policy)), `O` is
/// told what happens ([`Observer`]), `C` goes directly around the inner service, so that the policy
/// sees the first piece of a body and not only the head
/// ([`CommitLayer`](crate::CommitLayer)).
///
/// Clones share the budget, and so do all services made by one layer.
#[must_use]
#[derive(Clone, Debug)]
pub struct RetryLayer<P, O = (), C = Identity> {
    pub(crate) settings: Settings<P, O>,
    pub(crate) commit: C,
}

impl<P> RetryLayer<P> {
    /// Retries as `policy` says, with the defaults of every setting below.
    pub fn new(policy: P) -> Self {
        Self {
            settings: Settings { policy, observer: (), limits: Limits::default() },
            commit: Identity::new(),
        }
    }
}

impl<P, O, C> RetryLayer<P, O, C> {
    /// How many attempts a call has at most, the first included. Default: 3.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn max_attempts(mut self, attempts: u32) -> Result<Self, SettingError> {
        self.settings.limits.max_attempts = NonZeroU32::new(attempts).ok_or_else(|| {
            SettingError::new(
                "retry.max_attempts",
                "0, but the first attempt counts too: at least 1",
            )
        })?;
        Ok(self)
    }

    /// How long to wait between attempts. Default: [`Backoff::default`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.settings.limits.backoff = backoff;
        self
    }

    /// The budget that retries draw on. Default: one of its own, [`Budget::default`].
    ///
    /// Give the same handle to several layers that call the same service.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.settings.limits.budget = Scope::One(budget);
        self
    }

    /// Several budgets, chosen by what the policy names (for HTTP: the authority called), so that
    /// one failing host does not use up the retries of the others.
    pub fn budgets(mut self, budgets: Budgets) -> Self {
        self.settings.limits.budget = Scope::Each(budgets);
        self
    }

    /// Retries without a budget. Under an outage every call then costs `max_attempts` attempts.
    pub fn no_budget(mut self) -> Self {
        self.settings.limits.budget = Scope::None;
        self
    }

    /// What an empty budget means. Default: [`EmptyBudget::GiveBack`].
    pub fn on_empty_budget(mut self, meaning: EmptyBudget) -> Self {
        self.settings.limits.on_empty_budget = meaning;
        self
    }

    /// How long a call may take in all, attempts and waits, to the head of its response. Default:
    /// no limit; a [`Deadline`](buttress_core::Deadline) in the request wins over it.
    ///
    /// No wait is begun that would end at the deadline or later: the last failure is returned
    /// instead. An attempt that is under way then ends with
    /// [`TimedOut`](buttress_core::TimedOut).
    pub fn total_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.total_timeout = limit.into();
        self
    }

    /// How long one attempt may take to the head of its response. Default: no limit.
    ///
    /// An attempt that takes longer is dropped and counts as a timeout: the server may still be at
    /// work on it, so only an idempotent request goes again.
    pub fn attempt_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.attempt_timeout = limit.into();
        self
    }

    /// How long the inner service may take to become ready for another attempt before the last
    /// failure is returned. Default: as long as the deadline allows.
    pub fn ready_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.ready_timeout = limit.into();
        self
    }

    /// Who is told about retries. Default: nobody.
    pub fn observer<O2: Observer>(self, observer: O2) -> RetryLayer<P, O2, C> {
        let Settings { policy, limits, .. } = self.settings;
        RetryLayer { settings: Settings { policy, observer, limits }, commit: self.commit }
    }

    /// Holds each response until it has begun, so that one which ends before can be retried. The
    /// policy must expect it: [`HttpPolicy::held`](crate::HttpPolicy::held).
    #[cfg(feature = "http")]
    pub fn commit(self, first: crate::FirstFrame) -> RetryLayer<P, O, crate::CommitLayer> {
        RetryLayer { settings: self.settings, commit: crate::CommitLayer::new(first) }
    }

    /// Draws jitter from a fixed sequence instead of a generator per thread: for tests.
    pub fn rng_seed(mut self, seed: u64) -> Self {
        self.settings.limits.random = Random::Seeded(Arc::new(AtomicU64::new(seed)));
        self
    }

    /// Changes the policy.
    pub fn map_policy<P2>(self, change: impl FnOnce(P) -> P2) -> RetryLayer<P2, O, C> {
        let Settings { policy, observer, limits } = self.settings;
        RetryLayer {
            settings: Settings { policy: change(policy), observer, limits },
            commit: self.commit,
        }
    }
}

impl<S, P, O, C> Layer<S> for RetryLayer<P, O, C>
where
    P: Clone,
    O: Clone,
    C: Layer<S>,
{
    type Service = Retry<C::Service, P, O>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(self.commit.layer(inner), Arc::new(self.settings.clone()))
    }
}
