//! The values that flags take, and how they are read.

use std::{fmt, str::FromStr, time::Duration};

/// A host and a port to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or("it has no port; write HOST:PORT")?;
        if port.parse::<u16>().is_err() {
            return Err("its port is not a number from 0 to 65535");
        }
        if host.is_empty() {
            return Err("it has no host; 127.0.0.1 is this machine only, 0.0.0.0 every network");
        }
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.contains(':') && !bracketed {
            return Err("an IPv6 address stands in brackets: [::1]:8080");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A time limit that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(Option<Duration>);

impl Limit {
    /// The limit; `None` if there is none.
    #[must_use]
    pub const fn duration(self) -> Option<Duration> {
        self.0
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("off") {
            return Ok(Self(None));
        }
        duration(text).map(Some).map(Self)
    }
}

/// How many requests may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InFlightLimit {
    /// As many as come.
    Off,
    /// As many as turns out well.
    Auto,
    /// This many.
    Most(u32),
}

impl FromStr for InFlightLimit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "off" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            number => match number.parse() {
                Ok(most) if most > 0 => Ok(Self::Most(most)),
                _ => Err("not a number from 1, auto or off"),
            },
        }
    }
}

/// A number of bytes: `65536`, `64KiB`, `1MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(usize);

impl Size {
    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.0
    }
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "not a size such as 65536, 64KiB or 1MB";
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let factor: usize = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" | "k" => 1_000,
            "kib" => 1 << 10,
            "mb" | "m" => 1_000_000,
            "mib" => 1 << 20,
            "gb" | "g" => 1_000_000_000,
            "gib" => 1 << 30,
            _ => return Err(SHAPE),
        };
        let number: usize = number.parse().map_err(|_| SHAPE)?;
        number.checked_mul(factor).map(Self).ok_or("more than this machine can address")
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text.trim())
        .map_err(|_| "not a time such as 500ms, 30s or 5m".to_owned())?;
    if duration.is_zero() {
        return Err("it must be longer than nothing".to_owned());
    }
    // Timers take no more, and nobody waits longer.
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    if duration > YEAR {
        return Err("longer than a year".to_owned());
    }
    Ok(duration)
}

pub(super) fn percent(text: &str) -> Result<f64, &'static str> {
    const RANGE: &str = "neither 0 nor a percentage from 0.1 to 1000";
    let percent: f64 = text.trim().trim_end_matches('%').parse().map_err(|_| RANGE)?;
    if percent == 0.0 || (0.1..=1_000.0).contains(&percent) { Ok(percent) } else { Err(RANGE) }
}

pub(super) fn count(text: &str) -> Result<usize, &'static str> {
    const RANGE: &str = "not a number from 1 to 1000000";
    let count = text.trim().parse().map_err(|_| RANGE)?;
    if (1..=1_000_000).contains(&count) { Ok(count) } else { Err(RANGE) }
}

pub(super) fn workers(text: &str) -> Result<usize, &'static str> {
    const RANGE: &str = "not a number from 1 to 1024";
    let workers = text.trim().parse().map_err(|_| RANGE)?;
    if (1..=1_024).contains(&workers) { Ok(workers) } else { Err(RANGE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_a_number_in_range() {
        assert_eq!(percent("12.5%"), Ok(12.5));
        assert_eq!(percent("0"), Ok(0.0));
        for bad in ["NaN", "inf", "-1", "0.05", "1001", "", "many"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_limit_is_a_positive_time_or_off() {
        assert_eq!("1m 30s".parse(), Ok(Limit(Some(Duration::from_secs(90)))));
        assert_eq!("OFF".parse(), Ok(Limit(None)));
        for bad in ["0s", "", "5", "-1s", "NaN", "99999999999y", "2y"] {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_is_a_number_with_or_without_a_unit() {
        for (text, bytes) in [("0", 0), ("64KiB", 65_536), ("1 MB", 1_000_000), ("7b", 7)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "KiB", "1.5MB", "-1", "1XB", "99999999999999999999GiB", "99999999999GiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_names_host_and_port() {
        for good in ["127.0.0.1:0", "localhost:80", "[::1]:8080"] {
            assert!(good.parse::<Address>().is_ok(), "{good}");
        }
        for bad in ["", "8080", ":8080", "host", "host:", "host:99999", "::1:8080", "http://h"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
