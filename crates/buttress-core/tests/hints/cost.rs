//! What reading costs, and what a source is called.

use buttress_core::{HintSource, Hints};
use http::{HeaderName, StatusCode};

use super::{headers, now, seconds};

#[test]
fn a_response_without_hints_costs_no_allocation() {
    let plain = headers(&[
        ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ("content-type", "application/json"),
        ("x-request-id", "5b2d"),
        ("x-ratelimit-remaining-requests", "59"),
        ("x-ratelimit-reset-requests", "1s"),
    ]);
    for status in [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY] {
        let mut hints = None;
        let counted = allocation_counter::measure(|| {
            let mut read = Hints::read(status, &plain, now());
            read.read_trailers(&plain);
            hints = Some(read);
        });
        assert_eq!(hints, Some(Hints::default()));
        assert_eq!(counted.count_total, 0, "{status}");
    }
}

#[test]
fn a_number_of_seconds_costs_no_allocation() {
    let headers = headers(&[("retry-after", "3")]);
    let counted = allocation_counter::measure(|| {
        let hints = Hints::read(StatusCode::SERVICE_UNAVAILABLE, &headers, now());
        assert_eq!(hints.delay(), seconds(3));
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn every_source_is_named_as_a_header() {
    for source in [
        HintSource::ShouldRetry,
        HintSource::Pushback,
        HintSource::RetryAfterMs,
        HintSource::XMsRetryAfterMs,
        HintSource::RetryAfter,
        HintSource::XAmzRetryAfter,
        HintSource::XRateLimitReset,
        HintSource::AnthropicRateLimitReset,
        HintSource::RateLimit,
        HintSource::RateLimitReset,
    ] {
        let name: HeaderName = source.as_str().parse().unwrap();
        assert_eq!(name.as_str(), source.to_string());
    }
}
