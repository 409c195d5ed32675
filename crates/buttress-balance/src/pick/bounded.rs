//! Hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, "Consistent hashing with bounded
//! loads", 2018).

use std::cell::Cell;

use buttress_core::SettingError;

use super::{Candidate, PickContext};

/// How far above its share an endpoint may be loaded, if there is a bound.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bound(Option<f64>);

impl Bound {
    pub(super) fn of(factor: f64) -> Result<Self, SettingError> {
        // NaN is not at least 1 either.
        if factor >= 1.0 && factor.is_finite() {
            return Ok(Self(Some(factor)));
        }
        let reason = format!("{factor}, but the loads together are once their mean: at least 1");
        Err(SettingError::new("pick.bounded_load", reason))
    }

    /// The bound for one choice among candidates that weigh `weights` together.
    pub(super) const fn ceiling(self, weights: u64) -> Ceiling {
        Ceiling { bound: self, weights, calls: Cell::new(None) }
    }
}

/// The weights of all.
pub(super) fn total(candidates: &[Candidate]) -> u64 {
    candidates.iter().map(|candidate| u64::from(candidate.weight())).sum()
}

/// How many calls an endpoint may have in flight, for one choice.
pub(super) struct Ceiling {
    bound: Bound,
    weights: u64,
    /// Calls in flight at all of them and the one that is to come; counted when it is asked for.
    calls: Cell<Option<u64>>,
}

impl Ceiling {
    /// Whether one more call stays below.
    pub(super) fn admits(&self, cx: &PickContext<'_>, candidate: &Candidate) -> bool {
        let Bound(Some(factor)) = self.bound else { return true };
        let in_flight = candidate.in_flight();
        if in_flight == 0 {
            // Every ceiling is at least 1.
            return true;
        }
        let calls = self.calls.get().unwrap_or_else(|| {
            let all = cx.candidates().iter().map(|candidate| u64::from(candidate.in_flight()));
            all.sum::<u64>() + 1
        });
        self.calls.set(Some(calls));
        f64::from(in_flight) + 1.0 <= most(factor, calls, candidate.weight(), self.weights)
    }
}

/// The ceiling of one that weighs `weight` of `weights`, with `calls` in flight at all of them.
fn most(factor: f64, calls: u64, weight: u32, weights: u64) -> f64 {
    let exact = factor * (calls as f64) * f64::from(weight) / (weights.max(1) as f64);
    // What a product is too large by because a factor is no binary fraction is no call.
    (exact * (1.0 - 1e-12)).ceil()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ceiling_is_rounded_up_and_not_by_an_error_of_arithmetic() {
        assert_eq!(most(1.25, 10, 1, 10), 2.0);
        assert_eq!(most(1.1, 100, 1, 10), 11.0);
        assert_eq!(most(1.0, 1, 1, 1_000), 1.0);
    }

    #[test]
    fn a_bound_below_the_mean_is_refused() {
        for bad in [0.99, 0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Bound::of(bad).is_err());
        }
        assert!(Bound::of(1.0).is_ok());
    }

    proptest! {
        #[test]
        fn there_is_always_room_for_one_more(
            weights in prop::collection::vec(1_u32..65_535, 1..40), calls in 1_u64..100_000,
            factor in 1.0_f64..3.0,
        ) {
            let total: u64 = weights.iter().copied().map(u64::from).sum();
            let room: f64 = weights.iter().map(|weight| most(factor, calls, *weight, total)).sum();
            prop_assert!(room >= calls as f64 * (1.0 - 1e-9));
        }
    }
}
