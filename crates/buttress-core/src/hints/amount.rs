//! Amounts of time as text: plain decimals of a unit, and runs such as `1h2m3.5s`.

use std::time::Duration;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

/// Digits of a fraction that are counted exactly; with an hour as the unit they fit into a `u128`.
const EXACT_DIGITS: usize = 18;

/// Reads `12` or `12.5` as so many `unit`s, which are an hour at most.
///
/// Rounds up to the nanosecond and saturates at [`Duration::MAX`]. Neither `f64` (which rounds both
/// ways) nor a sign, an exponent, `inf` or `NaN` has a place here.
pub(super) fn decimal(text: &str, unit: Duration) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let unit = unit.as_nanos();
    let whole = number(whole).saturating_mul(unit);
    Some(from_nanos(whole.saturating_add(part(fraction, unit))))
}

/// Reads a run of numbers with units, as Go prints a duration: `1s`, `6m0s`, `7.66s`, `512µs`.
///
/// jiff's duration parsers know this form as well, but they refuse what does not fit and what is
/// finer than a nanosecond; here the one must stay long and the other rounds up.
pub(super) fn with_units(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, tail) = split(rest, |c| !c.is_ascii_digit() && c != '.');
        let (name, tail) = split(tail, |c| c.is_ascii_digit());
        sum = sum.saturating_add(decimal(number, unit(name)?)?);
        rest = tail;
    }
    Some(sum)
}

fn unit(name: &str) -> Option<Duration> {
    Some(match name {
        "h" => Duration::from_secs(3600),
        "m" => Duration::from_secs(60),
        "s" => SECOND,
        "ms" => MILLISECOND,
        // The micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => Duration::from_micros(1),
        "ns" => Duration::from_nanos(1),
        _ => return None,
    })
}

fn split(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn number(digits: &str) -> u128 {
    digits.bytes().fold(0, |number: u128, digit| {
        let digit = u128::from(digit.wrapping_sub(b'0'));
        number.saturating_mul(10).saturating_add(digit)
    })
}

/// `0.fraction` of `unit` nanoseconds, rounded up.
fn part(fraction: &str, unit: u128) -> u128 {
    let (exact, rest) = fraction.split_at(fraction.len().min(EXACT_DIGITS));
    let scale = exact.bytes().fold(1, |scale: u128, _| scale * 10);
    let above = u128::from(rest.bytes().any(|digit| digit != b'0'));
    ((number(exact) + above) * unit).div_ceil(scale)
}

fn from_nanos(nanos: u128) -> Duration {
    const PER_SECOND: u128 = 1_000_000_000;
    match (u64::try_from(nanos / PER_SECOND), u32::try_from(nanos % PER_SECOND)) {
        (Ok(secs), Ok(nanos)) => Duration::new(secs, nanos),
        _ => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_digits_and_maybe_a_point_and_digits() {
        for (text, nanos) in [
            ("0", 0),
            ("3", 3_000_000_000),
            ("007", 7_000_000_000),
            ("1.5", 1_500_000_000),
            ("0.000000001", 1),
            ("00.250", 250_000_000),
        ] {
            assert_eq!(decimal(text, SECOND), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for text in [
            "", ".", "1.", ".5", "-5", "+3", "1e400", "1E3", "NaN", "nan", "inf", "infinity",
            "0x10", "1_000", "1,5", "1.2.3", " 3", "3 ", "٣", "1.5s",
        ] {
            assert_eq!(decimal(text, SECOND), None, "{text:?}");
        }
    }

    #[test]
    fn a_fraction_finer_than_a_nanosecond_rounds_up() {
        assert_eq!(decimal("0.0000000001", SECOND), Some(Duration::from_nanos(1)));
        assert_eq!(decimal("1.0000009", MILLISECOND), Some(Duration::from_nanos(1_000_001)));
        let tiny = format!("2.{}1", "0".repeat(500));
        assert_eq!(decimal(&tiny, SECOND), Some(Duration::new(2, 1)));
        let zeros = format!("2.{}", "0".repeat(500));
        assert_eq!(decimal(&zeros, SECOND), Some(Duration::from_secs(2)));
        let nines = format!("2.{}", "9".repeat(500));
        assert_eq!(decimal(&nines, SECOND), Some(Duration::from_secs(3)));
    }

    #[test]
    fn what_does_not_fit_is_the_longest_duration() {
        let most = u64::MAX.to_string();
        assert_eq!(decimal(&most, SECOND), Some(Duration::from_secs(u64::MAX)));
        for text in ["18446744073709551616", &"9".repeat(40), &"9".repeat(5000)] {
            assert_eq!(decimal(text, SECOND), Some(Duration::MAX), "{text}");
        }
        let nearly = format!("{most}.{}", "9".repeat(40));
        assert_eq!(decimal(&nearly, SECOND), Some(Duration::MAX));
        let hours = format!("{most}h1s");
        assert_eq!(with_units(&hours), Some(Duration::MAX));
    }

    #[test]
    fn a_run_of_units_is_their_sum() {
        for (text, nanos) in [
            ("1s", 1_000_000_000),
            ("0s", 0),
            ("6m0s", 360_000_000_000),
            ("120ms", 120_000_000),
            ("7.66s", 7_660_000_000),
            ("2m59.56s", 179_560_000_000),
            ("1h2m3s", 3_723_000_000_000),
            ("4h17m", 15_420_000_000_000),
            ("512\u{b5}s", 512_000),
            ("512\u{3bc}s", 512_000),
            ("512us", 512_000),
            ("1.5ns", 2),
        ] {
            assert_eq!(with_units(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for text in
            ["", "s", "1", "1x", "1s2", "-1s", "+1s", "1 s", "1m s", "1.s", "1e3s", "infs", "µs"]
        {
            assert_eq!(with_units(text), None, "{text:?}");
        }
    }
}
