//! When an endpoint is ejected, for how long, and how many may be. Pure.

use std::time::Duration;

/// A run of failures that an endpoint like all the others shows less often than this is its own.
/// (A hair more, for what powers lose to rounding.)
const CHANCE: f64 = 1.000_001e-9;
/// The same for a share of failures, which is looked at after each failure: -ln 10⁻⁶.
const SURE: f64 = 13.815_510_557_964_274;

/// So many failures in a row eject: at least `max_fails`, and more where the others fail as well,
/// so that chance alone almost never makes such a run: the least k with p^k at most 10⁻⁹.
///
/// `fleet` is the share of failures at the other endpoints, taken as at least 0.1 % and at most half.
pub(super) fn run_that_ejects(max_fails: u32, fleet: f64) -> u32 {
    let share = taken(fleet);
    let by_chance = (1..64).find(|&run| share.powi(run) <= CHANCE).unwrap_or(64);
    max_fails.max(by_chance.unsigned_abs())
}

/// Whether so many failures out of so many calls eject: at least `max_fails` of them, a share that is
/// above `ratio` and above three times that of the others, and one that an endpoint like the others
/// would show by chance less often than once in a million looks.
///
/// The chance of a share q or more in n calls, each of which fails with probability p, is at most
/// e^(-n D(q, p)), with D the relative entropy (Chernoff, "A measure of asymptotic efficiency for tests
/// of a hypothesis based on the sum of observations", 1952).
pub(super) fn ratio_ejects(
    (good, bad): (f64, f64),
    max_fails: u32,
    ratio: f64,
    fleet: f64,
) -> bool {
    let calls = good + bad;
    let share = bad / calls;
    bad >= f64::from(max_fails)
        && share > ratio.max(3.0 * fleet)
        && calls * divergence(share, taken(fleet)) >= SURE
}

/// The others' share of failures: at least 0.1 %, for nobody is perfect, and at most half.
const fn taken(fleet: f64) -> f64 {
    if fleet.is_finite() { fleet.clamp(0.001, 0.5) } else { 0.001 }
}

/// The relative entropy of a coin that falls on one side with probability `q`, as seen from one with
/// `p`, which is neither 0 nor 1; 0 where `q` is no more than `p`.
fn divergence(q: f64, p: f64) -> f64 {
    if q <= p {
        return 0.0;
    }
    // x ln x is 0 at 0.
    let part = |x: f64, y: f64| if x > 0.0 { x * (x / y).ln() } else { 0.0 };
    part(q, p) + part(1.0 - q, 1.0 - p)
}

/// The `count`th ejection: that many times `base`, at most `max`, and up to a tenth more or less.
///
/// `jitter` is any number; its low 16 bits are used.
pub(super) fn ejection(base: Duration, max: Duration, count: u64, jitter: Option<u64>) -> u64 {
    let base = crate::clock::millis(base);
    let plain = base.saturating_mul(count.max(1)).min(crate::clock::millis(max).max(base));
    let Some(jitter) = jitter else { return plain };
    let fifth = plain / 5;
    let part = u128::from(fifth) * u128::from(jitter & 0xffff) / 0xffff;
    let part = u64::try_from(part).unwrap_or(fifth);
    (plain - fifth / 2).saturating_add(part).max(1)
}

/// How many of `members` may be out at once: the percentage rounded up, at least one of two, and
/// never the last one unless the percentage is 100. A lone endpoint stays.
pub(super) const fn most_ejected(members: usize, percent: usize) -> usize {
    if members < 2 || percent == 0 {
        return 0;
    }
    if percent >= 100 {
        return members;
    }
    let share = members.saturating_mul(percent).div_ceil(100);
    if share < members { share } else { members - 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_run_that_ejects_follows_the_fleet() {
        let runs = [0.0, 0.001, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, f64::NAN];
        let runs = runs.map(|fleet| run_that_ejects(3, fleet));
        assert_eq!(runs, [3, 3, 5, 6, 7, 9, 30, 30, 3]);
        assert_eq!(run_that_ejects(8, 0.0), 8);
    }

    #[test]
    fn a_share_of_failures_counts_only_above_that_of_the_others() {
        assert!(ratio_ejects((9.0, 3.0), 3, 0.1, 0.001));
        assert!(!ratio_ejects((9.0, 2.9), 3, 0.1, 0.001), "too few");
        assert!(!ratio_ejects((97.0, 3.0), 3, 0.1, 0.001), "too small a share");
        assert!(!ratio_ejects((10.0, 3.0), 3, 0.1, 0.2), "the others fail as well");
        assert!(!ratio_ejects((0.0, 0.0), 0, 0.1, 0.0), "no calls at all");
    }

    #[test]
    fn a_share_that_chance_may_make_ejects_nobody() {
        assert!(ratio_ejects((7.0, 3.0), 3, 0.1, 0.001));
        assert!(!ratio_ejects((7.0, 3.0), 3, 0.1, 0.05), "three of ten, where one of twenty fails");
        assert!(ratio_ejects((70.0, 30.0), 3, 0.1, 0.05), "thirty of a hundred");
        assert_eq!(taken(f64::NAN), 0.001);
    }

    #[test]
    fn small_sets_keep_one_and_may_lose_one() {
        let half = [0, 1, 2, 3, 4, 5, 10].map(|members| most_ejected(members, 50));
        assert_eq!(half, [0, 0, 1, 2, 2, 3, 5]);
        assert_eq!((most_ejected(9, 10), most_ejected(3, 99), most_ejected(3, 100)), (1, 2, 3));
        assert_eq!((most_ejected(1, 100), most_ejected(9, 0)), (0, 0));
    }

    proptest! {
        /// Against the sum of the binomial's tail.
        #[test]
        fn the_bound_on_chance_is_one(calls in 1_u32..60, part in 0.0_f64..1.0, p in 0.001_f64..0.5) {
            let least = (f64::from(calls) * part).ceil();
            let q = least / f64::from(calls);
            prop_assume!(q > p);
            let mut term = (1.0 - p).powi(calls.cast_signed());
            let mut tail = 0.0;
            for fails in 0..=calls {
                if f64::from(fails) >= least {
                    tail += term;
                }
                term *= f64::from(calls - fails) / f64::from(fails + 1) * p / (1.0 - p);
            }
            let bound = (-f64::from(calls) * divergence(q, p)).exp();
            prop_assert!(tail <= bound * 1.000_001, "{tail} above {bound}");
        }

        #[test]
        fn an_ejection_is_within_a_tenth_of_what_it_should_be(
            base in 1_u64..100_000, times in 1_u64..20, count in 0_u64..40, jitter in any::<u64>(),
        ) {
            let (base, max) = (Duration::from_millis(base), Duration::from_millis(base * times));
            let plain = ejection(base, max, count, None);
            let jittered = ejection(base, max, count, Some(jitter));
            prop_assert!(plain <= crate::clock::millis(max));
            prop_assert!(jittered >= plain * 9 / 10 && jittered <= plain * 11 / 10 + 1);
        }
    }
}
