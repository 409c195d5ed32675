//! What a call to an endpoint is expected to cost: arithmetic without a clock.

/// How many milliseconds a latency is taken at its word after its last sample.
const FRESH: u32 = 2_000;
/// Below this many seconds latencies do not differ.
const LEAST: f32 = 1e-5;
/// The longest latency there is, in seconds: it keeps every product finite.
const MOST: f32 = 1e9;
/// What an estimate keeps however old it is, so that the order among old ones remains.
const FAINTEST: f32 = 1.0 / 1_024.0;
/// A success rate below this one costs no more.
const LEAST_SUCCESS: f32 = 0.02;

/// A latency in seconds that fades towards 0 with the age in milliseconds of its last sample: to 37 %
/// in `tau` seconds, after two seconds' grace. A NaN stays one. An endpoint that looked slow looks better the longer nobody asked, until
/// somebody does.
#[inline]
pub(super) fn faded(seconds: f32, age: u32, tau: f32) -> f32 {
    let seconds = seconds.clamp(LEAST, MOST);
    if age <= FRESH { seconds } else { faint(seconds, age - FRESH, tau) }
}

#[cold]
fn faint(seconds: f32, age: u32, tau: f32) -> f32 {
    let old = age as f32 / 1_000.0;
    let faint = seconds * (-old / tau).exp().max(FAINTEST);
    if faint < LEAST { LEAST } else { faint }
}

/// Latency times the calls that stand in line, this one included.
pub(super) fn queued(latency: f32, load: f32) -> f32 {
    latency * (load + 1.0)
}

/// What failures add to a cost: the inverse of the success rate's fourth power, so that an endpoint
/// which fails fast gets dear quickly, and one stray error in many calls changes next to nothing.
pub(super) fn dearer(success: f32) -> f32 {
    if success >= 1.0 {
        return 1.0;
    }
    let square = success.max(LEAST_SUCCESS).powi(2);
    1.0 / (square * square)
}

/// The lower median of what is known in `latencies`; 1 if nothing is. Unknown ones are NaN.
///
/// An endpoint that was never asked is taken for an average one: it gets calls, and it is not
/// flooded as it would be at 0.
pub(super) fn typical(latencies: &[f32]) -> f32 {
    let mut known = [0.0_f32; super::roster::MOST];
    let mut count = 0;
    for (place, latency) in known.iter_mut().zip(latencies.iter().filter(|one| !one.is_nan())) {
        *place = *latency;
        count += 1;
    }
    if count == 0 {
        return 1.0;
    }
    let (_, median, _) = known[..count].select_nth_unstable_by((count - 1) / 2, f32::total_cmp);
    *median
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_latency_holds_for_two_seconds_and_then_fades() {
        let at = |millis| faded(0.05, millis, 10.0);
        assert_eq!(at(0), 0.05);
        assert_eq!(at(2_000), 0.05);
        assert!((at(12_000) / 0.05 - 0.3679).abs() < 0.001);
    }

    #[test]
    fn old_estimates_keep_their_order() {
        let weeks = u32::MAX;
        assert!(faded(0.05, weeks, 10.0) < faded(0.25, weeks, 10.0));
    }

    #[test]
    fn what_is_not_known_stays_unknown() {
        assert!(faded(f32::NAN, 0, 10.0).is_nan());
        assert!(faded(f32::NAN, 100_000, 10.0).is_nan());
    }

    #[test]
    fn one_failure_in_many_calls_is_cheap_and_a_run_of_them_is_dear() {
        assert!(dearer(0.95) < 1.25);
        assert!(dearer(0.5) >= 16.0);
        assert_eq!(dearer(0.0), dearer(0.02));
    }

    #[test]
    fn the_unknown_are_taken_for_average() {
        let unknown = f32::NAN;
        assert_eq!(typical(&[unknown, 0.05, 0.01, unknown, 0.012]), 0.012);
        assert_eq!(typical(&[0.05, unknown, 0.01]), 0.01);
        assert_eq!(typical(&[unknown, unknown]), 1.0);
    }

    proptest! {
        #[test]
        fn no_latency_age_load_or_rate_makes_a_cost_that_is_no_number(
            latency in prop_oneof![any::<f32>(), 0.0_f32..10.0].prop_filter("known", |l| !l.is_nan()),
            age in any::<u32>(),
            load in 0_u32..=u32::MAX,
            relative in 1_u16..,
            success in prop_oneof![any::<f32>(), 0.0_f32..=1.0],
        ) {
            let latency = faded(latency, age, 10.0);
            let load = load as f32 * f32::from(relative);
            let cost = queued(latency, load) * dearer(success);
            prop_assert!(cost.is_finite() && cost > 0.0, "{cost}");
        }

        #[test]
        fn a_cost_grows_with_latency_load_and_failures(
            latency in 0.001_f32..10.0, load in 0_u16..1_000, success in 0.03_f32..1.0,
        ) {
            let load = f32::from(load);
            let cost = queued(latency, load) * dearer(success);
            prop_assert!(cost < queued(latency * 1.1, load) * dearer(success));
            prop_assert!(cost < queued(latency, load + 1.0) * dearer(success));
            prop_assert!(cost < queued(latency, load) * dearer(success * 0.9));
        }
    }
}
