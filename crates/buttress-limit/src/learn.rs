//! What an upstream says about its quotas, and how far it is believed.

use std::time::Duration;

use buttress_core::Hints;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::{
    answer::is_from_cache,
    clock::wall,
    cost::Unit,
    limiter::{Allowance, Lesson},
    policies,
};

/// Learns from the answers of an upstream: a 429, `Retry-After` and the vendors' headers about their
/// quotas pause a key or lower what it may. Nothing ever raises it beyond its policy.
///
/// - A 429 that says when to come back (see [`Hints`]) pauses the key for as long, at most for
///   [`max_pause`](Self::max_pause). So does a 503 or 529 with a `Retry-After`. After a pause the
///   key comes back in stages: for as long again, between 1 and 10 seconds, a quarter of the rate
///   passes, then half, then three quarters.
/// - What an upstream says is left (`x-ratelimit-remaining-requests`, `-tokens` and their relatives)
///   counts if it is less than a twentieth of its limit: some round it, and it is older than what
///   was sent meanwhile.
/// - What it says that it allows lowers the windows that count the same in the same time. In
///   `x-ratelimit-limit-requests`, `-tokens` and `anthropic-ratelimit-…-limit` that is a minute; in
///   `RateLimit-Policy` each policy has its unit and its time. Where unit or time differ from those
///   of every window, it says nothing. See below.
/// - An answer out of a cache says nothing.
///
/// # A lower limit
///
/// It counts at once and for [`limits_last`](Self::limits_last) since it was said last. Then the key
/// comes back in stages: a third of the difference, two thirds, all of it, each after the time of the
/// window, between a second and a minute. A higher limit than the one that counts says nothing until
/// that one runs out.
///
/// No limit lowers a window to less than a tenth of its amount, and one of 0 says nothing: whoever
/// allows nothing at the moment says so by a 429. So a wrong header costs nine tenths of the rate for
/// a few minutes, and never stops a key. A request that costs more than a lowered window has at once
/// passes when that is all there, and owes the rest.
///
/// Whoever waits is told at once, and by the same rules answers, [`peek`](crate::Limiter::peek) and
/// headers say what holds for the key at the moment. Of 100,000 keys at most 4096 are lowered at a
/// time, since each of those takes about a kilobyte; of fewer keys all may be.
#[derive(Clone, Copy, Debug)]
pub struct Learn {
    max_pause: Duration,
    limits_last: Duration,
}

impl Default for Learn {
    fn default() -> Self {
        Self::new()
    }
}

impl Learn {
    /// With a pause of five minutes at most, and lower limits for as long.
    #[must_use]
    pub const fn new() -> Self {
        let time = Duration::from_secs(300);
        Self { max_pause: time, limits_last: time }
    }

    /// The longest pause. Default: five minutes.
    #[must_use]
    pub const fn max_pause(mut self, time: Duration) -> Self {
        self.max_pause = time;
        self
    }

    /// How long a lower limit counts after it was last said; after no time, none does. Default: five
    /// minutes.
    #[must_use]
    pub const fn limits_last(mut self, time: Duration) -> Self {
        self.limits_last = time;
        self
    }

    pub(crate) fn lessons<B>(&self, response: &Response<B>, mut learn: impl FnMut(Lesson)) {
        let (status, headers) = (response.status(), response.headers());
        if headers.is_empty() || is_from_cache(headers) {
            return;
        }
        if is_busy(status) {
            let delay = Hints::read(status, headers, wall()).delay();
            let delay = delay.map(|delay| delay.min(self.max_pause));
            if let Some(delay) = delay.filter(|delay| !delay.is_zero()) {
                learn(Lesson::Pause(delay));
            }
        }
        for (unit, remaining, limit, per) in &COUNTS {
            let Some(limit) = number(headers, limit) else { continue };
            if let Some(per) = per {
                self.limit(*unit, limit, *per, &mut learn);
            }
            if let Some(left) = number(headers, remaining)
                && left < limit.div_ceil(20)
            {
                learn(Lesson::Remaining(*unit, left));
            }
        }
        policies::read(headers, |unit, amount, per| self.limit(unit, amount, per, &mut learn));
    }

    fn limit(&self, unit: Unit, amount: u64, per: Duration, mut learn: impl FnMut(Lesson)) {
        if amount > 0 && !self.limits_last.is_zero() {
            learn(Lesson::Limit(Allowance::new(unit, amount, per, self.limits_last)));
        }
    }
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 503 | 529)
}

const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

macro_rules! counts {
    ($($unit:ident: $remaining:literal, $limit:literal, $per:expr;)+) => {
        /// What is left of a unit, what the limit is, and the time that the limit is for.
        static COUNTS: [(Unit, HeaderName, HeaderName, Option<Duration>); [$($remaining),+].len()] = [
            $((
                Unit::$unit,
                HeaderName::from_static($remaining),
                HeaderName::from_static($limit),
                $per,
            )),+
        ];
    };
}

counts! {
    Requests: "x-ratelimit-remaining-requests", "x-ratelimit-limit-requests", MINUTE;
    Tokens: "x-ratelimit-remaining-tokens", "x-ratelimit-limit-tokens", MINUTE;
    Requests: "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-limit", MINUTE;
    Tokens: "anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-limit", MINUTE;
    InputTokens: "anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-limit", MINUTE;
    OutputTokens: "anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-limit", MINUTE;
    // For an hour at one vendor, for a day at the next.
    Requests: "x-ratelimit-remaining", "x-ratelimit-limit", None;
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let text = headers.get(name).map(HeaderValue::as_bytes)?;
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| str::from_utf8(text).ok()?.parse().ok())?
}
