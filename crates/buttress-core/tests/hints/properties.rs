//! What holds for any response whatever.

use std::time::{Duration, UNIX_EPOCH};

use buttress_core::Hints;
use http::StatusCode;
use proptest::prelude::*;

use super::{busy, headers, limited, retry_after, seconds};

/// Every header that the parser looks at, with the suffixes and prefixes that it has to find.
const NAMES: [&str; 22] = [
    "x-should-retry",
    "grpc-retry-pushback-ms",
    "retry-after-ms",
    "x-ms-retry-after-ms",
    "retry-after",
    "x-amz-retry-after",
    "date",
    "ratelimit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "x-rate-limit-remaining",
    "x-rate-limit-reset",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-input-tokens-reset",
];

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        "[-+0-9.eE, :TZhmsun\"=;rt]{0,40}",
        "[0-9]{1,400}(\\.[0-9]{1,40})?",
        "([0-9]{1,25}(\\.[0-9]{1,25})?(h|m|s|ms|us|µs|ns)){1,4}",
        "[0-9]{1,6}(-[0-9]{2}){2}T([0-9]{2}:){2}[0-9]{2}(\\.[0-9]{1,12})?(Z|[+-]05:30)",
        "(Mon|Wed|Sunday),? [0-9]{2}[- ](Feb|Oct)[- ][0-9]{2,4} ([0-9]{2}:){2}[0-9]{2} GMT",
        "\"[a-z]{0,5}\";r=[0-9]{1,16};t=[0-9]{1,16}(, [a-z(]{1,3}.{0,9})?",
        Just("0".to_owned()),
    ];
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..40),
        4 => text.prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn no_header_whatever_its_bytes_makes_it_panic(
        lines in prop::collection::vec((prop::sample::select(&NAMES[..]), any_value()), 0..12),
        status in prop::sample::select(vec![200_u16, 403, 429, 503, 529]),
        now in any::<u32>(),
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let headers = headers(&lines);
        let now = UNIX_EPOCH + Duration::from_secs(u64::from(now));
        let mut hints = Hints::read(status, &headers, now);
        hints.read_trailers(&headers);
        let said = hints.delay().is_some() || hints.retry().is_some();
        prop_assert_eq!(hints.source().is_some(), said);
    }

    #[test]
    fn whole_seconds_are_exact(asked in any::<u64>(), zeros in 0_usize..9) {
        let value = format!("{}{asked}", "0".repeat(zeros));
        prop_assert_eq!(retry_after(value.as_bytes()), seconds(asked));
    }

    #[test]
    fn decimals_are_never_shorter_than_asked_and_at_most_a_nanosecond_longer(
        whole in any::<u32>(),
        fraction in prop::collection::vec(0_u8..10, 1..17),
    ) {
        let digits: String = fraction.iter().map(|digit| char::from(b'0' + digit)).collect();
        let value = format!("{whole}.{digits}");
        let asked: u128 = format!("{whole}{digits}").parse().unwrap();
        let scale = 10_u128.pow(u32::try_from(digits.len()).unwrap());
        for (name, nanos) in [("retry-after", 1_000_000_000), ("retry-after-ms", 1_000_000)] {
            let delay = busy(&[(name, &value)]).delay().unwrap();
            prop_assert!(delay.as_nanos() * scale >= asked * nanos);
            prop_assert!(delay.as_nanos() * scale < asked * nanos + scale);
        }
    }

    #[test]
    fn a_go_duration_is_never_shorter_than_asked(
        hours in 0_u64..1000,
        minutes in 0_u64..60,
        seconds in 0_u64..60,
        nanos in 0_u32..1_000_000_000,
    ) {
        let value = format!("{hours}h{minutes}m{seconds}.{nanos:09}s");
        let hints = limited(&[
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", value.as_str()),
        ]);
        let asked = Duration::new((hours * 60 + minutes) * 60 + seconds, nanos);
        prop_assert_eq!(hints.delay(), Some(asked));
    }

    #[test]
    fn a_date_is_as_far_off_as_the_two_dates_are_apart(
        date in 0_u64..4_000_000_000, asked in 0_u64..100_000_000, skew in -100_000_i64..100_000,
    ) {
        let format = |seconds| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        let headers = headers(&[("date", format(date)), ("retry-after", format(date + asked))]);
        let clock = UNIX_EPOCH + Duration::from_secs(date.saturating_add_signed(skew));
        let hints = Hints::read(StatusCode::SERVICE_UNAVAILABLE, &headers, clock);
        prop_assert_eq!(hints.delay(), Some(Duration::from_secs(asked)));
    }

    #[test]
    fn several_lines_never_give_less_than_any_one_of_them(
        values in prop::collection::vec(any_value(), 1..6),
        name in prop::sample::select(vec!["retry-after", "retry-after-ms", "x-amz-retry-after"]),
    ) {
        let lines: Vec<_> = values.into_iter().map(|value| (name, value)).collect();
        let together = busy(&lines).delay();
        let alone = lines.chunks(1).filter_map(|line| busy(line).delay()).max();
        prop_assert_eq!(together, alone);
    }
}
