//! One call's place at an endpoint, and what the call comes to.

use std::time::Duration;

use buttress_core::Outcome;

use crate::{Candidate, Endpoint, EndpointId, Moment};

/// A call's place at an endpoint: it counts as in flight until this is dropped.
///
/// What the call comes to is told to [`Balancer::observe`](crate::Balancer::observe). If it is the
/// one that tries an ejected endpoint and nothing is told, the next call may try.
#[must_use = "dropping it ends the call"]
#[derive(Debug)]
pub struct Lease {
    candidate: Candidate,
    pub(crate) epoch: u64,
    pub(crate) kind: Kind,
    pub(crate) judged: Judged,
    pub(crate) started: Moment,
}

/// Why an endpoint was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// The one call that tries an ejected endpoint.
    Probe,
    /// All are out, and calls go on.
    Panic,
}

/// What was told of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    Nothing,
    /// Its head was good; its body may still break.
    Good,
    Finally,
}

impl Lease {
    /// Takes a place, if there is one.
    #[inline(always)]
    pub(crate) fn take(candidate: &Candidate, kind: Kind, now: Moment) -> Option<Self> {
        let node = candidate.node();
        // The epoch comes first: an ejection in between makes this call a stale one.
        let epoch = node.health().epoch();
        if !node.load().take(node.most_in_flight()) {
            return None;
        }
        Some(Self {
            candidate: candidate.clone(),
            epoch,
            kind,
            judged: Judged::Nothing,
            started: now,
        })
    }

    /// The number of the endpoint.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        self.candidate.id()
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        self.candidate.endpoint()
    }

    /// The endpoint as it was offered for the choice.
    #[must_use]
    pub const fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// Whether this is the one call that tries an ejected endpoint.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.kind == Kind::Probe
    }

    /// Whether it goes there although every endpoint is out.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.kind == Kind::Panic
    }

    pub(crate) fn is_unjudged(&self) -> bool {
        self.judged == Judged::Nothing
    }

    /// When it was taken.
    #[must_use]
    pub const fn started(&self) -> Moment {
        self.started
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let node = self.candidate.node();
        // Whatever was told of it: if that did not decide, another call is to try.
        if self.kind == Kind::Probe && node.health().give_back(self.epoch) {
            node.pulse().due_at(0);
            node.pulse().line.wake();
        }
        node.load().release();
        node.pulse().line.released();
    }
}

/// What a call came to, as far as its endpoint is concerned.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// How it ended.
    pub verdict: Verdict,
    /// The time to the head of the response.
    pub latency: Option<Duration>,
    /// For how long the server asked to be left alone.
    pub hold: Option<Duration>,
    /// For how long the server asked this one caller to stay away.
    pub spare: Option<Duration>,
}

/// How a call ended, as far as its endpoint is concerned.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It was answered.
    Success,
    /// It says nothing about the endpoint: the caller went away.
    Neutral,
    /// The endpoint asks for less: it counts for the load it is given, not for its ejection.
    Soft,
    /// The endpoint failed.
    Failure,
}

impl Observation {
    /// A verdict alone.
    #[must_use]
    pub const fn new(verdict: Verdict) -> Self {
        Self { verdict, latency: None, hold: None, spare: None }
    }

    /// Adds the time to the head of the response.
    #[must_use]
    pub const fn latency(mut self, time: Duration) -> Self {
        self.latency = Some(time);
        self
    }

    /// Adds for how long the server asked to be left alone.
    #[must_use]
    pub const fn hold(mut self, time: Duration) -> Self {
        self.hold = Some(time);
        self
    }

    /// Adds for how long the server asked this one caller to stay away: others are preferred for as
    /// long, but no call waits for it.
    #[must_use]
    pub const fn spare(mut self, time: Duration) -> Self {
        self.spare = Some(time);
        self
    }
}

impl Verdict {
    /// What an outcome says about the endpoint. A request that was refused for its own faults was
    /// answered.
    #[must_use]
    pub const fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success | Outcome::Rejected => Self::Success,
            _ => Self::Failure,
        }
    }
}
