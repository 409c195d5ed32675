//! The choice among endpoints that are fit to take a call.

mod adaptive;
mod alias;
mod bounded;
mod cost;
pub mod key;
mod latencies;
mod least_request;
mod peak_ewma;
mod random;
mod rendezvous;
mod ring;
mod ring_hash;
mod roster;
mod round_robin;
mod stride;

use std::{cell::Cell, sync::Arc, time::Duration};

use buttress_core::Attempts;

pub use self::{
    adaptive::Adaptive, least_request::LeastRequest, peak_ewma::PeakEwma, random::Random,
    rendezvous::Rendezvous, ring_hash::RingHash, round_robin::RoundRobin,
};
use self::{alias::Alias, stride::Stride};
use crate::{Endpoint, EndpointId, Ewma, Moment, Observation, node::Node};

/// Chooses the endpoint of a call.
///
/// Only those that are fit are offered: what is ejected, held, drained, of weight 0 or of a lower
/// priority was left out before.
pub trait Pick: Send + Sync + 'static {
    /// What is prepared for a set of candidates: built when they or their weights change.
    type Table: Send + Sync + 'static;

    /// Prepares a choice. There is at least one candidate, and no weight is 0.
    fn table(&self, candidates: &[Candidate]) -> Self::Table;

    /// The position of the chosen one, which must be [allowed](PickContext::allowed); `None` if
    /// none is. No lock and no allocation belongs here.
    fn pick(&self, table: &Self::Table, cx: &PickContext<'_>) -> Option<usize>;

    /// Is told once what a call came to.
    fn observe(&self, _endpoint: &Candidate, _observation: &Observation, _now: Moment) {}
}

/// Says which requests belong together. Policies that do not ask have an empty implementation:
/// `impl<Req> HashKey<Req> for MyPolicy {}`.
pub trait HashKey<Req> {
    /// A number that is the same for requests which should meet the same endpoint.
    fn hash_key(&self, _request: &Req) -> Option<u64> {
        None
    }
}

/// An endpoint that can be chosen.
#[derive(Clone, Debug)]
pub struct Candidate {
    node: Arc<Node>,
    weight: u32,
    pub(crate) priority: u8,
}

impl Candidate {
    pub(crate) const fn new(node: Arc<Node>, weight: u32, priority: u8) -> Self {
        Self { node, weight, priority }
    }

    pub(crate) const fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        self.node.id
    }

    /// The endpoint, as it was when it was added. Whoever asks for its weight or its zone as it is now
    /// finds them at [`weight`](Self::weight) and in
    /// [`EndpointSet::snapshot`](crate::EndpointSet::snapshot).
    pub fn endpoint(&self) -> &Endpoint {
        &self.node.endpoint
    }

    /// Its weight, at least 1 where it is offered.
    #[must_use]
    pub const fn weight(&self) -> u32 {
        self.weight
    }

    /// How many calls are in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        u32::try_from(self.node.load().in_flight()).unwrap_or(u32::MAX)
    }

    /// How many calls ever went there.
    #[must_use]
    pub fn picks(&self) -> u64 {
        self.node.load().picks()
    }

    /// The faded average of the time to the head of a successful response, in seconds, and how old
    /// its last sample is. Errors leave it alone. `None` before the first sample.
    #[must_use]
    pub fn latency(&self, now: Moment) -> Option<(f32, Duration)> {
        self.node.latency().read(now)
    }

    /// The share of good answers lately, from 0 to 1: each counts 5 %, and without any it returns
    /// to 1 within some 10 seconds.
    #[must_use]
    pub fn success_rate(&self, now: Moment) -> f32 {
        self.node.success().at(now)
    }

    /// A word that belongs to the policy.
    #[must_use]
    pub fn peak(&self) -> &Ewma {
        self.node.peak()
    }
}

/// What a choice is made from.
#[derive(Debug)]
pub struct PickContext<'a> {
    candidates: &'a [Candidate],
    now: Moment,
    key: Option<u64>,
    tried: Option<&'a Attempts>,
    limited: bool,
    slow_start: u64,
    random: Cell<u64>,
}

impl<'a> PickContext<'a> {
    /// A choice from `candidates`, all of them allowed; `seed` decides what is left to chance.
    #[must_use]
    pub fn new(candidates: &'a [Candidate], now: Moment, seed: u64) -> Self {
        Self {
            candidates,
            now,
            key: None,
            tried: None,
            limited: candidates.iter().any(|candidate| candidate.node.is_limited()),
            slow_start: 0,
            random: Cell::new(seed),
        }
    }

    /// The same for a request with this hash key.
    #[must_use]
    pub const fn with_key(mut self, key: Option<u64>) -> Self {
        self.key = key;
        self
    }

    pub(crate) const fn of_level(
        candidates: &'a [Candidate],
        now: Moment,
        seed: u64,
        terms: LevelTerms<'a>,
    ) -> Self {
        let LevelTerms { key, tried, limited, slow_start } = terms;
        Self { candidates, now, key, tried, limited, slow_start, random: Cell::new(seed) }
    }

    /// Those that can be chosen, at least one.
    #[must_use]
    pub const fn candidates(&self) -> &'a [Candidate] {
        self.candidates
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Moment {
        self.now
    }

    /// The request's hash key, if it has one.
    #[must_use]
    pub const fn key(&self) -> Option<u64> {
        self.key
    }

    /// Whether [`allowed`](Self::allowed) is true for all and need not be asked.
    #[must_use]
    pub const fn unrestricted(&self) -> bool {
        !self.limited && self.tried.is_none()
    }

    /// Whether the candidate at `index` was not tried for this call and has a place free.
    #[must_use]
    pub fn allowed(&self, index: usize) -> bool {
        let Some(candidate) = self.candidates.get(index) else { return false };
        if self.limited && candidate.node.is_full() {
            return false;
        }
        self.tried.is_none_or(|tried| !tried.has_tried(candidate.id().number()))
    }

    /// Whether some candidates are still coming to their full share.
    #[must_use]
    pub const fn warming(&self) -> bool {
        self.slow_start > 0
    }

    /// The share of the candidate at `index` beside the others': its weight, less while it is
    /// coming to its full share. Above 0.
    #[must_use]
    pub fn share(&self, index: usize) -> f32 {
        let Some(candidate) = self.candidates.get(index) else { return 1.0 };
        let weight = weight(candidate.weight);
        if self.slow_start == 0 {
            return weight;
        }
        weight * candidate.node.warmth(self.now, self.slow_start)
    }

    /// A number by chance (wyrand).
    #[must_use]
    pub fn random(&self) -> u64 {
        // Not the step that seeds take from one call to the next.
        let state = self.random.get().wrapping_add(0x2d35_8dcc_aa6c_78a5);
        self.random.set(state);
        let product = u128::from(state) * u128::from(state ^ 0x8bb8_4b93_962e_acc9);
        low_half(product) ^ low_half(product >> 64)
    }

    /// A number below `bound` by chance, each as likely as the others; 0 if `bound` is 0.
    #[must_use]
    pub fn below(&self, bound: usize) -> usize {
        let product = u128::from(self.random()) * (bound as u128);
        usize::try_from(product >> 64).unwrap_or(0)
    }
}

/// What a level and a call add to a choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LevelTerms<'a> {
    pub(crate) key: Option<u64>,
    pub(crate) tried: Option<&'a Attempts>,
    pub(crate) limited: bool,
    /// In milliseconds; 0 if nobody is coming to its full share.
    pub(crate) slow_start: u64,
}

fn low_half(product: u128) -> u64 {
    u64::try_from(product & u128::from(u64::MAX)).unwrap_or(0)
}

fn weight(weight: u32) -> f32 {
    // At most 65,535: `Endpoint::weight`.
    f32::from(u16::try_from(weight).unwrap_or(u16::MAX))
}
