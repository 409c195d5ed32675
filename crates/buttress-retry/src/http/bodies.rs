//! How a request body gets to the next attempt.

use std::fmt;

use bytes::Buf;
use http_body::Body;

use buttress_core::BoxError;

use crate::{CloneBody, Ending, Replay, ReplayBody, ReplayLimits, Resent};

/// How a request body of type `B` gets to the next attempt.
///
/// Three ways come with the crate: [`CloneBodies`], [`ReplayBodies`] and [`ReplayInto`].
pub trait BodyMode<B> {
    /// The body that is sent.
    type Sent;
    /// What is kept of it.
    type Backup;

    /// Prepares the first attempt; without a backup, the request goes only once.
    fn begin(&self, body: B) -> (Self::Sent, Option<Self::Backup>);

    /// Prepares a body that goes only once.
    fn once(&self, body: B) -> Self::Sent;

    /// Whether the body can be sent again as things stand now.
    ///
    /// # Errors
    ///
    /// The reason why it cannot.
    fn check(&self, backup: &Self::Backup) -> Result<(), Ending>;

    /// Makes the body of the next attempt, after a [`check`](Self::check); the last one may use
    /// the backup up.
    ///
    /// # Errors
    ///
    /// If the body became unusable since: the attempt that failed may have gone on reading it.
    fn again(&self, backup: Self::Backup, last: bool) -> Resent<Self::Sent, Self::Backup>;
}

/// Clones the body and wraps nothing: for `Full`, `Empty`, `String` and other bodies in memory.
///
/// A body whose [`CloneBody::try_clone`] gives `None` is sent once.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneBodies;

impl<B: CloneBody> BodyMode<B> for CloneBodies {
    type Sent = B;
    type Backup = B;

    fn begin(&self, body: B) -> (B, Option<B>) {
        let backup = body.try_clone();
        (body, backup)
    }

    fn once(&self, body: B) -> B {
        body
    }

    fn check(&self, _: &B) -> Result<(), Ending> {
        Ok(())
    }

    fn again(&self, backup: B, last: bool) -> Resent<B, B> {
        if last {
            return Ok((backup, None));
        }
        let next = backup.try_clone();
        Ok((backup, next))
    }
}

/// Records a streaming body while it is sent, and plays it again: see [`ReplayBody`].
#[derive(Clone, Debug, Default)]
pub struct ReplayBodies(ReplayLimits);

impl ReplayBodies {
    /// Records within `limits`.
    #[must_use]
    pub const fn new(limits: ReplayLimits) -> Self {
        Self(limits)
    }
}

impl<B> BodyMode<B> for ReplayBodies
where
    B: Body<Data: Buf, Error: Into<BoxError>> + Unpin,
{
    type Sent = ReplayBody<B>;
    type Backup = Replay<B>;

    fn begin(&self, body: B) -> (Self::Sent, Option<Self::Backup>) {
        ReplayBody::record(body, &self.0)
    }

    fn once(&self, body: B) -> Self::Sent {
        ReplayBody::pass(body)
    }

    fn check(&self, backup: &Self::Backup) -> Result<(), Ending> {
        backup.replayable().map_err(|_| Ending::BodyNotReplayable)
    }

    fn again(&self, backup: Self::Backup, last: bool) -> Resent<Self::Sent, Self::Backup> {
        if last {
            return Ok((backup.into_body()?, None));
        }
        Ok((backup.body()?, Some(backup)))
    }
}

/// Like [`ReplayBodies`], for a service that takes one type of body only: what is sent is made out of
/// the [`ReplayBody`] by a function, and has the type of the body that came.
#[derive(Clone)]
pub struct ReplayInto<F> {
    limits: ReplayLimits,
    wrap: F,
}

impl<F> ReplayInto<F> {
    /// Records within `limits` and wraps with `wrap`.
    pub const fn new(limits: ReplayLimits, wrap: F) -> Self {
        Self { limits, wrap }
    }
}

impl<F> fmt::Debug for ReplayInto<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayInto").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl<B, F> BodyMode<B> for ReplayInto<F>
where
    B: Body<Data: Buf, Error: Into<BoxError>> + Unpin,
    F: Fn(ReplayBody<B>) -> B,
{
    type Sent = B;
    type Backup = Replay<B>;

    fn begin(&self, body: B) -> (B, Option<Replay<B>>) {
        let (body, backup) = ReplayBody::record(body, &self.limits);
        ((self.wrap)(body), backup)
    }

    fn once(&self, body: B) -> B {
        body
    }

    fn check(&self, backup: &Replay<B>) -> Result<(), Ending> {
        backup.replayable().map_err(|_| Ending::BodyNotReplayable)
    }

    fn again(&self, backup: Replay<B>, last: bool) -> Resent<B, Replay<B>> {
        if last {
            return Ok(((self.wrap)(backup.into_body()?), None));
        }
        Ok(((self.wrap)(backup.body()?), Some(backup)))
    }
}
