//! A quota: so much of a unit in so much time.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use buttress_core::SettingError;

use crate::{
    clock::nanos,
    cost::Unit,
    meter::{Every, LONGEST, Meter},
};

/// The longest lateness of a waiter that does not cost it its place in the schedule; for short
/// windows it is half a percent of them.
const SLACK: u64 = 5_000_000;

/// So much of a unit in so much time, in one window.
///
/// By default a key that was idle may spend the whole amount at once and what comes back meanwhile
/// as well, so the first window can see up to twice the amount. In any time `t` no more passes than
/// the [burst](Self::burst) and what comes back in `t`. With [`strict`](Self::strict) no window of
/// that length, wherever it begins, sees more than the amount: that is what an upstream counts by.
///
/// ```
/// use buttress_limit::{Quota, Unit};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), buttress_limit::SettingError> {
/// let per_client = Quota::per_minute(60)?.burst(10)?;
/// let upstream = Quota::of(Unit::Tokens, 200_000, Duration::from_secs(60))?.strict()?;
/// assert_eq!(upstream.name(), "tokens-per-minute");
///
/// let error = Quota::per_minute(0).unwrap_err();
/// assert_eq!(error.to_string(), "`quota` is 0 in 60s; it must allow something");
/// # drop((per_client, upstream));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    name: Arc<str>,
    unit: Unit,
    amount: u32,
    per: u64,
    burst: Option<u32>,
    strict: bool,
    /// The least time in which one unit comes back, if that is longer than amount and time have it.
    slowest: u64,
}

impl Quota {
    /// `amount` of `unit` in `per`.
    ///
    /// # Errors
    ///
    /// If either is zero or too large, or if the rate cannot be kept to a thousandth: time is
    /// counted in nanoseconds.
    pub fn of(unit: Unit, amount: u64, per: Duration) -> Result<Self, SettingError> {
        let wrong = |why: &str| SettingError::new("quota", format!("{amount} in {per:?}; {why}"));
        if amount == 0 {
            return Err(wrong("it must allow something"));
        }
        let short = u32::try_from(amount).ok().filter(|amount| *amount < u32::MAX);
        let Some(short) = short else { return Err(wrong("at most 4294967294 can be counted")) };
        if per.is_zero() {
            return Err(wrong("the time must be longer than nothing"));
        }
        let length = nanos(per);
        if length > LONGEST / 4 {
            return Err(wrong("the time must be shorter than nine years"));
        }
        let name = format!("{}{}", prefix(unit), period(per)).into();
        let (burst, strict, slowest) = (None, false, 0);
        let quota = Self { name, unit, amount: short, per: length, burst, strict, slowest };
        quota.check()
    }

    /// So many requests in a second.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn per_second(requests: u64) -> Result<Self, SettingError> {
        Self::of(Unit::Requests, requests, Duration::from_secs(1))
    }

    /// So many requests in a minute.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn per_minute(requests: u64) -> Result<Self, SettingError> {
        Self::of(Unit::Requests, requests, Duration::from_secs(60))
    }

    /// So many requests in an hour.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn per_hour(requests: u64) -> Result<Self, SettingError> {
        Self::of(Unit::Requests, requests, Duration::from_secs(3_600))
    }

    /// So many requests in 24 hours.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn per_day(requests: u64) -> Result<Self, SettingError> {
        Self::of(Unit::Requests, requests, Duration::from_secs(86_400))
    }

    /// So many tokens in a minute, those of questions and answers together.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn tokens_per_minute(tokens: u64) -> Result<Self, SettingError> {
        Self::of(Unit::Tokens, tokens, Duration::from_secs(60))
    }

    /// How much may be spent at once, which is also the most that one request may cost.
    ///
    /// Default: the amount; of a [strict](Self::strict) quota a tenth of it for requests, and half
    /// of it for anything else.
    ///
    /// # Errors
    ///
    /// If it is 0, takes longer than 36 years to come back, or is more than the amount of a strict
    /// quota.
    pub fn burst(mut self, burst: u64) -> Result<Self, SettingError> {
        let wrong = |why: &str| SettingError::new("quota.burst", format!("{burst}; {why}"));
        if burst == 0 {
            return Err(wrong("it must allow something"));
        }
        let short = u32::try_from(burst).ok().filter(|burst| *burst < u32::MAX);
        self.burst = Some(short.ok_or_else(|| wrong("at most 4294967294 can be counted"))?);
        self.check()
    }

    /// Lets no more than the amount pass in any window, wherever it begins.
    ///
    /// What that costs is rate: after a burst the rest comes back within the same window, so of
    /// `amount` in a window `amount - burst + 1` is the rate that can be kept up.
    ///
    /// # Errors
    ///
    /// If the burst is more than the amount.
    pub fn strict(mut self) -> Result<Self, SettingError> {
        self.strict = true;
        self.check()
    }

    /// What the window is called in `RateLimit-Policy`, in problem details and in what observers are
    /// told. Default: from unit and time, such as `per-minute` or `tokens-per-minute`.
    ///
    /// # Errors
    ///
    /// If it is empty, or longer than 64 characters, or not printable ASCII.
    pub fn named(mut self, name: &str) -> Result<Self, SettingError> {
        let printable = name.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if name.is_empty() || name.len() > 64 || !printable {
            let reason = format!("{name:?}; it must be 1 to 64 characters of printable ASCII");
            return Err(SettingError::new("quota.name", reason));
        }
        self.name = name.into();
        Ok(self)
    }

    /// What the window is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it counts.
    #[must_use]
    pub const fn unit(&self) -> Unit {
        self.unit
    }

    /// How much of it a window allows.
    #[must_use]
    pub const fn amount(&self) -> u32 {
        self.amount
    }

    /// How long the window is.
    #[must_use]
    pub const fn per(&self) -> Duration {
        Duration::from_nanos(self.per)
    }

    /// The burst as set, or its default.
    #[must_use]
    pub fn max_burst(&self) -> u32 {
        let default = match (self.strict, self.unit) {
            (false, _) => self.amount,
            (true, Unit::Requests) => self.amount / 10,
            (true, _) => self.amount / 2,
        };
        self.burst.unwrap_or(default).max(1)
    }

    /// The same with a smaller amount, for a while; `None` if it cannot be had.
    ///
    /// A key goes to and fro between the two with as large a part of its burst spent as it has. So
    /// that no window sees more of the larger amount thereby, the burst of the smaller one is not
    /// larger and takes no less time to come back.
    pub(crate) fn lowered(&self, amount: u32) -> Option<Self> {
        if amount >= self.amount {
            return Some(self.clone());
        }
        let (every, burst) = self.terms().ok()?;
        let (burst, strict) = (u64::from(burst.get()), u64::from(self.strict));
        let room = u128::from(every.get()) * u128::from(burst);
        let part = burst * (u64::from(amount) + strict);
        let most = if self.strict { amount } else { u32::MAX - 1 };
        let part = u32::try_from(part.div_ceil(u64::from(self.amount) + strict)).ok()?;
        let part = part.min(most).max(1);
        let slowest = u64::try_from(room.div_ceil(u128::from(part))).ok()?;
        let lowered = Self { amount, burst: Some(part), slowest, ..self.clone() };
        lowered.check().ok()
    }

    pub(crate) fn meter(&self) -> Result<Meter, SettingError> {
        let (every, burst) = self.terms()?;
        Ok(Meter::new(self.unit, every, burst, self.slack()))
    }

    fn slack(&self) -> u64 {
        SLACK.min(self.per / 200)
    }

    fn check(self) -> Result<Self, SettingError> {
        self.terms()?;
        Ok(self)
    }

    /// The time in which one unit comes back, rounded up, and the burst.
    fn terms(&self) -> Result<(Every, NonZeroU32), SettingError> {
        let burst = self.max_burst();
        let wrong = |setting, why: &str| {
            let (amount, per) = (self.amount, self.per());
            Err(SettingError::new(setting, format!("{burst} of {amount} in {per:?}; {why}")))
        };
        // Within a strict window comes a burst, and then one unit after the other. A waiter that is
        // woken late moves what it takes into a later window, which has to have room for it.
        let (length, units) = match self.strict {
            true if burst > self.amount => {
                return wrong("quota.burst", "a strict quota cannot have more at once");
            }
            true => (self.per + self.slack(), u64::from(self.amount - burst) + 1),
            false => (self.per, u64::from(self.amount)),
        };
        let every = length.div_ceil(units);
        let rounding = u128::from(every) * u128::from(units) - u128::from(length);
        if rounding * 1_000 > u128::from(length) {
            return wrong("quota", "so fast that nanoseconds cannot tell it to a thousandth");
        }
        let every = every.max(self.slowest);
        if u128::from(every) * u128::from(burst) > u128::from(LONGEST) {
            return wrong("quota.burst", "it takes longer than 36 years to come back");
        }
        match (Every::new(every), NonZeroU32::new(burst)) {
            (Some(every), Some(burst)) => Ok((every, burst)),
            _ => wrong("quota", "it must allow something"),
        }
    }
}

const fn prefix(unit: Unit) -> &'static str {
    match unit {
        Unit::Requests => "per-",
        Unit::Tokens => "tokens-per-",
        Unit::InputTokens => "input-tokens-per-",
        Unit::OutputTokens => "output-tokens-per-",
        Unit::Bytes => "bytes-per-",
        Unit::Custom1 => "custom-1-per-",
        Unit::Custom2 => "custom-2-per-",
        Unit::Custom3 => "custom-3-per-",
    }
}

fn period(per: Duration) -> String {
    match (per.as_secs(), per.subsec_nanos()) {
        (1, 0) => "second".into(),
        (60, 0) => "minute".into(),
        (3_600, 0) => "hour".into(),
        (86_400, 0) => "day".into(),
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{}ns", per.as_nanos()),
    }
}
