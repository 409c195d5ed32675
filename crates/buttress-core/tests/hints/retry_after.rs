//! `Retry-After` and the clock that its dates are measured from.

use std::time::{Duration, UNIX_EPOCH};

use buttress_core::{HintSource, Hints};
use http::StatusCode;

use super::{NOW, busy, headers, read, retry_after, seconds};

#[test]
fn retry_after_in_seconds_is_obeyed_to_the_letter() {
    assert_eq!(retry_after(b"0"), seconds(0));
    assert_eq!(retry_after(b"120"), seconds(120));
    assert_eq!(retry_after(b" 3 "), seconds(3));
    assert_eq!(retry_after(b"\t3"), seconds(3));
    assert_eq!(retry_after(b"0007"), seconds(7));
    assert_eq!(retry_after(b"1.5"), Some(Duration::from_millis(1500)));
    assert_eq!(retry_after(b"600"), seconds(600));
}

#[test]
fn a_retry_after_that_is_no_amount_of_time_counts_as_absent() {
    for value in [
        &b""[..],
        b"-5",
        b"-0",
        b"+3",
        b"1e400",
        b"1e3",
        b"NaN",
        b"inf",
        b"-inf",
        b"Infinity",
        b".5",
        b"5.",
        b"0x10",
        b"3s",
        b"3, 5",
        b"soon",
        b"\xff\xfe",
        b"3\xff",
        b"Wed, 21 Oct 2015",
        b"Tue, 21 Oct 2015 07:28:00 GMT",
        b"Wed, 32 Oct 2015 07:28:00 GMT",
    ] {
        let hints = busy(&[("retry-after", value)]);
        assert_eq!(hints, Hints::default(), "{:?}", value.escape_ascii().to_string());
    }
}

#[test]
fn an_invalid_header_gives_way_to_the_next_one() {
    let hints = busy(&[("retry-after", "1e400"), ("x-amz-retry-after", "250")]);
    assert_eq!(hints.delay(), Some(Duration::from_millis(250)));
    assert_eq!(hints.source(), Some(HintSource::XAmzRetryAfter));

    let hints = busy(&[("retry-after-ms", "NaN"), ("retry-after", "2")]);
    assert_eq!(hints.delay(), seconds(2));
    assert_eq!(hints.source(), Some(HintSource::RetryAfter));
}

#[test]
fn a_date_is_read_in_all_three_forms() {
    for value in [
        "Wed, 21 Oct 2015 07:38:00 GMT",
        "Wednesday, 21-Oct-15 07:38:00 GMT",
        "Wed Oct 21 07:38:00 2015",
    ] {
        assert_eq!(retry_after(value.as_bytes()), seconds(600), "{value}");
    }
}

#[test]
fn a_date_in_the_past_is_a_delay_of_zero() {
    assert_eq!(retry_after(b"Wed, 21 Oct 2015 07:28:00 GMT"), seconds(0));
    assert_eq!(retry_after(b"Wed, 21 Oct 2015 07:27:59 GMT"), seconds(0));
    assert_eq!(retry_after(b"Thu, 01 Jan 1970 00:00:00 GMT"), seconds(0));
}

#[test]
fn a_date_is_measured_from_the_servers_own_clock() {
    let late = UNIX_EPOCH + Duration::from_secs(NOW + 3600);
    let early = UNIX_EPOCH + Duration::from_secs(NOW - 3600);
    let headers = headers(&[
        ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"),
    ]);
    for clock in [late, early] {
        let hints = Hints::read(StatusCode::SERVICE_UNAVAILABLE, &headers, clock);
        assert_eq!(hints.delay(), seconds(30), "local clock one hour off");
    }
}

#[test]
fn an_invalid_date_leaves_the_local_clock_to_measure_from() {
    for date in ["", "yesterday", "Tue, 21 Oct 2015 07:28:00 GMT"] {
        let hints = busy(&[("date", date), ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")]);
        assert_eq!(hints.delay(), seconds(30), "{date:?}");
    }
}

#[test]
fn of_several_lines_the_one_that_asks_for_most_counts() {
    let delay = |lines: &[&'static str]| {
        let lines: Vec<_> = lines.iter().map(|value| ("retry-after", *value)).collect();
        busy(&lines).delay()
    };
    assert_eq!(delay(&["1", "5", "3"]), seconds(5));
    assert_eq!(delay(&["-9", "2", "soon"]), seconds(2));
    assert_eq!(delay(&["2", "Wed, 21 Oct 2015 07:28:30 GMT"]), seconds(30));
    assert_eq!(delay(&["40", "Wed, 21 Oct 2015 07:28:30 GMT"]), seconds(40));
}

#[test]
fn of_several_dates_the_earliest_is_the_servers_clock() {
    let hints = busy(&[
        ("date", "Wed, 21 Oct 2015 07:28:10 GMT"),
        ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"),
    ]);
    assert_eq!(hints.delay(), seconds(30));
}

#[test]
fn a_delay_too_long_to_hold_is_the_longest_there_is() {
    assert_eq!(retry_after(b"18446744073709551615"), seconds(u64::MAX));
    assert_eq!(retry_after(b"18446744073709551616"), Some(Duration::MAX));
    assert_eq!(retry_after(&[b'9'; 4000]), Some(Duration::MAX));
    let hints = busy(&[("retry-after-ms", vec![b'9'; 4000])]);
    assert_eq!(hints.delay(), Some(Duration::MAX));
}

#[test]
fn retry_after_is_read_whatever_the_status_is() {
    for status in [StatusCode::ACCEPTED, StatusCode::SEE_OTHER, StatusCode::PAYLOAD_TOO_LARGE] {
        assert_eq!(read(status, &[("retry-after", "3")]).delay(), seconds(3), "{status}");
    }
}
