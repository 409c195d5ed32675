//! Finds the limit from what calls came to.

use std::sync::{Mutex, PoisonError};

use super::{Limit, aimd, gradient, sample::Sample};

/// The limit as one of the ways finds it; one lock for each answer that is learned from.
#[derive(Debug)]
pub(super) struct Learner(Mutex<Found>);

#[derive(Debug)]
enum Found {
    Aimd(aimd::Found),
    Gradient(gradient::Found),
}

impl Learner {
    /// `None` for a limit that is fixed.
    pub(super) fn of(limit: Limit) -> Option<Self> {
        let found = match limit {
            Limit::Fixed(_) => return None,
            Limit::Aimd(aimd) => Found::Aimd(aimd::Found::new(aimd)),
            Limit::Gradient(gradient) => Found::Gradient(gradient::Found::new(gradient)),
        };
        Some(Self(Mutex::new(found)))
    }

    /// The limit after a call; `apply` is run with it before another call is learned from.
    pub(super) fn learn<R>(&self, sample: &Sample, apply: impl FnOnce(u32) -> R) -> R {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = match &mut *found {
            Found::Aimd(found) => found.learn(sample),
            Found::Gradient(found) => found.learn(sample),
        };
        apply(limit)
    }

    /// Goes on from another limit, as far as it is within the bounds.
    pub(super) fn set<R>(&self, limit: u32, apply: impl FnOnce(u32) -> R) -> R {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = match &mut *found {
            Found::Aimd(found) => found.set(limit),
            Found::Gradient(found) => found.set(limit),
        };
        apply(limit)
    }
}
