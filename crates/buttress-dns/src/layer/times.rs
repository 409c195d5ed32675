//! The settings that are times.

use std::{ops::RangeInclusive, time::Duration};

use buttress_core::SettingError;

use super::DnsLayer;

impl<O> DnsLayer<O> {
    /// The bounds between which the TTL of addresses counts. Default: 1 second to 5 minutes.
    ///
    /// # Errors
    ///
    /// If the lower one is less than a second, which is the least that can be counted in, or if it
    /// is above the upper one.
    pub fn ttl(mut self, bounds: RangeInclusive<Duration>) -> Result<Self, SettingError> {
        self.rules.ttl = range("dns.ttl", &bounds)?;
        Ok(self)
    }

    /// How long addresses hold whose resolver tells no TTL. Default: 30 seconds. The bounds of
    /// [`ttl`](Self::ttl) hold for it as well.
    pub const fn default_ttl(mut self, ttl: Duration) -> Self {
        self.rules.default_ttl = ttl;
        self
    }

    /// The bounds between which the TTL of "there is none" counts. Default: 1 to 30 seconds.
    ///
    /// # Errors
    ///
    /// As for [`ttl`](Self::ttl).
    pub fn negative_ttl(mut self, bounds: RangeInclusive<Duration>) -> Result<Self, SettingError> {
        self.rules.negative = range("dns.negative_ttl", &bounds)?;
        Ok(self)
    }

    /// How long it holds that there is none when the answer tells no TTL. Default: 5 seconds.
    pub const fn default_negative_ttl(mut self, ttl: Duration) -> Self {
        self.rules.default_negative = ttl;
        self
    }

    /// The share of its TTL after which an answer is asked for again, if it was looked up since the
    /// last time. Default: 0.8, less up to a tenth of that by chance. At 1, nothing is asked for
    /// ahead.
    ///
    /// # Errors
    ///
    /// If it is not between 0.1 and 1.
    pub fn refresh_ahead(mut self, share: f64) -> Result<Self, SettingError> {
        if !(0.1..=1.0).contains(&share) {
            let reason = format!("{share}, not between 0.1 and 1");
            return Err(SettingError::new("dns.refresh_ahead", reason));
        }
        self.rules.refresh = share;
        Ok(self)
    }

    /// For how long after their end addresses may be served when nothing better can be had.
    /// Default: 1 hour. At zero, never.
    pub const fn max_stale(mut self, time: Duration) -> Self {
        self.rules.max_stale = time;
        self
    }

    /// For how long after their end addresses are served at once, while they are asked for again.
    /// Older ones are served at once only if the resolver has failed already, and else once it had
    /// its [`patience`](Self::patience). Default: 1 minute.
    pub const fn stale_at_once(mut self, time: Duration) -> Self {
        self.rules.stale_at_once = time;
        self
    }

    /// How long a caller waits for the resolver while there are old addresses. Default: 300 ms.
    pub const fn patience(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    /// Takes known addresses for better than the word that the name does not exist or has none any
    /// more, as long as they may be [stale](Self::max_stale). Default: it counts.
    pub const fn prefer_positive(mut self) -> Self {
        self.rules.prefer_positive = true;
        self
    }

    /// How long a family of a name is left alone after its lookup failed: from the first bound,
    /// doubled with each failure in a row, up to the second. Default: 1 to 30 seconds.
    ///
    /// # Errors
    ///
    /// As for [`ttl`](Self::ttl).
    pub fn failure_backoff(
        mut self,
        bounds: RangeInclusive<Duration>,
    ) -> Result<Self, SettingError> {
        self.rules.backoff = range("dns.failure_backoff", &bounds)?;
        Ok(self)
    }

    /// How long a caller waits at the most, whatever the search list. Default: 5 seconds.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn budget(mut self, time: Duration) -> Result<Self, SettingError> {
        self.budget = above_zero("dns.budget", time)?;
        Ok(self)
    }

    /// How long the resolver has for an answer, with or without callers. Default: 5 seconds.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn lookup_timeout(mut self, time: Duration) -> Result<Self, SettingError> {
        self.lookup_timeout = above_zero("dns.lookup_timeout", time)?;
        Ok(self)
    }

    /// How long the addresses of one family wait for the other one (RFC 8305 section 3). What comes
    /// later is there for the next lookup. Default: 50 ms.
    pub const fn resolution_delay(mut self, time: Duration) -> Self {
        self.resolution_delay = time;
        self
    }
}

fn range(
    setting: &'static str,
    bounds: &RangeInclusive<Duration>,
) -> Result<(Duration, Duration), SettingError> {
    let (least, most) = (*bounds.start(), *bounds.end());
    if least < Duration::from_secs(1) || most < least {
        let reason = format!("{least:?} to {most:?}; it begins at 1s at the least, and ends later");
        return Err(SettingError::new(setting, reason));
    }
    Ok((least, most))
}

fn above_zero(setting: &'static str, time: Duration) -> Result<Duration, SettingError> {
    if time.is_zero() {
        return Err(SettingError::new(setting, "zero, so that nothing could ever be found"));
    }
    Ok(time)
}
