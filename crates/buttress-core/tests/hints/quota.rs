//! Quotas that a server reports as spent.

use std::time::Duration;

use buttress_core::{HintSource, Hints};
use http::StatusCode;

use super::{headers, limited, now, read, seconds};

#[test]
fn of_the_openai_quotas_the_spent_ones_count() {
    let hints = limited(&[
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "120ms"),
        ("x-ratelimit-remaining-tokens", "149984"),
        ("x-ratelimit-reset-tokens", "6m0s"),
    ]);
    assert_eq!(hints.delay(), Some(Duration::from_millis(120)));
    assert_eq!(hints.source(), Some(HintSource::XRateLimitReset));
    assert_eq!(hints.retry(), None);
}

#[test]
fn of_two_spent_quotas_the_one_that_resets_last_counts() {
    let hints = limited(&[
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "7.66s"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "1h2m3s"),
        ("anthropic-ratelimit-tokens-remaining", "0"),
        ("anthropic-ratelimit-tokens-reset", "2015-10-21T07:29:00Z"),
    ]);
    assert_eq!(hints.delay(), seconds(3723));
    assert_eq!(hints.source(), Some(HintSource::XRateLimitReset));
}

#[test]
fn a_quota_with_any_suffix_is_found() {
    for (remaining, reset) in [
        ("x-ratelimit-remaining", "x-ratelimit-reset"),
        ("x-rate-limit-remaining", "x-rate-limit-reset"),
        ("x-ratelimit-remaining-requests-day", "x-ratelimit-reset-requests-day"),
        ("x-ratelimit-remaining-tokens_usage_based", "x-ratelimit-reset-tokens_usage_based"),
    ] {
        let hints = limited(&[(remaining, "0"), (reset, "33.25")]);
        assert_eq!(hints.delay(), Some(Duration::from_millis(33_250)), "{remaining}");
        assert_eq!(hints.source(), Some(HintSource::XRateLimitReset), "{remaining}");
    }
}

#[test]
fn an_x_ratelimit_reset_is_a_delay_or_a_time_in_seconds_or_in_milliseconds() {
    for reset in ["30", "1445412510", "1445412510000"] {
        let hints = limited(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)]);
        assert_eq!(hints.delay(), seconds(30), "{reset}");
    }
    let past = limited(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1445412400")]);
    assert_eq!(past.delay(), seconds(0));
}

#[test]
fn a_reset_at_a_time_is_measured_from_the_servers_own_clock() {
    for (remaining, reset, value) in [
        ("x-ratelimit-remaining", "x-ratelimit-reset", "1445412510"),
        (
            "anthropic-ratelimit-requests-remaining",
            "anthropic-ratelimit-requests-reset",
            "2015-10-21T07:28:30Z",
        ),
    ] {
        let headers =
            headers(&[("date", "Wed, 21 Oct 2015 07:28:00 GMT"), (remaining, "0"), (reset, value)]);
        let late = now() + Duration::from_secs(3600);
        let hints = Hints::read(StatusCode::TOO_MANY_REQUESTS, &headers, late);
        assert_eq!(hints.delay(), seconds(30), "{reset}");
    }
}

#[test]
fn each_anthropic_quota_is_read() {
    for (remaining, reset) in [
        ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
        ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
        ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
        ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
        ("anthropic-priority-input-tokens-remaining", "anthropic-priority-input-tokens-reset"),
    ] {
        let hints = limited(&[(remaining, "0"), (reset, "2015-10-21T07:29:00Z")]);
        assert_eq!(hints.delay(), seconds(60), "{remaining}");
        assert_eq!(hints.source(), Some(HintSource::AnthropicRateLimitReset), "{remaining}");
    }
}

#[test]
fn the_ratelimit_field_is_read_in_every_form_it_had() {
    let hints = limited(&[("ratelimit", "\"burst\";r=0;t=5, \"day\";r=0;t=50, \"x\";r=1;t=500")]);
    assert_eq!(hints.delay(), seconds(50));
    assert_eq!(hints.source(), Some(HintSource::RateLimit));

    let hints = limited(&[("ratelimit", "limit=100, remaining=0, reset=30")]);
    assert_eq!(hints.delay(), seconds(30));
    assert_eq!(hints.source(), Some(HintSource::RateLimit));

    let hints = limited(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "30")]);
    assert_eq!(hints.delay(), seconds(30));
    assert_eq!(hints.source(), Some(HintSource::RateLimitReset));

    let lines =
        [("ratelimit", "\"a\";r=0;t=5"), ("ratelimit", "\"b\";r=0;t=6"), ("ratelimit", "=")];
    assert_eq!(limited(&lines).delay(), seconds(6));
}

#[test]
fn a_quota_that_is_not_known_to_be_spent_says_nothing() {
    for remaining in ["1", "-1", "", "none", "0.5"] {
        let hints = limited(&[("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", "30")]);
        assert_eq!(hints, Hints::default(), "{remaining:?}");
    }
    assert_eq!(limited(&[("x-ratelimit-reset", "30")]), Hints::default());
    assert_eq!(limited(&[("x-ratelimit-remaining", "0")]), Hints::default());
    let other = [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-requests", "30")];
    assert_eq!(limited(&other), Hints::default());
}

#[test]
fn of_several_lines_of_one_quota_the_one_that_asks_for_most_counts() {
    let hints = limited(&[
        ("x-ratelimit-remaining", "7"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "5"),
        ("x-ratelimit-reset", "never"),
        ("x-ratelimit-reset", "50"),
        ("x-ratelimit-reset", "6"),
    ]);
    assert_eq!(hints.delay(), seconds(50));
}

#[test]
fn a_limit_of_zero_is_no_spent_quota() {
    let hints = limited(&[("x-ratelimit-limit", "0"), ("anthropic-ratelimit-tokens-limit", "0")]);
    assert_eq!(hints, Hints::default());
}

#[test]
fn a_quota_is_read_only_from_a_status_that_may_mean_it_is_spent() {
    let lines = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "30")];
    for status in [403, 429, 503, 529] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(read(status, &lines).delay(), seconds(30), "{status}");
    }
    for status in [200, 301, 400, 404, 500, 502, 504] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(read(status, &lines), Hints::default(), "{status}");
    }
}

#[test]
fn retry_after_outranks_a_quota_even_when_it_asks_for_less() {
    let hints = limited(&[
        ("retry-after", "2"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "30"),
        ("ratelimit", "\"default\";r=0;t=40"),
    ]);
    assert_eq!(hints.delay(), seconds(2));
    assert_eq!(hints.source(), Some(HintSource::RetryAfter));
}
