//! The other headers that say when, or whether, in so many words.

use std::time::Duration;

use buttress_core::{HintSource, Hints};

use super::{busy, seconds};

#[test]
fn milliseconds_may_have_a_fraction_and_come_before_seconds() {
    for (name, source) in [
        ("retry-after-ms", HintSource::RetryAfterMs),
        ("x-ms-retry-after-ms", HintSource::XMsRetryAfterMs),
    ] {
        let hints = busy(&[(name, "1500.25"), ("retry-after", "9"), ("x-amz-retry-after", "9")]);
        assert_eq!(hints.delay(), Some(Duration::from_micros(1_500_250)));
        assert_eq!(hints.source(), Some(source));
    }
}

#[test]
fn x_amz_retry_after_is_in_milliseconds() {
    let hints = busy(&[("x-amz-retry-after", "1500")]);
    assert_eq!(hints.delay(), Some(Duration::from_millis(1500)));
    assert_eq!(hints.source(), Some(HintSource::XAmzRetryAfter));
}

#[test]
fn x_should_retry_says_whether_and_leaves_it_to_the_others_when() {
    for (value, retry) in [("true", true), ("false", false), (" False\t", false)] {
        let hints = busy(&[("x-should-retry", value), ("retry-after", "3")]);
        assert_eq!(hints.retry(), Some(retry), "{value:?}");
        assert_eq!(hints.delay(), seconds(3));
        assert_eq!(hints.source(), Some(HintSource::RetryAfter));
    }
    let hints = busy(&[("x-should-retry", "false")]);
    assert_eq!(hints.delay(), None);
    assert_eq!(hints.source(), Some(HintSource::ShouldRetry));
}

#[test]
fn an_x_should_retry_of_another_value_counts_as_absent() {
    for value in [&b""[..], b"1", b"yes", b"truefalse", b"true, false", b"\xff"] {
        assert_eq!(busy(&[("x-should-retry", value)]), Hints::default(), "{value:?}");
    }
}

#[test]
fn where_two_lines_of_x_should_retry_disagree_the_answer_is_no() {
    for words in [["false", "true"], ["true", "false"]] {
        let hints = busy(&words.map(|word| ("x-should-retry", word)));
        assert_eq!(hints.retry(), Some(false), "{words:?}");
    }
}
