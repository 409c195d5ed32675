//! What the layer tells those who watch it.

use std::{error::Error, time::Duration};

use buttress_core::Outcome;

use crate::Ending;

/// Is told what the layer does. Every method does nothing unless it is written; `()` is the
/// observer that watches nothing and costs nothing.
///
/// The methods run inside the call, so they should be short. One of `done` and `cancelled` is
/// called for each call, once.
pub trait Observer: Clone {
    /// An attempt failed and another one is planned. It does not come if the wait for the budget or
    /// for readiness leads nowhere.
    fn retry(&self, _event: &Retrying<'_>) {}

    /// The call has its result.
    fn done(&self, _event: &Done) {}

    /// The call was dropped before it had a result.
    fn cancelled(&self, _event: &Cancelled) {}
}

impl Observer for () {}

/// An attempt failed and another one is planned.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct Retrying<'a> {
    /// The attempt that failed, counted from 1.
    pub attempt: u32,
    /// What it came to.
    pub outcome: Outcome,
    /// How long the layer waits, not counting a wait for the budget.
    pub delay: Duration,
    /// Whether the next attempt first waits in line for a token of the budget.
    pub queued: bool,
    /// The error, if it was no response.
    pub error: Option<&'a (dyn Error + 'static)>,
}

/// The call has its result.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// How many attempts it had.
    pub attempts: u32,
    /// Why there was no further one.
    pub ending: Ending,
}

/// The call was dropped before it had a result.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// How many attempts had begun.
    pub attempts: u32,
}

impl<'a> Retrying<'a> {
    pub(crate) fn new(attempt: u32, outcome: Outcome, delay: Duration, queued: bool) -> Self {
        Self { attempt, outcome, delay, queued, error: None }
    }

    pub(crate) fn with_error(self, error: Option<&'a (dyn Error + 'static)>) -> Self {
        Self { error, ..self }
    }
}
