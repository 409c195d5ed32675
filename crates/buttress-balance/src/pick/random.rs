//! Chance alone.

use super::{
    Candidate, HashKey, Pick, PickContext,
    roster::{Roster, is_fit, is_open},
};

/// Chooses by chance, each endpoint as likely as it weighs.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Random {
    /// As likely as it weighs.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

/// Draws before all are weighed one by one.
const DRAWS: u32 = 8;

impl Pick for Random {
    type Table = Roster;

    fn table(&self, candidates: &[Candidate]) -> Roster {
        Roster::of(candidates)
    }

    fn pick(&self, roster: &Roster, cx: &PickContext<'_>) -> Option<usize> {
        if is_open(cx) {
            return Some(roster.draw(cx));
        }
        // Drawing again until one is fit leaves the odds among those that are fit as they were.
        let mut draws = (0..DRAWS).map(|_| roster.draw(cx));
        let drawn = draws.find(|position| is_fit(cx, *position));
        drawn.or_else(|| roster.any_allowed(cx))
    }
}

impl<Req> HashKey<Req> for Random {}
