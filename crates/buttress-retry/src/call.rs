//! One call across all its attempts: the count, the clock, and the decision after each failure.

use std::{
    error::Error,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Attempts, AttemptsFailed, BoxError, Outcome, Phase, TimedOut, Turn};
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    Acquire, Budget, Cost, Ending, Next, Observer, Policy, QueueFull, Resend, Reservation, Retired,
    Retrying, Verdict,
    progress::Progress,
    settings::{Limits, Scope, Settings, Terms},
    timer::{Timer, earlier},
    watch::Watch,
};

/// What a call keeps beside the future of its attempt.
#[derive(Debug)]
pub(crate) struct Call<S, P, O: Observer, B, Res> {
    settings: Arc<Settings<P, O>>,
    again: Again<S, B>,
    terms: Terms,
    watch: Watch<O>,
    timer: Timer,
    /// What only a call with a failure behind it needs.
    retrying: Option<Box<Progress<Res>>>,
}

/// Whether another attempt can be made, and with what.
#[derive(Debug)]
pub(crate) enum Again<S, B> {
    Possible { service: S, backup: B },
    No(Ending),
}

/// What follows an attempt.
pub(crate) enum Step<Res, D> {
    Return(Result<Res, BoxError>),
    Pause { turn: Option<Acquire>, discard: Option<D> },
}

impl<S, P, O: Observer, B, Res> Call<S, P, O, B, Res> {
    pub(crate) fn new(settings: Arc<Settings<P, O>>, again: Again<S, B>, terms: Terms) -> Self {
        let watch = Watch::new(settings.observer.clone());
        Self { settings, again, terms, watch, timer: Timer::default(), retrying: None }
    }

    fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    fn budget(&self) -> Option<&Budget> {
        match &self.settings.limits.budget {
            Scope::None => None,
            Scope::One(budget) => Some(budget),
            Scope::Each(_) => self.terms.budget.as_ref(),
        }
    }

    /// Resolves when the attempt under way has had its time.
    pub(crate) fn poll_attempt_limit(&mut self, cx: &mut Context<'_>) -> Poll<TimedOut> {
        let attempt = self.settings.limits.attempt_timeout;
        let deadline = self.terms.deadline_at();
        if attempt.is_none() && deadline.is_none() {
            return Poll::Pending;
        }
        ready!(self.timer.poll_until(cx, || earlier(attempt, deadline)));
        Poll::Ready(match (self.terms.overdue(), attempt) {
            (None, Some(limit)) => TimedOut::new(Phase::Attempt, limit),
            (overdue, _) => TimedOut::new(Phase::Total, overdue.unwrap_or_default()),
        })
    }

    /// Resolves when the deadline has passed; never, without one.
    pub(crate) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.terms.deadline_at();
        self.timer.poll_until(cx, || deadline)
    }

    /// Resolves when the backoff is over.
    pub(crate) fn poll_resume(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let resume_at = self.retrying.as_ref().map(|progress| progress.resume_at);
        ready!(self.timer.poll_until(cx, || resume_at));
        self.timer.rest();
        Poll::Ready(())
    }

    /// Resolves when the inner service has had its time to become ready.
    pub(crate) fn poll_ready_limit(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let limit = self.settings.limits.ready_timeout;
        let deadline = self.terms.deadline_at();
        ready!(self.timer.poll_until(cx, || earlier(limit, deadline)));
        Poll::Ready(match self.terms.overdue() {
            Some(_) => Ending::DeadlinePassed,
            None => Ending::ReadyTimeout,
        })
    }

    /// A token of the budget was waited for.
    pub(crate) fn take_turn(&mut self, turn: Result<Reservation, QueueFull>) -> Result<(), Ending> {
        self.timer.rest();
        let reservation = turn.map_err(|QueueFull| Ending::BudgetExhausted)?;
        let Some(progress) = &mut self.retrying else {
            return Ok(());
        };
        progress.reservation = Some(reservation);
        // The wait in line may have used up the time that was left.
        let begins = progress.resume_at.max(Instant::now());
        match self.terms.deadline_at() {
            Some(deadline) if begins >= deadline => Err(Ending::DeadlineTooClose),
            _ => Ok(()),
        }
    }
}

impl<S, P, O: Observer, B, Res> Call<S, P, O, B, Res> {
    /// Decides what follows an attempt.
    pub(crate) fn settle<Req>(&mut self, result: Result<Res, BoxError>) -> Step<Res, P::Discard>
    where
        P: Policy<Req, Res> + Resend<Req, Backup = B>,
    {
        self.timer.rest();
        let outcome = self.settings.policy.outcome(&result);
        self.account(outcome, result.is_ok());
        if outcome == Outcome::Success {
            return Step::Return(self.finish(Ending::Success, result));
        }
        match self.next_wait(outcome, &result) {
            Err(ending) => Step::Return(self.finish(ending, result)),
            Ok((delay, turn)) => {
                let error = result.as_ref().err().map(|error| &**error as &dyn Error);
                let event = Retrying::new(self.watch.attempts, outcome, delay, turn.is_some());
                tracing::debug!(attempt = event.attempt, ?outcome, ?delay, "trying again");
                self.watch.observer.retry(&event.with_error(error));
                Step::Pause { turn, discard: self.put_aside(result) }
            }
        }
    }

    /// Tells the budget how the service is doing.
    fn account(&self, outcome: Outcome, answered: bool) {
        let Some(budget) = self.budget() else { return };
        match outcome {
            Outcome::Success => budget.deposit(),
            // An answer that finds fault with the request is a sign of health; an error is no answer.
            Outcome::Rejected if answered => budget.deposit(),
            Outcome::Rejected => {}
            Outcome::NotSent => budget.record_failure(Cost::NOT_SENT),
            _ => budget.record_failure(Cost::TRANSIENT),
        }
    }

    /// How long to wait and, if the budget is empty, in which line; or why not to.
    fn next_wait<Req>(
        &mut self,
        outcome: Outcome,
        result: &Result<Res, BoxError>,
    ) -> Result<(Duration, Option<Acquire>), Ending>
    where
        P: Policy<Req, Res> + Resend<Req, Backup = B>,
    {
        let policy = &self.settings.policy;
        let counted = policy.counted(result);
        if let Some(counted) = &counted {
            self.drop_late_turn(counted);
        }
        let delay = match &self.again {
            Again::No(ending) => return Err(*ending),
            Again::Possible { backup, .. } => match policy.judge(backup, outcome, result) {
                Verdict::Return(ending) => return Err(ending),
                Verdict::Retry(delay) => delay,
            },
        };
        let max = self.limits().max_attempts.get();
        self.watch.attempts = counted.as_ref().map_or(0, Attempts::made).max(self.watch.attempts);
        if self.watch.attempts >= max {
            return Err(Ending::MaxAttempts);
        }

        let mut progress = self.retrying.take().unwrap_or_else(|| Box::new(Progress::new(max)));
        progress.adopt(counted);
        progress.sent |= outcome != Outcome::NotSent;
        let wait = progress.step(self.limits(), delay);
        if !wait.is_zero() {
            // Who waits here is not to wait in line as well.
            let _ = progress.attempts.take_turn();
        }
        let planned = progress
            .schedule(wait, self.terms.deadline)
            .and_then(|()| progress.pay(self.budget(), self.limits().on_empty_budget, outcome));
        self.retrying = Some(progress);
        planned.map(|turn| (wait, turn))
    }

    /// Gives up a turn that would come when the attempt or the call is over: the call would wait for it
    /// with neither the failure nor an answer to give.
    fn drop_late_turn(&self, counted: &Attempts) {
        let Some(from) = counted.turn().map(Turn::from) else { return };
        let end = earlier(self.limits().attempt_timeout, self.terms.deadline_at());
        if end.is_some_and(|end| end.into_std() <= from) {
            let _ = counted.take_turn();
        }
    }

    /// Keeps the failure if that holds nothing up; otherwise what gets rid of it.
    fn put_aside<Req>(&mut self, result: Result<Res, BoxError>) -> Option<P::Discard>
    where
        P: Policy<Req, Res> + Resend<Req, Backup = B>,
    {
        let (last, discard) = match result {
            Err(error) => (Some(Err(error)), None),
            Ok(response) => match self.settings.policy.retire(response) {
                Retired::Kept(response) => (Some(Ok(response)), None),
                Retired::Discarded(discard) => (None, Some(discard)),
                Retired::Dropped => (None, None),
            },
        };
        if let Some(progress) = &mut self.retrying {
            progress.last = last;
        }
        discard
    }

    /// Asks the service that is to make the next attempt whether it can.
    pub(crate) fn poll_service<Sent>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>
    where
        S: Service<Sent, Error: Into<BoxError>>,
    {
        match &mut self.again {
            Again::Possible { service, .. } => service.poll_ready(cx).map_err(Into::into),
            Again::No(_) => Poll::Pending,
        }
    }

    /// Sends the next attempt through the service that is ready, or ends the call.
    pub(crate) fn send<Req>(&mut self) -> Result<S::Future, Result<Res, BoxError>>
    where
        P: Policy<Req, Res> + Resend<Req, Backup = B>,
        S: Service<P::Sent, Response = Res>,
    {
        self.timer.rest();
        let again = std::mem::replace(&mut self.again, Again::No(Ending::MaxAttempts));
        let begun = self.retrying.as_mut().and_then(|p| Some((p.attempts.begin()?, p)));
        let (Again::Possible { mut service, backup }, Some((attempt, progress))) = (again, begun)
        else {
            // Another holder of the shared count was quicker.
            return Err(self.give_back(Ending::MaxAttempts));
        };
        let last = attempt >= progress.attempts.limit();
        let next = Next { attempt, last, attempts: progress.attempts.clone() };
        match self.settings.policy.resend(backup, &next) {
            Err(error) => {
                let failure = progress.last.take().unwrap_or(Err(error));
                Err(self.finish(Ending::BodyNotReplayable, failure))
            }
            Ok((sent, backup)) => {
                progress.last = None;
                self.watch.attempts = attempt;
                let future = service.call(sent);
                if let Some(reservation) = progress.reservation.take() {
                    reservation.spend();
                }
                if let Some(backup) = backup.filter(|_| !last) {
                    self.again = Again::Possible { service, backup };
                }
                Ok(future)
            }
        }
    }

    /// Returns the failure that was put aside, or says that time ran out if it had to go.
    pub(crate) fn give_back<Req>(&mut self, ending: Ending) -> Result<Res, BoxError>
    where
        P: Policy<Req, Res> + Resend<Req, Backup = B>,
    {
        let last = self.retrying.as_mut().and_then(|progress| progress.last.take());
        let phase = match ending {
            Ending::ReadyTimeout => Phase::Ready,
            _ => Phase::Total,
        };
        let allowed = match phase {
            Phase::Ready => self.limits().ready_timeout,
            _ => self.terms.overdue(),
        };
        let gone = || match allowed {
            Some(allowed) => Err(TimedOut::new(phase, allowed).into()),
            None => Err(QueueFull.into()),
        };
        self.finish(ending, last.unwrap_or_else(gone))
    }

    /// Ends the call, telling the observer and, after more than one attempt, the caller.
    pub(crate) fn finish<Req>(
        &mut self,
        ending: Ending,
        result: Result<Res, BoxError>,
    ) -> Result<Res, BoxError>
    where
        P: Policy<Req, Res> + Resend<Req, Backup = B>,
    {
        self.watch.done(ending);
        let Some(progress) = self.retrying.take().filter(|p| p.attempts.made() > 1) else {
            return result;
        };
        match result {
            Ok(mut response) => {
                self.settings.policy.note(&mut response, &progress.attempts);
                Ok(response)
            }
            Err(error) => {
                let error = match error.downcast::<AttemptsFailed>() {
                    Ok(failed) => failed.into_source(),
                    Err(error) => error,
                };
                let unsent = !progress.sent && Outcome::of_error(&*error) == Outcome::NotSent;
                Err(AttemptsFailed::new(progress.attempts, error).unsent(unsent).into())
            }
        }
    }
}
