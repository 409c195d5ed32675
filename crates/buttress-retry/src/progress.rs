//! What only a call with a failure behind it needs.

use std::time::Duration;

use buttress_core::{Attempts, BoxError, Outcome};
use tokio::time::Instant;

use crate::{
    Acquire, Budget, Cost, Delay, EmptyBudget, Ending, Reservation,
    settings::{Limit, Limits},
};

/// How far a call has come with its retries.
#[derive(Debug)]
pub(crate) struct Progress<Res> {
    pub(crate) attempts: Attempts,
    /// The last failure, if it can still be returned.
    pub(crate) last: Option<Result<Res, BoxError>>,
    /// What the next attempt has paid; given back if it is never sent.
    pub(crate) reservation: Option<Reservation>,
    pub(crate) resume_at: Instant,
    /// Retries since the backoff began or began anew.
    steps: u32,
    previous: Duration,
    had_free_retry: bool,
    /// Whether an attempt came to anything but [`Outcome::NotSent`].
    pub(crate) sent: bool,
}

impl<Res> Progress<Res> {
    pub(crate) fn new(max_attempts: u32) -> Self {
        Self {
            attempts: Attempts::first_of(max_attempts),
            last: None,
            reservation: None,
            resume_at: Instant::now(),
            steps: 0,
            previous: Duration::ZERO,
            had_free_retry: false,
            sent: false,
        }
    }

    /// Counts what a layer inside has counted as well.
    pub(crate) fn adopt(&mut self, counted: Option<Attempts>) {
        if let Some(counted) = counted.filter(|counted| counted.made() >= self.attempts.made()) {
            self.attempts = counted.with_limit(self.attempts.limit());
        }
    }

    /// Goes one step up the backoff; a pushback starts it over.
    pub(crate) fn step(&mut self, limits: &Limits, delay: Delay) -> Duration {
        self.steps = self.steps.saturating_add(1);
        let wait = limits.wait(delay, self.steps, self.previous);
        self.previous = wait;
        if matches!(delay, Delay::Pushback(_)) {
            self.steps = 0;
            self.previous = Duration::ZERO;
        }
        wait
    }

    /// Fits the wait in before the deadline.
    pub(crate) fn schedule(
        &mut self,
        wait: Duration,
        deadline: Option<Limit>,
    ) -> Result<(), Ending> {
        let now = Instant::now();
        let resume_at = now.checked_add(wait).ok_or(Ending::DeadlineTooClose)?;
        match deadline {
            Some(limit) if now >= limit.at => Err(Ending::DeadlinePassed),
            Some(limit) if resume_at >= limit.at => Err(Ending::DeadlineTooClose),
            _ => {
                self.resume_at = resume_at;
                Ok(())
            }
        }
    }

    /// Pays for the next attempt, or gets in line to pay.
    pub(crate) fn pay(
        &mut self,
        budget: Option<&Budget>,
        when_empty: EmptyBudget,
        outcome: Outcome,
    ) -> Result<Option<Acquire>, Ending> {
        // What was never sent loaded nobody; but a peer that never takes it is worth a token.
        let free = outcome == Outcome::NotSent && !self.had_free_retry;
        self.had_free_retry |= free;
        let Some(budget) = budget.filter(|_| !free) else {
            return Ok(None);
        };
        let cost = if outcome == Outcome::Timeout { Cost::TIMEOUT } else { Cost::TRANSIENT };

        self.reservation = budget.reserve(cost);
        match (&self.reservation, when_empty) {
            (Some(_), _) => Ok(None),
            // A line that is full would refuse at once, when the failure is gone already.
            (None, EmptyBudget::Wait) if budget.has_room() => Ok(Some(budget.wait(cost))),
            (None, EmptyBudget::Wait | EmptyBudget::GiveBack) => Err(Ending::BudgetExhausted),
        }
    }
}
