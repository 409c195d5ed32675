//! Who is looked at for a choice, and who of them is taken: what the policies that compare costs
//! share.

use std::hint::select_unpredictable;

use buttress_core::SettingError;

use super::{Alias, Candidate, PickContext};

/// The most candidates that one choice looks at.
pub(super) const MOST: usize = 64;
/// The most that it draws.
const MOST_DRAWN: usize = 16;

/// How many candidates a choice looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// All, as long as there are no more than this.
    scan: usize,
    /// Else so many, drawn by weight.
    choices: usize,
}

impl Reach {
    pub(super) const fn new(scan: usize) -> Self {
        Self { scan, choices: 2 }
    }

    /// Whether so many are all looked at.
    pub(super) const fn spans(self, candidates: usize) -> bool {
        candidates <= self.scan
    }

    pub(super) fn choices(self, choices: usize) -> Result<Self, SettingError> {
        if !(2..=MOST_DRAWN).contains(&choices) {
            let reason = format!("{choices}, but at least 2 are compared and at most {MOST_DRAWN}");
            return Err(SettingError::new("pick.choices", reason));
        }
        Ok(Self { choices, ..self })
    }

    pub(super) fn scan(self, scan: usize) -> Result<Self, SettingError> {
        if scan > MOST {
            let reason = format!("{scan}, but at most {MOST} are looked at one by one");
            return Err(SettingError::new("pick.full_scan", reason));
        }
        Ok(Self { scan, ..self })
    }
}

/// Puts a price on candidates.
pub(super) trait Rate {
    /// Costs of up to so many times the lowest count as equal to it.
    fn slack(&self) -> f32 {
        1.0
    }

    /// Whether `one` is no dearer than `other`, or equal within the slack, where both weigh the same;
    /// `None` if that takes a look at others.
    fn prefers(&self, one: &Candidate, other: &Candidate) -> Option<bool>;

    /// Writes the cost of the candidate at each position into its place, and returns the lowest. A
    /// cost is finite and at least 0.
    fn rate(&self, cx: &PickContext<'_>, at: impl Fn(usize) -> usize, costs: &mut [f32]) -> f32;
}

/// Keeps the lower one. Numbers of one sign are in the order of their bits, and integers compare
/// sooner.
#[inline]
pub(super) fn lower(one: f32, other: f32) -> f32 {
    if other.to_bits() < one.to_bits() { other } else { one }
}

/// Weights, prepared for draws.
#[expect(unnameable_types, reason = "what a policy prepares is its own business")]
#[derive(Debug)]
pub struct Roster {
    /// `None` if all weigh the same.
    alias: Option<Alias>,
    heaviest: f32,
}

/// Positions of candidates.
struct Look<const N: usize> {
    at: [u32; N],
    len: usize,
}

impl Roster {
    pub(super) fn of(candidates: &[Candidate]) -> Self {
        let weights: Vec<u32> = candidates.iter().map(Candidate::weight).collect();
        let heaviest = weights.iter().copied().max().unwrap_or(1);
        Self { alias: Alias::of(&weights), heaviest: heaviest as f32 }
    }

    /// Whether all weigh the same.
    pub(super) const fn is_even(&self) -> bool {
        self.alias.is_none()
    }

    /// The calls in flight at a candidate, as many times more as it weighs less than the heaviest.
    #[inline]
    pub(super) fn load(&self, candidate: &Candidate) -> f32 {
        let in_flight = candidate.in_flight() as f32;
        if self.is_even() {
            in_flight
        } else {
            in_flight * (self.heaviest / candidate.weight() as f32)
        }
    }

    /// A candidate by chance, as likely as it weighs.
    #[inline]
    pub(super) fn draw(&self, cx: &PickContext<'_>) -> usize {
        let column = cx.below(cx.candidates().len());
        match &self.alias {
            None => column,
            Some(alias) => alias.at(column, high_half(cx.random())),
        }
    }

    /// One of all that are allowed, by chance and share. It looks at each of them.
    #[cold]
    pub(super) fn any_allowed(&self, cx: &PickContext<'_>) -> Option<usize> {
        let (mut chosen, mut total) = (None, 0.0_f32);
        for position in (0..cx.candidates().len()).filter(|position| cx.allowed(*position)) {
            let share = cx.share(position);
            total += share;
            // The first is taken for certain, as `unit` is below 1.
            if unit(cx.random()) * total < share {
                chosen = Some(position);
            }
        }
        chosen
    }

    /// The cheapest of those within reach; among equals chance decides, by weight.
    #[inline(always)]
    pub(super) fn cheapest(
        &self,
        cx: &PickContext<'_>,
        reach: Reach,
        rate: &impl Rate,
    ) -> Option<usize> {
        // Of many the common case is short enough to be part of the call.
        if cx.candidates().len() > reach.scan
            && reach.choices == 2
            && let Some((one, other)) = self.pair(cx)
            && let Some(first) = rate.prefers(&cx.candidates()[one], &cx.candidates()[other])
        {
            // Nobody can predict which: no branch.
            return Some(select_unpredictable(first, one, other));
        }
        self.cheapest_of_more(cx, reach, rate)
    }

    #[inline(never)]
    fn cheapest_of_more(
        &self,
        cx: &PickContext<'_>,
        reach: Reach,
        rate: &impl Rate,
    ) -> Option<usize> {
        let count = cx.candidates().len();
        let slack = rate.slack();
        if count > reach.scan {
            let drawn = self.drawn(cx, reach.choices);
            let mut costs = [0.0; MOST_DRAWN];
            let costs = &mut costs[..drawn.len];
            let limit = rate.rate(cx, |nth| drawn.position(nth), costs) * slack;
            // The one that was drawn first is chosen among equals: draws go by weight.
            let best = costs.iter().position(|cost| *cost <= limit);
            return match best {
                Some(nth) => Some(drawn.position(nth)),
                None => self.cheapest_allowed(cx, rate),
            };
        }
        if !is_open(cx) {
            return self.cheapest_allowed(cx, rate);
        }
        // The shorter list is the sooner laid out.
        if count <= 16 {
            let mut costs = [0.0; 16];
            let costs = &mut costs[..count];
            let limit = rate.rate(cx, |nth| nth, costs) * slack;
            self.any_within(cx, costs, limit, |nth| nth)
        } else {
            let mut costs = [0.0; MOST];
            let costs = &mut costs[..count];
            let limit = rate.rate(cx, |nth| nth, costs) * slack;
            self.any_within(cx, costs, limit, |nth| nth)
        }
    }

    /// Two that differ, by chance, where every one is as likely and fit.
    #[inline]
    fn pair(&self, cx: &PickContext<'_>) -> Option<(usize, usize)> {
        let count = cx.candidates().len();
        if count < 2 || !self.is_even() || !is_open(cx) {
            return None;
        }
        let one = cx.below(count);
        let other = cx.below(count - 1);
        Some((one, if other < one { other } else { other + 1 }))
    }

    /// The cheapest of all that are fit, or of as many as one choice looks at.
    fn cheapest_allowed(&self, cx: &PickContext<'_>, rate: &impl Rate) -> Option<usize> {
        let count = cx.candidates().len();
        let start = if count > MOST { cx.below(count) } else { 0 };
        let look = Look::<MOST>::all(cx, start);
        let mut costs = [0.0; MOST];
        let costs = &mut costs[..look.len];
        let position = |nth| look.position(nth);
        let limit = rate.rate(cx, position, costs) * rate.slack();
        self.any_within(cx, costs, limit, position).map(position)
    }

    /// Candidates by chance, none of them twice.
    #[inline]
    fn drawn(&self, cx: &PickContext<'_>, choices: usize) -> Look<MOST_DRAWN> {
        let mut look = Look::empty();
        let choices = choices.min(cx.candidates().len());
        for _ in 0..choices * 4 {
            if look.len == choices {
                return look;
            }
            look.offer(cx, self.draw(cx));
        }
        // Where one outweighs all others, the draws above are of that one again and again.
        let count = cx.candidates().len();
        let start = cx.below(count);
        for position in (start..count).chain(0..start).take(MOST) {
            if look.len == choices {
                break;
            }
            look.offer(cx, position);
        }
        look
    }

    /// One of those whose cost is no higher than `limit`, by chance and weight.
    #[inline]
    fn any_within(
        &self,
        cx: &PickContext<'_>,
        costs: &[f32],
        limit: f32,
        position: impl Fn(usize) -> usize,
    ) -> Option<usize> {
        let mut equal = 0_u64;
        for (nth, cost) in costs.iter().enumerate() {
            equal |= u64::from(*cost <= limit) << nth;
        }
        let count = equal.count_ones();
        if count <= 1 {
            return bit(equal, 0);
        }
        let count = usize::try_from(count).unwrap_or(1);
        if self.is_even() {
            let nth = cx.below(count);
            return if count == costs.len() { Some(nth) } else { bit(equal, nth) };
        }
        let weight = |nth: usize| u64::from(cx.candidates()[position(nth)].weight());
        let among = || (0..costs.len()).filter(|nth| equal >> nth & 1 == 1);
        let mut left = below(among().map(weight).sum(), cx.random());
        among().find(|nth| {
            let own = weight(*nth);
            let found = left < own;
            left = left.saturating_sub(own);
            found
        })
    }
}

impl<const N: usize> Look<N> {
    const fn empty() -> Self {
        Self { at: [0; N], len: 0 }
    }

    /// All that are fit, or as many as it holds, from `start` on; those that are still coming to
    /// their full share now and then.
    fn all(cx: &PickContext<'_>, start: usize) -> Self {
        let mut look = Self::empty();
        let count = cx.candidates().len();
        (start..count).chain(0..start).filter(|at| is_fit(cx, *at)).for_each(|at| look.push(at));
        if look.len == 0 && cx.warming() {
            let allowed = (start..count).chain(0..start).filter(|at| cx.allowed(*at));
            allowed.for_each(|at| look.push(at));
        }
        look
    }

    #[inline]
    fn position(&self, nth: usize) -> usize {
        usize::try_from(self.at[nth]).unwrap_or(usize::MAX)
    }

    #[inline]
    fn push(&mut self, position: usize) {
        if self.len < N
            && let Ok(position) = u32::try_from(position)
        {
            self.at[self.len] = position;
            self.len += 1;
        }
    }

    #[inline]
    fn offer(&mut self, cx: &PickContext<'_>, position: usize) {
        let known = (0..self.len).any(|nth| self.position(nth) == position);
        if !known && is_fit(cx, position) {
            self.push(position);
        }
    }
}

/// Whether every candidate is fit.
pub(super) const fn is_open(cx: &PickContext<'_>) -> bool {
    cx.unrestricted() && !cx.warming()
}

/// Whether a candidate is allowed, and is not left out for this once because it is still coming to
/// its full share: at a tenth of it, it is considered in one choice of ten.
#[inline]
pub(super) fn is_fit(cx: &PickContext<'_>, position: usize) -> bool {
    is_open(cx) || cx.allowed(position) && is_warm(cx, position, || cx.random())
}

/// Whether a candidate is warm enough for a number by chance.
pub(super) fn is_warm(cx: &PickContext<'_>, position: usize, random: impl FnOnce() -> u64) -> bool {
    if !cx.warming() {
        return true;
    }
    let Some(candidate) = cx.candidates().get(position) else { return false };
    let (share, weight) = (cx.share(position), candidate.weight() as f32);
    share >= weight || unit(random()) * weight < share
}

/// At least 0 and below 1.
fn unit(random: u64) -> f32 {
    (random >> 40) as f32 / 16_777_216.0
}

/// Below `bound`, by chance; 0 if that is 0.
pub(super) fn below(bound: u64, random: u64) -> u64 {
    u64::try_from((u128::from(bound) * u128::from(random)) >> 64).unwrap_or(0)
}

fn high_half(random: u64) -> u32 {
    u32::try_from(random >> 32).unwrap_or(0)
}

/// The position of the `nth` bit that is set, from 0.
#[inline]
fn bit(mut word: u64, nth: usize) -> Option<usize> {
    for _ in 0..nth {
        word &= word.wrapping_sub(1);
    }
    (word != 0).then(|| usize::try_from(word.trailing_zeros()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bit_is_found_by_its_number(word: u64) {
            let set: Vec<usize> = (0..64).filter(|at| word >> at & 1 == 1).collect();
            let found: Vec<usize> = (0..64).map_while(|nth| bit(word, nth)).collect();
            prop_assert_eq!(found, set);
        }

        #[test]
        fn a_number_by_chance_is_below_its_bound(bound: u64, random: u64) {
            prop_assert!(below(bound, random) < bound.max(1));
            prop_assert!((0.0..1.0).contains(&unit(random)));
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let reach = Reach::new(16);
        assert!(reach.choices(1).is_err() && reach.choices(17).is_err());
        assert!(reach.choices(3).is_ok() && reach.scan(0).is_ok());
        assert!(reach.scan(65).is_err());
    }
}
