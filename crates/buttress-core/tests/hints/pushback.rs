//! gRPC pushback, in the head and in the trailers.

use std::time::Duration;

use buttress_core::{HintSource, Hints};
use http::StatusCode;

use super::{busy, headers, read, seconds};

#[test]
fn a_pushback_says_when_and_not_whether() {
    let hints = read(StatusCode::OK, &[("grpc-retry-pushback-ms", "50"), ("retry-after", "9")]);
    assert!(hints.pushback());
    assert_eq!(hints.delay(), Some(Duration::from_millis(50)));
    assert_eq!(hints.source(), Some(HintSource::Pushback));
    assert_eq!(hints.retry(), None);
    let hints = read(StatusCode::OK, &[("grpc-retry-pushback-ms", "0")]);
    assert_eq!(hints.delay(), seconds(0));
}

#[test]
fn a_negative_or_unreadable_pushback_forbids_the_retry() {
    for value in [&b"-1"[..], b"abc", b"", b"1.5", b"2147483648", b"NaN", b"1e3", b"5 0", b"\xff"] {
        let hints = read(StatusCode::OK, &[("grpc-retry-pushback-ms", value)]);
        let shown = value.escape_ascii().to_string();
        assert_eq!(hints.retry(), Some(false), "{shown}");
        assert_eq!(hints.delay(), None, "{shown}");
        assert_eq!(hints.source(), Some(HintSource::Pushback), "{shown}");
        assert!(hints.pushback(), "{shown}");
    }
}

#[test]
fn a_pushback_that_forbids_the_retry_leaves_the_delay_to_retry_after() {
    let hints = busy(&[("grpc-retry-pushback-ms", "-1"), ("retry-after", "9")]);
    assert_eq!(hints.retry(), Some(false));
    assert_eq!(hints.delay(), seconds(9));
    assert_eq!(hints.source(), Some(HintSource::RetryAfter));
}

#[test]
fn a_pushback_in_the_trailers_outranks_what_the_head_asked_for() {
    let mut hints = read(StatusCode::OK, &[("retry-after", "9")]);
    assert!(!hints.pushback());
    hints.read_trailers(&headers(&[("grpc-status", "14"), ("grpc-retry-pushback-ms", "50")]));
    assert!(hints.pushback());
    assert_eq!(hints.delay(), Some(Duration::from_millis(50)));

    let mut hints = read(StatusCode::OK, &[("retry-after", "9")]);
    hints.read_trailers(&headers(&[("grpc-retry-pushback-ms", "abc")]));
    assert_eq!(hints.retry(), Some(false));
}

#[test]
fn of_a_pushback_in_the_head_and_one_in_the_trailers_the_stricter_counts() {
    for (head, trailer, delay, retry) in [
        ("50", "70", Some(70), None),
        ("70", "50", Some(70), None),
        ("-1", "50", None, Some(false)),
        ("50", "-1", None, Some(false)),
    ] {
        let mut hints = read(StatusCode::OK, &[("grpc-retry-pushback-ms", head)]);
        hints.read_trailers(&headers(&[("grpc-retry-pushback-ms", trailer)]));
        assert_eq!(hints.delay(), delay.map(Duration::from_millis), "{head} {trailer}");
        assert_eq!(hints.retry(), retry, "{head} {trailer}");
    }
}

#[test]
fn of_several_pushback_lines_the_strictest_counts() {
    for (lines, delay, retry) in [
        (["50", "70", "60"], Some(70), None),
        (["50", "-1", "60"], None, Some(false)),
        (["abc", "70", "60"], None, Some(false)),
    ] {
        let hints = busy(&lines.map(|value| ("grpc-retry-pushback-ms", value)));
        assert_eq!(hints.delay(), delay.map(Duration::from_millis), "{lines:?}");
        assert_eq!(hints.retry(), retry, "{lines:?}");
    }
}

#[test]
fn trailers_carry_no_other_hint() {
    let mut hints = busy(&[("x-request-id", "7")]);
    hints.read_trailers(&headers(&[("retry-after", "9"), ("x-should-retry", "false")]));
    assert_eq!(hints, Hints::default());
}

#[test]
fn x_should_retry_outranks_a_pushback() {
    let hints = busy(&[("x-should-retry", "true"), ("grpc-retry-pushback-ms", "-1")]);
    assert_eq!(hints.retry(), Some(true));
    let hints = busy(&[("x-should-retry", "false"), ("grpc-retry-pushback-ms", "50")]);
    assert_eq!(hints.retry(), Some(false));
    assert_eq!(hints.delay(), Some(Duration::from_millis(50)));
}
