//! Bodies that survive another attempt, and responses that are held until they begin.
//!
//! A request body is either cheap to clone ([`CloneBody`]) or a stream that can be read once. A stream
//! goes through a [`ReplayBody`]: it passes on unchanged while its bytes are recorded, up to a cap for
//! each request ([`ReplayLimits`]) and one for the process ([`ReplayMemory`]), and the [`Replay`] that
//! comes with it makes the body of the next attempt.
//!
//! A response is held by [`Commit`] until its first significant frame, so that a server which answers
//! `200 OK` and then fails before it has said anything can still be retried. A failed response is
//! emptied by [`Drain`], so that its connection can be used again.

mod commit;
mod drain;
mod error;
mod filler;
mod held;
mod hold;
mod memory;
mod replay;
mod shared;
mod tape;

pub use buttress_core::CloneBody;

pub use self::{
    commit::{Commit, CommitFuture, CommitLayer, FirstFrame},
    drain::{Drain, Drained},
    error::{BeforeFirstFrame, NotReplayable, SourceFailed, Superseded},
    held::HeldBody,
    hold::Hold,
    memory::{ReplayLimits, ReplayMemory},
    replay::{Replay, ReplayBody},
};
