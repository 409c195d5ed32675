//! The rules of a budget, in milli-tokens and milliseconds. Pure, and checked by the callers.

/// Milli-tokens in one token.
pub(super) const TOKEN: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) rule: Rule,
    /// Milli-tokens a bucket can hold.
    pub(super) capacity: u64,
    /// Milli-tokens that one success adds.
    pub(super) per_success: u64,
    pub(super) floor: Floor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A retry takes what it costs.
    Spend,
    /// A retry takes nothing but needs more than half of the bucket; failures take (gRFC A6).
    AboveHalf,
    /// A retry needs nothing.
    Unlimited,
}

/// What a bucket must hold before a retry, and what the retry then takes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) need: u64,
    pub(super) take: u64,
}

impl Terms {
    pub(super) fn claim(&self, cost: u64) -> Claim {
        match self.rule {
            Rule::Unlimited => Claim { need: 0, take: 0 },
            _ if cost == 0 => Claim { need: 0, take: 0 },
            Rule::AboveHalf => Claim { need: self.capacity / 2 + 1, take: 0 },
            // More than the bucket can ever hold could never be granted.
            Rule::Spend => Claim { need: cost.min(self.capacity), take: cost.min(self.capacity) },
        }
    }
}

/// Tokens that come with time alone: `milli` milli-tokens every `period` milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Floor {
    milli: u64,
    period: u64,
}

impl Floor {
    pub(super) const NONE: Self = Self { milli: 0, period: 1 };

    /// A `period` of zero counts as one millisecond.
    pub(super) fn new(milli: u64, period: u64) -> Self {
        Self { milli, period: period.max(1) }
    }

    pub(super) fn is_none(&self) -> bool {
        self.milli == 0
    }

    /// What came in from `from` to `to`.
    ///
    /// A difference of totals, so that many short steps add up to exactly one long one: no fraction
    /// of a milli-token is lost or won by asking often.
    pub(super) fn between(&self, from: u64, to: u64) -> u64 {
        saturate(self.total(to).saturating_sub(self.total(from)))
    }

    /// The first tick by which `missing` more will have come in since `now`.
    pub(super) fn reach(&self, now: u64, missing: u64) -> Option<u64> {
        if self.is_none() {
            return None;
        }
        let target = self.total(now) + u128::from(missing);
        Some(saturate((target * u128::from(self.period)).div_ceil(u128::from(self.milli))))
    }

    fn total(&self, tick: u64) -> u128 {
        u128::from(tick) * u128::from(self.milli) / u128::from(self.period)
    }
}

fn saturate(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn short_steps_add_up_to_one_long_one(
            milli in 0_u64..1 << 42,
            period in 1_u64..1 << 36,
            start in 0_u64..1 << 40,
            steps in prop::collection::vec(0_u64..1 << 30, 0..20),
        ) {
            let floor = Floor::new(milli, period);
            let (mut now, mut sum) = (start, 0_u64);
            for step in steps {
                sum = sum.saturating_add(floor.between(now, now + step));
                now += step;
            }
            prop_assert_eq!(sum, floor.between(start, now));
        }

        #[test]
        fn the_tick_that_is_named_is_the_first_that_brings_enough(
            milli in 1_u64..1 << 42,
            period in 1_u64..1 << 36,
            now in 0_u64..1 << 40,
            missing in 1_u64..1 << 27,
        ) {
            let floor = Floor::new(milli, period);
            let tick = floor.reach(now, missing).unwrap();
            prop_assert!(floor.between(now, tick) >= missing);
            prop_assert!(floor.between(now, tick - 1) < missing);
        }
    }

    #[test]
    fn whole_tokens_a_second_are_as_many_milli_tokens_a_millisecond() {
        let floor = Floor::new(10 * TOKEN, 1_000);
        assert_eq!(floor.between(12_345, 12_346), 10);
        assert_eq!(floor.reach(12_345, TOKEN), Some(12_445));
    }

    #[test]
    fn a_cost_above_the_capacity_takes_the_whole_bucket() {
        let terms =
            Terms { rule: Rule::Spend, capacity: TOKEN, per_success: 0, floor: Floor::NONE };
        assert_eq!(terms.claim(2 * TOKEN), Claim { need: TOKEN, take: TOKEN });
    }
}
