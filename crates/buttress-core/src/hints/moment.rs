//! Moments as text, and how far away they are.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderMap};

use super::amount::{self, MILLISECOND, SECOND};
use super::lines;

/// A bare number from here on is a time in seconds since 1970 (in the year 2001), not a delay of 31
/// years or more.
const EPOCH_SECONDS: Duration = Duration::from_secs(1_000_000_000);
/// A bare number from here on is milliseconds since 1970 (in the year 1973), not seconds since then
/// (in the year 5138).
const EPOCH_MILLISECONDS: Duration = Duration::from_secs(100_000_000_000);

/// A response's headers and the time at which it arrived: what its dates are measured from.
#[derive(Clone, Copy)]
pub(super) struct Base<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) now: SystemTime,
}

impl Base<'_> {
    /// How long until an HTTP-date in any of the three forms of RFC 9110, section 5.6.7; zero if it
    /// is past.
    pub(super) fn until_http_date(self, text: &str) -> Option<Duration> {
        httpdate::parse_http_date(text).ok().map(|date| self.until(date))
    }

    /// How long until a reset in any of the forms that rate-limit headers give it.
    pub(super) fn until_reset(self, text: &str) -> Option<Duration> {
        self.until_number(text)
            .or_else(|| amount::with_units(text))
            .or_else(|| self.until_timestamp(text))
            .or_else(|| self.until_http_date(text))
    }

    fn until_number(self, text: &str) -> Option<Duration> {
        let seconds = amount::decimal(text, SECOND)?;
        if seconds < EPOCH_SECONDS {
            return Some(seconds);
        }
        if seconds < EPOCH_MILLISECONDS {
            return Some(self.until_epoch(seconds));
        }
        amount::decimal(text, MILLISECOND).map(|since| self.until_epoch(since))
    }

    fn until_timestamp(self, text: &str) -> Option<Duration> {
        let timestamp: jiff::Timestamp = text.parse().ok()?;
        // What is before 1970 is past, and so is 1970.
        let since = Duration::try_from(timestamp.as_duration()).unwrap_or_default();
        Some(self.until_epoch(since))
    }

    fn until_epoch(self, since: Duration) -> Duration {
        let moment = UNIX_EPOCH.checked_add(since);
        moment.map_or(Duration::MAX, |moment| self.until(moment))
    }

    fn until(self, moment: SystemTime) -> Duration {
        moment.duration_since(self.time()).unwrap_or_default()
    }

    /// The server's own clock if the response shows it. Of several the earliest, which gives the
    /// longest delay.
    fn time(self) -> SystemTime {
        lines(self.headers, &header::DATE)
            .flatten()
            .filter_map(|date| httpdate::parse_http_date(date).ok())
            .min()
            .unwrap_or(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn until_reset(text: &str) -> Option<Duration> {
        let headers = HeaderMap::new();
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        Base { headers: &headers, now }.until_reset(text)
    }

    #[test]
    fn the_size_of_a_bare_number_tells_a_delay_from_a_time() {
        for (text, delay) in [
            ("0", Duration::ZERO),
            ("33011.382867", Duration::new(33_011, 382_867_000)),
            ("999999999", Duration::from_secs(999_999_999)),
            ("1000000000", Duration::ZERO),
            ("1800000030", Duration::from_secs(30)),
            ("1800000030.25", Duration::from_millis(30_250)),
            ("1800000030250", Duration::from_millis(30_250)),
            ("99999999999", Duration::from_secs(99_999_999_999 - NOW)),
            ("100000000000", Duration::ZERO),
        ] {
            assert_eq!(until_reset(text), Some(delay), "{text}");
        }
        assert!(until_reset(&"9".repeat(400)) > Some(Duration::from_secs(1 << 60)));
    }

    #[test]
    fn a_reset_may_be_a_timestamp_or_a_date() {
        for text in [
            "2027-01-15T08:01:00Z",
            "2027-01-15t08:01:00.000+00:00",
            "2027-01-15T03:01:00-05:00",
            "Fri, 15 Jan 2027 08:01:00 GMT",
        ] {
            assert_eq!(until_reset(text), Some(Duration::from_secs(60)), "{text}");
        }
        assert_eq!(until_reset("1969-12-31T23:59:59Z"), Some(Duration::ZERO));
        assert!(until_reset("9999-12-30T00:00:00Z") > Some(Duration::from_secs(1 << 37)));
        for text in ["", "soon", "2027-01-15", "2027-13-15T08:01:00Z", "2027-01-15T08:01:00"] {
            assert_eq!(until_reset(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_local_clock_before_1970_does_no_harm() {
        let headers = HeaderMap::new();
        let base = Base { headers: &headers, now: UNIX_EPOCH - SECOND };
        assert_eq!(base.until_reset("1970-01-01T00:00:01Z"), Some(2 * SECOND));
    }
}
