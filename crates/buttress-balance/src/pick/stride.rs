//! In which order round robin goes: arithmetic without state.
//!
//! Both orders repeat after as many turns as the weights come to, and each endpoint has exactly its
//! weight of them. Who takes the turns counts them; nothing else is shared.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

/// The longest cycle that is written down.
const MOST_SLOTS: u64 = 4_096;
/// Among so many steps there is one that spreads well.
const TRIED_STEPS: usize = 256;

/// Whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stride {
    /// All weigh the same.
    Even(usize),
    /// A cycle that is written down.
    Slots(Box<[u16]>),
    /// A cycle that is too long for that.
    Golden(Golden),
}

/// Steps of about 0.618 of the whole (the golden section, which spreads best), each on somebody's
/// part of it. The step has no divisor in common with the whole, so that a cycle meets each place of
/// the whole once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Golden {
    /// Where each one's part ends.
    ends: Box<[u64]>,
    whole: u64,
    step: u64,
}

impl Stride {
    /// The order for `weights`, none of which is 0.
    pub(super) fn of(weights: &[u32]) -> Self {
        let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, u64::from(*weight)));
        let divisor = divisor.max(1);
        let weights: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) / divisor).collect();
        if weights.iter().all(|weight| *weight <= 1) {
            return Self::Even(weights.len().max(1));
        }
        let whole: u64 = weights.iter().sum();
        if whole <= MOST_SLOTS {
            return Self::Slots(opened(slots(&weights, whole)).into());
        }
        Self::Golden(Golden::of(&weights, whole))
    }

    /// Whose turn the `turn`th is.
    pub(super) fn at(&self, turn: u64) -> usize {
        match self {
            Self::Even(count) => modulo(turn, *count),
            Self::Slots(slots) => usize::from(slots[modulo(turn, slots.len())]),
            Self::Golden(golden) => golden.at(turn),
        }
    }

    /// A turn to begin with, by chance: clients that start together do not all meet the same
    /// endpoint first. It is one from which a cycle has no longer run of one endpoint than need be.
    pub(super) fn start(&self, random: u64) -> u64 {
        let Self::Slots(slots) = self else { return random >> 1 };
        let (longest, at) = longest_run(slots);
        let once = (0..slots.len()).filter(|turn| ends_run(slots, *turn, longest)).count() == 1;
        if !once || longest < 2 {
            return random % u64::try_from(slots.len()).unwrap_or(1);
        }
        // The cut goes through the one longest run: at one half, rounded either way.
        let up = usize::from(random & 1 == 1);
        u64::try_from((at + (longest + up) / 2) % slots.len()).unwrap_or(0)
    }
}

impl Golden {
    fn of(weights: &[u64], whole: u64) -> Self {
        let ends = weights.iter().scan(0, |end, weight| {
            *end += weight;
            Some(*end)
        });
        let about = u128::from(whole) * 618_033_988_749_895 / 1_000_000_000_000_000;
        let about = u64::try_from(about).unwrap_or(1).max(1);
        // The spread is as even as the partial quotients of step/whole are small.
        let step = (about..).take(TRIED_STEPS).min_by_key(|step| quotients(*step, whole));
        let step = step.unwrap_or(1);
        Self { ends: ends.collect(), whole, step }
    }

    fn at(&self, turn: u64) -> usize {
        let place = u128::from(turn % self.whole) * u128::from(self.step) % u128::from(self.whole);
        let place = u64::try_from(place).unwrap_or(0);
        self.ends.partition_point(|end| *end <= place)
    }
}

/// The partial quotients of the continued fraction of `step / whole`, added up; no sum is larger if
/// they have a divisor in common.
fn quotients(step: u64, whole: u64) -> u64 {
    let (mut a, mut b, mut sum) = (whole, step, 0_u64);
    while b != 0 {
        sum += a / b;
        (a, b) = (b, a % b);
    }
    if a == 1 { sum } else { u64::MAX }
}

fn modulo(turn: u64, count: usize) -> usize {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    usize::try_from(turn % count).unwrap_or(0)
}

const fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// One cycle in which nobody is ever a whole turn ahead of its share, or behind.
///
/// The `k`th turn of one that weighs `w` of `whole` falls between `k whole / w`, rounded down, and
/// `(k + 1) whole / w`, rounded up; of those that may have the turn, the one with the earliest end
/// gets it (Baruah et al., "Proportionate progress", 1996: with one resource this never fails).
fn slots(weights: &[u64], whole: u64) -> Vec<u16> {
    let mut coming: BTreeMap<u64, Vec<(u16, u64)>> = BTreeMap::new();
    coming.insert(0, (0_u16..).take(weights.len()).map(|who| (who, 0)).collect());
    let mut ready = BinaryHeap::new();
    let mut slots = Vec::with_capacity(usize::try_from(whole).unwrap_or(0));
    for turn in 0..whole {
        for (who, nth) in coming.remove(&turn).into_iter().flatten() {
            let end = ((nth + 1) * whole).div_ceil(weights[usize::from(who)]);
            ready.push(Reverse((end, who, nth)));
        }
        let Some(Reverse((_, who, nth))) = ready.pop() else { break };
        slots.push(who);
        let next = (nth + 1) * whole / weights[usize::from(who)];
        coming.entry(next.max(turn + 1)).or_default().push((who, nth + 1));
    }
    slots
}

/// The same cycle, cut elsewhere: through its longest run.
fn opened(mut slots: Vec<u16>) -> Vec<u16> {
    let (longest, at) = longest_run(&slots);
    let cut = (at + longest.div_ceil(2)) % slots.len().max(1);
    slots.rotate_left(cut);
    slots
}

/// The longest run of one number in the endless repetition of `slots`: its length, and where it
/// begins.
fn longest_run(slots: &[u16]) -> (usize, usize) {
    let (mut longest, mut start, mut length) = ((0, 0), 0, 0);
    for turn in 0..slots.len() * 2 {
        let here = turn % slots.len();
        if length > 0 && slots[here] == slots[start] && length < slots.len() {
            length += 1;
        } else {
            (start, length) = (here, 1);
        }
        if length > longest.0 {
            longest = (length, start);
        }
    }
    longest
}

/// Whether a run of at least `length` ends with `turn`.
fn ends_run(slots: &[u16], turn: usize, length: usize) -> bool {
    let count = slots.len();
    slots[(turn + 1) % count] != slots[turn]
        && (0..length).all(|back| slots[(turn + count - back % count) % count] == slots[turn])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turns(stride: &Stride, from: u64, count: u64) -> Vec<usize> {
        (from..from + count).map(|turn| stride.at(turn)).collect()
    }

    fn longest(turns: &[usize]) -> usize {
        turns.chunk_by(|one, next| one == next).map(<[usize]>::len).max().unwrap_or(0)
    }

    #[test]
    fn five_one_one_has_no_run_longer_than_two_in_its_cycle_wherever_it_begins() {
        let stride = Stride::of(&[5, 1, 1]);
        for random in 0..64 {
            let cycle = turns(&stride, stride.start(random), 7);
            assert!(longest(&cycle) <= 2, "{cycle:?}");
        }
        // Two others cannot part five into runs of two for ever.
        assert_eq!(longest(&turns(&stride, 0, 70)), 3);
    }

    #[test]
    fn the_start_is_left_to_chance() {
        let stride = Stride::of(&[1, 1, 1]);
        let first: std::collections::BTreeSet<_> =
            (0..64_u64).map(|seed| stride.at(stride.start(seed << 20))).collect();
        assert_eq!(first.len(), 3);
    }

    #[test]
    fn weights_with_a_common_divisor_have_a_short_cycle() {
        assert_eq!(Stride::of(&[65_535, 65_535]), Stride::Even(2));
        assert_eq!(Stride::of(&[50_000, 10_000, 10_000]), Stride::of(&[5, 1, 1]));
    }

    #[test]
    fn coprime_weights_need_no_large_table() {
        let stride = Stride::of(&[65_535, 65_534, 1]);
        assert!(matches!(stride, Stride::Golden(_)));
        let mut counts = [0_u32; 3];
        turns(&stride, 12_345, 131_070).into_iter().for_each(|at| counts[at] += 1);
        assert_eq!(counts, [65_535, 65_534, 1]);
    }

    #[test]
    fn one_alone_has_every_turn() {
        assert_eq!(turns(&Stride::of(&[9]), 3, 3), [0, 0, 0]);
    }

    /// How far a count in any window of `cycle`, repeated, is from its exact share.
    fn furthest(cycle: &[usize], weights: &[u32]) -> f64 {
        let whole = f64::from(weights.iter().sum::<u32>());
        let mut furthest = 0.0_f64;
        for (who, weight) in weights.iter().enumerate() {
            // The difference of two prefixes' deviations is the deviation of the window between.
            let (mut least, mut most, mut deviation) = (0.0_f64, 0.0_f64, 0.0_f64);
            for at in cycle {
                deviation += f64::from(u8::from(*at == who)) - f64::from(*weight) / whole;
                (least, most) = (least.min(deviation), most.max(deviation));
            }
            furthest = furthest.max(most - least);
        }
        furthest
    }

    proptest! {
        #[test]
        fn counts_are_exact_over_each_cycle_and_off_by_less_than_two_turns_in_any_window(
            weights in prop::collection::vec(1_u32..60, 1..24),
        ) {
            let stride = Stride::of(&weights);
            let total: u32 = weights.iter().sum();
            let cycle = turns(&stride, stride.start(u64::from(total)), u64::from(total));
            for (who, weight) in weights.iter().enumerate() {
                let count = cycle.iter().filter(|at| **at == who).count();
                prop_assert_eq!(count, *weight as usize);
            }
            // One more or one less than the exact share, rounded down or up.
            prop_assert!(furthest(&cycle, &weights) < 2.0);
        }

        #[test]
        fn a_long_cycle_is_exact_too_and_nearly_as_even(
            weights in prop::collection::vec(1_u32..20_000, 2..12),
        ) {
            let stride = Stride::of(&weights);
            prop_assume!(matches!(stride, Stride::Golden(_)));
            let total: u32 = weights.iter().sum();
            let cycle = turns(&stride, 0, u64::from(total));
            for (who, weight) in weights.iter().enumerate() {
                let count = cycle.iter().filter(|at| **at == who).count();
                prop_assert_eq!(count, *weight as usize);
            }
            prop_assert!(furthest(&cycle, &weights) < 8.0, "{}", furthest(&cycle, &weights));
        }

        #[test]
        fn no_weights_break_it(weights in prop::collection::vec(1_u32..=u32::MAX, 1..40), turn: u64) {
            let stride = Stride::of(&weights);
            prop_assert!(stride.at(turn) < weights.len());
            prop_assert!(stride.at(stride.start(turn)) < weights.len());
        }
    }
}
