//! What a shard is asked, and what it answers.

use crate::{
    limiter::{Ask, Denied, Wait},
    store::{line::Rank, table::Mark},
};

/// How much a shard may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) keys: usize,
    pub(crate) overflow: usize,
    pub(crate) stride: usize,
}

/// Where a key's windows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    Own(usize),
    Shared(usize),
}

/// What is known of a request once its key's place is.
pub(crate) enum Placed {
    /// It costs nothing.
    Free,
    /// Its key was new, and it is admitted.
    Taken(Spot),
    At(Spot),
}

/// What came of entering.
#[derive(Debug)]
pub(crate) enum Entered {
    Admitted(Mark),
    Denied(Denied),
    /// In line; when it is its turn, if it is the first.
    Queued(Option<u64>),
}

/// What came of asking whether it is one's turn.
#[derive(Debug)]
pub(crate) enum Turn {
    Admitted(Mark),
    Denied(Denied),
    /// Not before then; `None` if others stand before.
    NotYet(Option<u64>),
}

/// A request that waits, or is about to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) ask: Ask,
    pub(crate) wait: Wait,
    pub(crate) rank: Rank,
    pub(crate) deadline: u64,
    pub(crate) spread: u64,
}
