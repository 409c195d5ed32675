//! What decides whether a request goes again, and what is sent then.

use std::{error::Error, fmt, future::Future, time::Duration};

use buttress_core::{Attempts, AttemptsFailed, BoxError, Deadline, Outcome, cause};

/// Makes the attempts: what is sent, and what is kept to send it again.
///
/// One half of a policy; the other, [`Policy`], judges what came back.
pub trait Resend<Req> {
    /// What the inner service receives.
    type Sent;
    /// What is kept so that the request can be made again.
    type Backup;

    /// Prepares the first attempt.
    ///
    /// The second half is the backup, or the reason why this request goes only once; then nothing
    /// needs to be copied. `again` is false when the layer would never ask for a second attempt.
    fn begin(&self, request: Req, again: bool) -> (Self::Sent, Result<Self::Backup, Ending>);

    /// Makes the next attempt out of the backup.
    ///
    /// Gives the backup back if there may be another attempt after it; for the last one it may be
    /// used up.
    ///
    /// # Errors
    ///
    /// If the request cannot be made again after all. The caller then gets the last failure, or
    /// this error where the failure was a response that is gone.
    fn resend(&self, backup: Self::Backup, next: &Next) -> Resent<Self::Sent, Self::Backup>;

    /// When this call must be over; wins over the layer's total timeout.
    fn deadline(&self, _request: &Req) -> Option<Deadline> {
        None
    }

    /// What the request's budget is chosen by, for a layer with several of them.
    fn scope<'a>(&self, _request: &'a Req) -> Option<&'a [u8]> {
        None
    }
}

/// What [`Resend::resend`] gives: the attempt, and the backup if there may be another one.
pub type Resent<Sent, Backup> = Result<(Sent, Option<Backup>), BoxError>;

/// Decides which requests go again.
///
/// The layer keeps count, waits, and minds the budget and the deadline; the policy knows what a
/// request and a response mean. `HttpPolicy` is the one for HTTP and gRPC, [`Repeat`](crate::Repeat)
/// the one for requests that are simply cloned.
///
/// For each call the layer asks, in this order: [`begin`](Resend::begin) once; then after each
/// attempt [`outcome`](Self::outcome) and, if that is not a success and there is a backup,
/// [`judge`](Self::judge); [`retire`](Self::retire) for a response that will not be returned now;
/// [`resend`](Resend::resend) when the wait is over.
pub trait Policy<Req, Res>: Resend<Req> {
    /// Gets rid of a failed response, polled while the layer waits and dropped when it is done.
    /// Where dropping the response is all, `std::future::Pending<()>` and [`Retired::Dropped`].
    type Discard: Future;

    /// Says what an attempt came to.
    fn outcome(&self, result: &Result<Res, BoxError>) -> Outcome;

    /// Decides what follows an attempt that was no success.
    fn judge(
        &self,
        backup: &Self::Backup,
        outcome: Outcome,
        result: &Result<Res, BoxError>,
    ) -> Verdict;

    /// Takes leave of a failed response before the wait: it is either whole, so that it can still
    /// be returned if the wait leads nowhere, or something that ends by itself, or gone.
    fn retire(&self, response: Res) -> Retired<Res, Self::Discard>;

    /// The attempts that a layer inside made for this result, if it counted them.
    fn counted(&self, result: &Result<Res, BoxError>) -> Option<Attempts> {
        counted_in(&**result.as_ref().err()?)
    }

    /// Tells the caller, in the response, about the attempts that were made. Called only if there
    /// was more than one.
    fn note(&self, _response: &mut Res, _attempts: &Attempts) {}
}

/// The attempts that an error says were made.
pub(crate) fn counted_in(error: &(dyn Error + 'static)) -> Option<Attempts> {
    cause::<AttemptsFailed>(error).map(|failed| failed.attempts().clone())
}

/// The attempt that [`Resend::resend`] prepares.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Next {
    /// Which attempt it is, counted from 1; so at least 2.
    pub attempt: u32,
    /// Whether no attempt will follow it.
    pub last: bool,
    /// The count that travels with the request.
    pub attempts: Attempts,
}

/// What follows a failed attempt.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The result goes to the caller.
    Return(Ending),
    /// The request goes again if attempts, budget and deadline allow it.
    Retry(Delay),
}

/// How long to wait before the next attempt.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// What the layer's backoff says.
    Backoff,
    /// What the backoff says, but never less than this: the server asked for it. A jitter of up to
    /// a tenth, at most one second, is added, so that those who were told the same do not come
    /// back together.
    AtLeast(Duration),
    /// What the server asked for, in place of the backoff, which starts over (gRPC pushback).
    Pushback(Duration),
}

/// What became of a response that is not returned at once.
#[non_exhaustive]
#[derive(Debug)]
pub enum Retired<Res, D> {
    /// It is whole and holds no connection.
    Kept(Res),
    /// It is being thrown away.
    Discarded(D),
    /// It is gone.
    Dropped,
}

/// Why a call ended as it did.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It succeeded.
    Success,
    /// The failure is not one that another attempt would mend.
    NotRetryable,
    /// The request may have been processed and is not idempotent.
    NotIdempotent,
    /// All attempts were used.
    MaxAttempts,
    /// The retry budget was empty, or its next token came too late.
    BudgetExhausted,
    /// The next attempt would have begun at or after the deadline.
    DeadlineTooClose,
    /// The deadline passed while an attempt was under way or waiting to be sent.
    DeadlinePassed,
    /// The server said not to try again.
    ServerSaidNo,
    /// The server asked for a longer wait than the policy allows.
    ServerDelayTooLong,
    /// The request body cannot be sent again.
    BodyNotReplayable,
    /// The inner service did not become ready for the next attempt in time.
    ReadyTimeout,
    /// The inner service failed while it was asked to become ready.
    NotReady,
    /// A layer further out makes the attempts.
    Nested,
    /// Retries are switched off for this request.
    Disabled,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Ending {
    /// A short name for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::NotRetryable => "not_retryable",
            Self::NotIdempotent => "not_idempotent",
            Self::MaxAttempts => "max_attempts",
            Self::BudgetExhausted => "budget_exhausted",
            Self::DeadlineTooClose => "deadline_too_close",
            Self::DeadlinePassed => "deadline_passed",
            Self::ServerSaidNo => "server_said_no",
            Self::ServerDelayTooLong => "server_delay_too_long",
            Self::BodyNotReplayable => "body_not_replayable",
            Self::ReadyTimeout => "ready_timeout",
            Self::NotReady => "not_ready",
            Self::Nested => "nested",
            Self::Disabled => "disabled",
        }
    }
}
