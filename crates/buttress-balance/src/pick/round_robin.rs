//! Each in its turn.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    Candidate, HashKey, Pick, PickContext, Stride,
    roster::{Roster, is_fit, is_open},
};

/// Goes around the endpoints, each as often as it weighs, smoothly: weights 5, 1 and 1 give
/// `a a b a a c a`, not five calls in a row.
///
/// Over each cycle the counts are exact, from however many threads: they share one counter and
/// nothing else. It begins at a place left to chance, so that clients that start together do not all
/// meet the same endpoint first. Weights whose sum, without common divisors, is above 4,096 follow
/// an order that needs no table: the counts over its cycle are exact too, and within it a few turns
/// off at most.
///
/// An endpoint that cannot have its turn (it was tried for this call, or it is full) leaves it to
/// the next one.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

impl RoundRobin {
    /// Begins at a place left to chance.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

/// The order, and whose turn it is.
#[expect(unnameable_types, reason = "what a policy prepares is its own business")]
#[derive(Debug)]
pub struct Turns {
    stride: Stride,
    next: Counter,
    roster: Roster,
}

/// A counter that shares its cache line with nothing.
#[derive(Debug)]
#[repr(align(64))]
struct Counter(AtomicU64);

/// Turns that are passed on before chance decides.
const PASSES: u64 = 64;

impl Pick for RoundRobin {
    type Table = Turns;

    fn table(&self, candidates: &[Candidate]) -> Turns {
        let weights: Vec<u32> = candidates.iter().map(Candidate::weight).collect();
        let stride = Stride::of(&weights);
        let next = Counter(AtomicU64::new(stride.start(fastrand::u64(..))));
        Turns { stride, next, roster: Roster::of(candidates) }
    }

    fn pick(&self, turns: &Turns, cx: &PickContext<'_>) -> Option<usize> {
        let turn = turns.next.0.fetch_add(1, Ordering::Relaxed);
        let position = turns.stride.at(turn);
        if is_open(cx) || is_fit(cx, position) {
            return Some(position);
        }
        let others = (1..=PASSES).map(|pass| turns.stride.at(turn.wrapping_add(pass)));
        let found = others.into_iter().find(|position| is_fit(cx, *position));
        found.or_else(|| turns.roster.any_allowed(cx))
    }
}

impl<Req> HashKey<Req> for RoundRobin {}
