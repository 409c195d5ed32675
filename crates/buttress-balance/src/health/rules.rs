//! When an endpoint is ejected, for how long, and how many may be. Pure.

use std::time::Duration;

/// A run of failures that an endpoint like all the others shows less often than this is its own.
/// (A hair more, for what powers lose to rounding.)
const CHANCE: f64 = 1.000_001e-9;

/// So many failures in a row eject: at least `max_fails`, and more where the others fail as well,
/// so that chance alone almost never makes such a run: the least k with p^k at most 10⁻⁹.
///
/// `fleet` is the share of failures at the other endpoints, taken as at least 0.1 % and at most half.
pub(super) fn run_that_ejects(max_fails: u32, fleet: f64) -> u32 {
    let share = if fleet.is_finite() { fleet.clamp(0.001, 0.5) } else { 0.001 };
    let by_chance = (1..64).find(|&run| share.powi(run) <= CHANCE).unwrap_or(64);
    max_fails.max(by_chance.unsigned_abs())
}

/// Whether so many failures out of so many calls eject: at least `max_fails` of them, and a share
/// that is above `ratio` and above three times that of the others.
pub(super) fn ratio_ejects(
    (good, bad): (f64, f64),
    max_fails: u32,
    ratio: f64,
    fleet: f64,
) -> bool {
    let share = bad / (good + bad);
    bad >= f64::from(max_fails) && share > ratio.max(3.0 * fleet)
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
        assert!(ratio_ejects((10.0, 3.0), 3, 0.1, 0.001));
        assert!(!ratio_ejects((10.0, 2.9), 3, 0.1, 0.001), "too few");
        assert!(!ratio_ejects((97.0, 3.0), 3, 0.1, 0.001), "too small a share");
        assert!(!ratio_ejects((10.0, 3.0), 3, 0.1, 0.2), "the others fail as well");
        assert!(!ratio_ejects((0.0, 0.0), 0, 0.1, 0.0), "no calls at all");
    }

    #[test]
    fn small_sets_keep_one_and_may_lose_one() {
        let half = [0, 1, 2, 3, 4, 5, 10].map(|members| most_ejected(members, 50));
        assert_eq!(half, [0, 0, 1, 2, 2, 3, 5]);
        assert_eq!((most_ejected(9, 10), most_ejected(3, 99), most_ejected(3, 100)), (1, 2, 3));
        assert_eq!((most_ejected(1, 100), most_ejected(9, 0)), (0, 0));
    }

    proptest! {
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
