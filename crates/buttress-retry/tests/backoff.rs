//! The arithmetic of waits.

use std::{collections::HashSet, time::Duration};

use buttress_retry::{Backoff, Jitter};
use proptest::prelude::*;

const JITTERS: [Jitter; 4] = [Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::None];

/// Durations of every size, with the awkward ones among them.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0_u64..=u64::MAX).prop_map(Duration::from_nanos),
        (0_u64..1_000_000_000_000).prop_map(Duration::from_nanos),
        (0_u64..100).prop_map(Duration::from_secs),
        Just(Duration::MAX),
    ]
}

fn retry() -> impl Strategy<Value = u32> {
    prop_oneof![0_u32..100, any::<u32>(), Just(u32::MAX)]
}

fn factor() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(1.0),
        Just(2.0),
        Just(f64::MAX),
        Just(1.0 + f64::EPSILON),
        1.0..10.0,
        1.0..1.001
    ]
}

fn backoff() -> impl Strategy<Value = Backoff> {
    (duration(), duration(), factor(), prop::sample::select(&JITTERS)).prop_filter_map(
        "a base of zero",
        |(one, other, factor, jitter)| {
            let backoff = Backoff::exponential(one.min(other), one.max(other)).ok()?;
            Some(backoff.factor(factor).ok()?.jitter(jitter))
        },
    )
}

/// What 64-bit arithmetic makes of a duration.
fn cut(duration: Duration) -> Duration {
    duration.min(Duration::from_nanos(u64::MAX))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_wait_is_longer_than_the_maximum(
        backoff in backoff(),
        retry in retry(),
        previous in duration(),
        random in any::<u64>(),
    ) {
        prop_assert!(backoff.delay(retry, previous, random) <= backoff.max());
    }

    #[test]
    fn waits_stay_in_the_range_of_their_jitter(
        backoff in backoff(),
        retry in retry(),
        previous in duration(),
        random in any::<u64>(),
    ) {
        let ceiling = backoff.jitter(Jitter::None).delay(retry, previous, random);
        let wait = |jitter| backoff.jitter(jitter).delay(retry, previous, random);
        prop_assert!(ceiling >= cut(backoff.base()));
        prop_assert!(wait(Jitter::Full) <= ceiling);
        prop_assert!(wait(Jitter::Equal) <= ceiling);
        prop_assert!(wait(Jitter::Equal) >= (ceiling / 2));
        let decorrelated = wait(Jitter::Decorrelated);
        prop_assert!(decorrelated >= cut(backoff.base()));
        prop_assert!(decorrelated <= previous.saturating_mul(3).max(backoff.base()));
    }

    #[test]
    fn ceilings_never_shrink_from_one_retry_to_the_next(backoff in backoff(), retry in retry()) {
        let backoff = backoff.jitter(Jitter::None);
        let ceiling = |retry| backoff.delay(retry, Duration::ZERO, 0);
        prop_assert!(ceiling(retry) <= ceiling(retry.saturating_add(1)));
        prop_assert_eq!(ceiling(1), cut(backoff.base()));
    }

    #[test]
    fn more_randomness_never_means_less_waiting(
        backoff in backoff(),
        retry in retry(),
        previous in duration(),
        one in any::<u64>(),
        other in any::<u64>(),
    ) {
        let wait = |random| backoff.delay(retry, previous, random);
        prop_assert!(wait(one.min(other)) <= wait(one.max(other)));
    }

    #[test]
    fn the_ends_of_the_range_are_reached(backoff in backoff(), retry in retry()) {
        let ceiling = backoff.jitter(Jitter::None).delay(retry, Duration::ZERO, 0);
        let full = backoff.jitter(Jitter::Full);
        prop_assert_eq!(full.delay(retry, Duration::ZERO, 0), Duration::ZERO);
        prop_assert_eq!(full.delay(retry, Duration::ZERO, u64::MAX), ceiling);
        let equal = backoff.jitter(Jitter::Equal);
        prop_assert_eq!(equal.delay(retry, Duration::ZERO, u64::MAX), ceiling);
    }

    #[test]
    fn doubling_is_exact(base in 1_u64..1 << 40, retry in 1_u32..20) {
        let base = Duration::from_nanos(base);
        let backoff = Backoff::exponential(base, Duration::MAX).unwrap().jitter(Jitter::None);
        prop_assert_eq!(backoff.delay(retry, Duration::ZERO, 0), base * (1 << (retry - 1)));
    }
}

#[test]
fn a_thousand_clients_come_back_at_nine_hundred_times_or_more_also_from_whole_seconds() {
    for base in [1, 2] {
        let base = Duration::from_secs(base);
        for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
            let backoff = Backoff::exponential(base, base * 10).unwrap().jitter(jitter);
            let mut random = fastrand::Rng::with_seed(7);
            let waits: HashSet<Duration> =
                (0..1_000).map(|_| backoff.delay(1, base, random.u64(..))).collect();
            assert!(waits.len() >= 900, "{jitter:?}, {base:?}: {} values", waits.len());
        }
    }
}

#[test]
fn full_jitter_is_even_over_a_whole_second() {
    let second = Duration::from_secs(1);
    let backoff = Backoff::exponential(second, second).unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    let mut tenths = [0_u32; 10];
    for _ in 0..10_000 {
        let wait = backoff.delay(1, Duration::ZERO, random.u64(..));
        tenths[usize::try_from(wait.as_millis() / 100).unwrap().min(9)] += 1;
    }
    assert!(tenths.iter().all(|count| (850..1_150).contains(count)), "{tenths:?}");
}

#[test]
fn decorrelated_waits_grow_with_those_that_were_taken() {
    let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(20))
        .unwrap()
        .jitter(Jitter::Decorrelated);
    let mut wait = Duration::ZERO;
    let longest = [1, 2, 3, 4, 5].map(|retry| {
        wait = backoff.delay(retry, wait, u64::MAX);
        wait.as_secs()
    });
    assert_eq!(longest, [1, 3, 9, 20, 20]);
    assert_eq!(backoff.delay(5, wait, 0), Duration::from_secs(1), "and may fall back to the base");
}

#[test]
fn the_extremes_are_safe() {
    let whole = Backoff::exponential(Duration::MAX, Duration::MAX).unwrap();
    let tiny = Backoff::exponential(Duration::from_nanos(1), Duration::MAX)
        .unwrap()
        .factor(f64::MAX)
        .unwrap();
    for backoff in [whole, tiny] {
        for jitter in JITTERS {
            let backoff = backoff.jitter(jitter);
            let wait = backoff.delay(u32::MAX, Duration::MAX, u64::MAX);
            assert_eq!(wait, Duration::from_nanos(u64::MAX), "{jitter:?}");
        }
    }
}

#[test]
fn the_default_doubles_from_fifty_milliseconds_to_ten_seconds() {
    let backoff = Backoff::default();
    let ceiling = |retry| backoff.delay(retry, Duration::ZERO, u64::MAX).as_millis();
    assert_eq!([1, 2, 3, 8, 9, u32::MAX].map(ceiling), [50, 100, 200, 6_400, 10_000, 10_000]);
    assert_eq!(backoff.delay(3, Duration::ZERO, 0), Duration::ZERO, "full jitter");
    let spelt_out =
        Backoff::exponential(Duration::from_millis(50), Duration::from_secs(10)).unwrap();
    assert_eq!(backoff, spelt_out);
}

#[test]
fn a_fixed_wait_stays_and_may_be_zero() {
    for wait in [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(1 << 30)] {
        let backoff = Backoff::fixed(wait);
        assert_eq!([1, 2, u32::MAX].map(|retry| backoff.delay(retry, wait, 1 << 63)), [wait; 3]);
    }
    let spread = Backoff::fixed(Duration::from_secs(2)).jitter(Jitter::Equal);
    assert_eq!(spread.delay(9, Duration::ZERO, 0), Duration::from_secs(1));
}

#[test]
fn bad_settings_are_refused_in_one_line_that_names_them() {
    let seconds = Duration::from_secs;
    let refused = |result: Result<Backoff, buttress_retry::SettingError>| {
        let error = result.unwrap_err();
        assert!(!error.to_string().contains('\n'));
        (error.setting().to_owned(), error.to_string())
    };
    let (setting, line) = refused(Backoff::exponential(seconds(2), seconds(1)));
    assert_eq!(setting, "backoff.max");
    assert_eq!(line, "`backoff.max` is 1s, shorter than `backoff.base` 2s");

    let (setting, line) = refused(Backoff::exponential(Duration::ZERO, seconds(1)));
    assert_eq!(setting, "backoff.base");
    assert_eq!(line, "`backoff.base` is 0ns, which never grows");

    for factor in [f64::NAN, 0.0, 0.999, -2.0, f64::INFINITY, f64::NEG_INFINITY] {
        let (setting, line) = refused(Backoff::default().factor(factor));
        assert_eq!(setting, "backoff.factor");
        assert_eq!(
            line,
            format!("`backoff.factor` is {factor}, not a finite number of at least 1")
        );
    }
    assert!(Backoff::exponential(seconds(1), seconds(1)).is_ok(), "base and maximum may meet");
}
