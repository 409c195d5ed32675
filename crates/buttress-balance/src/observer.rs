//! What the layer tells those who watch it.

use std::time::Duration;

use buttress_core::Outcome;

use crate::{BalanceErrorKind, Endpoint};

/// Is told what the layer does. Every method does nothing unless it is written; `()` is the
/// observer that watches nothing and costs nothing.
///
/// The methods run inside the call, so they should be short.
pub trait Observer: Clone {
    /// A call goes to an endpoint.
    fn picked(&self, _event: &Picked<'_>) {}

    /// The head of an answer came, or an error.
    fn answered(&self, _event: &Answered<'_>) {}

    /// A call put its endpoint out of use: by its answer, its body or its trailers, or because it was
    /// dropped after [too long](crate::BalanceLayer::cancel_after).
    fn ejected(&self, _endpoint: &Endpoint, _time: Duration) {}

    /// A call put its endpoint back into use.
    fn readmitted(&self, _endpoint: &Endpoint) {}

    /// A call waits in line for an endpoint.
    fn queued(&self) {}

    /// A call went to no endpoint.
    fn refused(&self, _kind: BalanceErrorKind) {}
}

impl Observer for () {}

/// A call goes to an endpoint.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct Picked<'a> {
    /// The endpoint, as it was when it was added.
    pub endpoint: &'a Endpoint,
    /// How many endpoints the call was sent to by this layer, this one included.
    pub attempt: u32,
    /// Whether it is the one call that tries an ejected endpoint.
    pub probe: bool,
    /// Whether it goes there although every endpoint is out.
    pub panic: bool,
}

/// The head of an answer came, or an error.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The endpoint, as it was when it was added.
    pub endpoint: &'a Endpoint,
    /// How many endpoints the call was sent to by this layer, this one included.
    pub attempt: u32,
    /// What it came to.
    pub outcome: Outcome,
    /// The time since the endpoint was chosen.
    pub latency: Duration,
    /// Whether the call goes on to another endpoint, or waits in line for one: if none has room in
    /// time, this answer is given all the same.
    pub next: bool,
}

impl<'a> Answered<'a> {
    pub(crate) const fn new(
        endpoint: &'a Endpoint,
        attempt: u32,
        outcome: Outcome,
        latency: Duration,
    ) -> Self {
        Self { endpoint, attempt, outcome, latency, next: false }
    }
}
