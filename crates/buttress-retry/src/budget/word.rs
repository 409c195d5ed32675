//! The 64 bits that hold the state of a budget, and every step they can take. Pure.
//!
//! From the top: one bit that says whether anybody queues, 36 bits for the millisecond of the last
//! refill, 27 bits of milli-tokens. One word, so that one compare-and-swap sees all three.
//!
//! Refilling is lazy and still exact. Tokens are only ever taken right after a refill, and adding
//! under a cap does not mind the order: `min(cap, min(cap, x + a) + b) = min(cap, x + a + b)`. So a
//! success may add its share without asking the time.

use super::terms::{Claim, Terms};

const MILLI_BITS: u32 = 27;
const TICK_BITS: u32 = 36;
const MILLI_MASK: u64 = (1 << MILLI_BITS) - 1;
const TICK_MASK: u64 = (1 << TICK_BITS) - 1;
const QUEUED: u64 = 1 << (MILLI_BITS + TICK_BITS);

/// The most tokens that fit.
pub(super) const MAX_TOKENS: u32 = 100_000;

/// How far behind the word a reader's clock may be, in milliseconds: a thread that was held up
/// between its clock and its swap. A word which is older than two years less this hour looks the
/// same, and gets too little, never too much.
const STALE: u64 = 60 * 60 * 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

impl Word {
    pub(super) const fn new(milli: u64, now: u64) -> Self {
        Self((milli & MILLI_MASK) | ((now & TICK_MASK) << MILLI_BITS))
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    pub(super) const fn milli(self) -> u64 {
        self.0 & MILLI_MASK
    }

    pub(super) const fn queued(self) -> bool {
        self.0 & QUEUED != 0
    }

    pub(super) const fn with_queued(self, queued: bool) -> Self {
        if queued { Self(self.0 | QUEUED) } else { Self(self.0 & !QUEUED) }
    }

    const fn tick(self) -> u64 {
        (self.0 >> MILLI_BITS) & TICK_MASK
    }

    /// Adds what the floor brought until `now`, milliseconds since the budget was made.
    pub(super) fn refilled(self, now: u64, terms: &Terms) -> Self {
        let behind = self.tick().wrapping_sub(now) & TICK_MASK;
        if terms.floor.is_none() || behind < STALE {
            return self;
        }
        let elapsed = now.wrapping_sub(self.tick()) & TICK_MASK;
        let gained = terms.floor.between(now.saturating_sub(elapsed), now);
        let milli = self.milli().saturating_add(gained).min(terms.capacity);
        Self::new(milli, now).with_queued(self.queued())
    }

    /// Adds milli-tokens up to the capacity; `None` when that changes nothing.
    pub(super) fn credited(self, milli: u64, terms: &Terms) -> Option<Self> {
        let sum = self.milli().saturating_add(milli).min(terms.capacity);
        (sum != self.milli()).then(|| self.with_milli(sum))
    }

    /// Removes milli-tokens down to zero; `None` when that changes nothing.
    pub(super) fn debited(self, milli: u64) -> Option<Self> {
        let rest = self.milli().saturating_sub(milli);
        (rest != self.milli()).then(|| self.with_milli(rest))
    }

    /// Takes what is claimed, whoever queues; `None` when there is not enough.
    pub(super) fn taken(self, claim: Claim) -> Option<Self> {
        if self.milli() < claim.need {
            return None;
        }
        Some(self.with_milli(self.milli() - claim.take.min(self.milli())))
    }

    const fn with_milli(self, milli: u64) -> Self {
        Self((self.0 & !MILLI_MASK) | (milli & MILLI_MASK))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::terms::{Floor, Rule, TOKEN},
        *,
    };

    const DAY: u64 = 24 * 60 * 60 * 1_000;

    fn terms(per_second: u64) -> Terms {
        Terms {
            rule: Rule::Spend,
            capacity: 100 * TOKEN,
            per_success: 200,
            floor: Floor::new(per_second * TOKEN, 1_000),
        }
    }

    #[test]
    fn the_largest_budget_fits() {
        assert!(u64::from(MAX_TOKENS) * TOKEN <= MILLI_MASK);
    }

    #[test]
    fn parts_do_not_touch_each_other() {
        let word = Word::new(MILLI_MASK, TICK_MASK).with_queued(true);
        assert_eq!((word.milli(), word.tick(), word.queued()), (MILLI_MASK, TICK_MASK, true));
        let word = word.with_queued(false).with_milli(0);
        assert_eq!((word.milli(), word.tick(), word.queued()), (0, TICK_MASK, false));
        assert!(Word::new(7, 9).with_queued(true).refilled(10, &terms(1)).queued());
    }

    #[test]
    fn a_clock_that_is_behind_adds_nothing_and_does_not_turn_the_word_back() {
        let word = Word::new(0, 5_000);
        assert_eq!(word.refilled(4_990, &terms(10)), word);
        assert_eq!(word.refilled(5_010, &terms(10)), Word::new(100, 5_010));
    }

    #[test]
    fn thirty_idle_days_are_one_step() {
        let word = Word::new(0, 3).refilled(30 * DAY, &terms(10));
        assert_eq!(word, Word::new(100 * TOKEN, 30 * DAY));
    }

    #[test]
    fn refills_go_on_after_the_millisecond_counter_wraps() {
        let before = (1 << TICK_BITS) - 40;
        let word = Word::new(0, before);
        let later = word.refilled(before + 100, &terms(10));
        assert_eq!((later.milli(), later.tick()), (1_000, 60));
        let even_later = later.refilled(before + 200, &terms(10));
        assert_eq!((even_later.milli(), even_later.tick()), (2_000, 160));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Credit(u64),
        Take(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u64..5_000).prop_map(Step::Wait),
            (0_u64..3_000).prop_map(Step::Credit),
            (1_u64..3_000).prop_map(Step::Take),
        ]
    }

    proptest! {
        // The reference refills after every millisecond, the word only when tokens are taken.
        #[test]
        fn a_lazy_refill_equals_an_eager_one(
            per_second in 0_u64..50,
            steps in prop::collection::vec(step(), 0..40),
        ) {
            let terms = terms(per_second);
            let (mut now, mut word, mut eager) = (0, Word::new(terms.capacity, 0), terms.capacity);
            for step in steps {
                match step {
                    Step::Wait(millis) => {
                        for _ in 0..millis {
                            eager = (eager + per_second).min(terms.capacity);
                        }
                        now += millis;
                    }
                    Step::Credit(milli) => {
                        word = word.credited(milli, &terms).unwrap_or(word);
                        eager = (eager + milli).min(terms.capacity);
                    }
                    Step::Take(cost) => {
                        let taken = word.refilled(now, &terms).taken(terms.claim(cost));
                        prop_assert_eq!(taken.is_some(), eager >= cost);
                        if let Some(taken) = taken {
                            word = taken;
                            eager -= cost;
                        }
                    }
                }
                prop_assert_eq!(word.refilled(now, &terms).milli(), eager);
            }
        }
    }
}
