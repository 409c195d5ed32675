//! Prices by latency, for the policies that know one.

use super::{
    Candidate, PickContext, cost,
    roster::{Rate, Roster, lower},
};

/// Costs latency times the calls in line, as `latency` and `penalty` say of a candidate.
pub(super) struct ByLatency<'a, L, P> {
    pub(super) roster: &'a Roster,
    /// In seconds; NaN if there is no sample.
    pub(super) latency: L,
    /// A factor of at least 1.
    pub(super) penalty: P,
    /// See [`Rate::slack`].
    pub(super) slack: f32,
}

impl<L, P> Rate for ByLatency<'_, L, P>
where
    L: Fn(&Candidate) -> f32,
    P: Fn(&Candidate) -> f32,
{
    #[inline]
    fn slack(&self) -> f32 {
        self.slack
    }

    /// What does not wait for the count of calls is multiplied first: the comparison is as far away as
    /// the longest chain of steps.
    #[inline(always)]
    fn prefers(&self, one: &Candidate, other: &Candidate) -> Option<bool> {
        let (ones, others) = ((self.latency)(one), (self.latency)(other));
        if (ones + others).is_nan() {
            return None;
        }
        let (ones, others) =
            (ones * (self.penalty)(one), others * self.slack * (self.penalty)(other));
        let in_line = |candidate: &Candidate| (candidate.in_flight() + 1) as f32;
        Some(ones * in_line(one) <= others * in_line(other))
    }

    #[inline]
    fn rate(&self, cx: &PickContext<'_>, at: impl Fn(usize) -> usize, costs: &mut [f32]) -> f32 {
        let (mut unknown, mut lowest) = (false, f32::MAX);
        for (nth, cost) in costs.iter_mut().enumerate() {
            let candidate = &cx.candidates()[at(nth)];
            let latency = (self.latency)(candidate);
            unknown |= latency.is_nan();
            *cost = self.queued(candidate, latency);
            lowest = lower(lowest, *cost);
        }
        if unknown { self.rate_unknown(cx, at, costs) } else { lowest }
    }
}

impl<L: Fn(&Candidate) -> f32, P: Fn(&Candidate) -> f32> ByLatency<'_, L, P> {
    #[inline]
    fn queued(&self, candidate: &Candidate, latency: f32) -> f32 {
        cost::queued(latency, self.roster.load(candidate)) * (self.penalty)(candidate)
    }

    /// The same with the typical latency where none is known.
    #[cold]
    fn rate_unknown(
        &self,
        cx: &PickContext<'_>,
        at: impl Fn(usize) -> usize,
        costs: &mut [f32],
    ) -> f32 {
        let candidate = |nth| &cx.candidates()[at(nth)];
        for (nth, cost) in costs.iter_mut().enumerate() {
            *cost = (self.latency)(candidate(nth));
        }
        let (typical, mut lowest) = (cost::typical(costs), f32::MAX);
        for (nth, cost) in costs.iter_mut().enumerate() {
            let latency = if cost.is_nan() { typical } else { *cost };
            *cost = self.queued(candidate(nth), latency);
            lowest = lower(lowest, *cost);
        }
        lowest
    }
}
