//! Dates as HTTP writes them (RFC 9110 section 5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Time;

/// Reads a date in any of the three formats, in any case (RFC 9111 section 4.2), to the second.
///
/// A zone other than GMT, a year before 1970 and a day of the week that does not fit are invalid.
pub(crate) fn parse(value: &[u8]) -> Option<Time> {
    // None of the formats is longer than this, so nothing long is copied.
    const LONGEST: usize = "Wednesday, 30-Sep-50 00:00:00 GMT".len();
    let value = value.trim_ascii();
    if value.len() > LONGEST || !value.is_ascii() {
        return None;
    }
    let mut text = String::with_capacity(value.len());
    let mut inside = false;
    for &byte in value {
        let letter = char::from(byte);
        text.push(if inside { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() });
        inside = letter.is_ascii_alphabetic();
    }
    // The reader takes any character after the two digits of a year.
    let year = text.rsplit_once('-').map(|(_, year)| year.as_bytes());
    if year.is_some_and(|year| year.get(2) != Some(&b' ')) {
        return None;
    }
    if let Some(start) = text.strip_suffix("Gmt").map(str::len) {
        text.replace_range(start.., "GMT");
    }
    httpdate::parse_http_date(&text).ok().map(Time::from)
}

/// Reads the one value of a field; `None` if there is none, several that differ, or an invalid one.
pub(crate) fn field(headers: &HeaderMap, name: &HeaderName) -> Option<Time> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.any(|other| other != first) {
        return None;
    }
    parse(first.as_bytes())
}

/// Writes a date in the preferred format.
pub(crate) fn format(time: Time) -> HeaderValue {
    /// The last second of the year 9999, beyond which the format has no room.
    const LAST: u64 = 253_402_300_799;
    let secs = Duration::from_secs((time.millis() / 1000).min(LAST));
    let date: SystemTime = UNIX_EPOCH + secs;
    // The format is ASCII, so the fallback is never taken.
    HeaderValue::from_str(&httpdate::fmt_http_date(date))
        .unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_formats_mean_the_same_in_any_case() {
        let time = Some(Time::from_secs(784_111_777));
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "sun, 06 nov 1994 08:49:37 gmt",
            "SUN, 06 NOV 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(date.as_bytes()), time, "{date}");
        }
    }

    #[test]
    fn what_is_not_a_date_is_none() {
        for date in [
            "",
            "0",
            "-1",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06  Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 0001 08:49:37 GMT",
            "Sunday, 06-Nov-94T08:49:37 GMT",
            "Sunday, 06-Nov-94508:49:37 GMT",
        ] {
            assert_eq!(parse(date.as_bytes()), None, "{date}");
        }
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 GM\xff"), None);
    }

    #[test]
    fn a_time_beyond_the_format_is_written_as_its_last_second() {
        assert_eq!(format(Time::from_millis(u64::MAX)), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(format(Time::from_secs(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(secs in 0_u64..253_402_300_799) {
            let time = Time::from_secs(secs);
            proptest::prop_assert_eq!(parse(format(time).as_bytes()), Some(time));
        }

        #[test]
        fn any_bytes_are_a_date_or_none(bytes in proptest::collection::vec(0_u8.., 0..40)) {
            let _ = parse(&bytes);
        }
    }
}
