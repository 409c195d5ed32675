//! The endpoint with the fewest calls in flight.

use buttress_core::SettingError;

use crate::load::Load;

use super::{
    Candidate, HashKey, Pick, PickContext,
    roster::{Rate, Reach, Roster, is_open, lower},
};

/// Chooses the endpoint with the fewest calls in flight for its weight: nginx's `least_conn`.
///
/// Up to 64 endpoints are all looked at; of more, two are drawn by their weight and compared
/// (Mitzenmacher, "The power of two choices in randomized load balancing", 2001). Chance decides
/// among equals, by weight, so that idle endpoints of weights 5 and 1 get five calls of six and one.
///
/// It does not see how fast an endpoint answers, nor that it only fails; [`Adaptive`](super::Adaptive)
/// does.
#[derive(Clone, Copy, Debug)]
pub struct LeastRequest {
    reach: Reach,
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self::new()
    }
}

impl LeastRequest {
    /// Looks at all of up to 64 endpoints, and at two of more.
    #[must_use]
    pub const fn new() -> Self {
        Self { reach: Reach::new(super::roster::MOST) }
    }

    /// How many are drawn where not all are looked at. Default: 2.
    ///
    /// # Errors
    ///
    /// If it is below 2 or above 16.
    pub fn choices(self, choices: usize) -> Result<Self, SettingError> {
        Ok(Self { reach: self.reach.choices(choices)? })
    }

    /// Up to how many endpoints are all looked at; 0 draws always. Default: 64.
    ///
    /// # Errors
    ///
    /// If it is above 64.
    pub fn full_scan(self, endpoints: usize) -> Result<Self, SettingError> {
        Ok(Self { reach: self.reach.scan(endpoints)? })
    }
}

impl Pick for LeastRequest {
    type Table = Roster;

    fn table(&self, candidates: &[Candidate]) -> Roster {
        Roster::of(candidates)
    }

    #[inline(always)]
    fn pick(&self, roster: &Roster, cx: &PickContext<'_>) -> Option<usize> {
        if roster.is_even() && is_open(cx) && self.reach.spans(cx.candidates().len()) {
            return fewest(cx);
        }
        roster.cheapest(cx, self.reach, &InFlight(roster))
    }
}

/// The one with the fewest calls in flight, where all weigh the same and are fit; at most 64.
///
/// One pass over one number each: the calls in flight, then chance, then the position.
#[inline]
fn fewest(cx: &PickContext<'_>) -> Option<usize> {
    const POSITION: u64 = 63;
    const CHANCE: u64 = u64::MAX >> Load::IN_FLIGHT_BITS;
    let (random, mut salt, mut least) = (cx.random(), 0_u64, u64::MAX);
    for (position, candidate) in (0_u64..).zip(cx.candidates()) {
        salt = salt.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let chance = (random ^ salt).wrapping_mul(0xd6e8_feb8_6659_fd93) >> Load::IN_FLIGHT_BITS;
        let load = candidate.node().load().in_flight_first();
        least = least.min(load | chance & CHANCE & !POSITION | position);
    }
    usize::try_from(least & POSITION).ok().filter(|_| !cx.candidates().is_empty())
}

/// Costs as much as is in flight.
struct InFlight<'a>(&'a Roster);

impl Rate for InFlight<'_> {
    #[inline]
    fn prefers(&self, one: &Candidate, other: &Candidate) -> Option<bool> {
        let load = |candidate: &Candidate| candidate.node().load().in_flight_first();
        Some(load(one) <= load(other))
    }

    #[inline]
    fn rate(&self, cx: &PickContext<'_>, at: impl Fn(usize) -> usize, costs: &mut [f32]) -> f32 {
        let mut lowest = f32::MAX;
        for (nth, cost) in costs.iter_mut().enumerate() {
            *cost = self.0.load(&cx.candidates()[at(nth)]);
            lowest = lower(lowest, *cost);
        }
        lowest
    }
}

impl<Req> HashKey<Req> for LeastRequest {}
