//! What an upstream says about its quotas, and how far it is believed.

use std::time::Duration;

use buttress_core::Hints;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::{answer::is_from_cache, clock::wall, cost::Unit, limiter::Lesson};

/// Learns from the answers of an upstream: a 429, `Retry-After` and the vendors' headers about their
/// quotas pause a key or lower what is left of it. Nothing ever raises it.
///
/// - A 429 that says when to come back (see [`Hints`]) pauses the key for as long, at most for
///   [`max_pause`](Self::max_pause). So does a 503 or 529 with a `Retry-After`. After a pause the
///   key comes back in stages: for as long again, between 1 and 10 seconds, a quarter of the rate
///   passes, then half, then three quarters.
/// - What an upstream says is left (`x-ratelimit-remaining-requests`, `-tokens` and their relatives)
///   counts if it is less than a twentieth of its limit: some round it, and it is older than what
///   was sent meanwhile.
/// - An answer out of a cache says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Learn {
    max_pause: Duration,
}

impl Default for Learn {
    fn default() -> Self {
        Self::new()
    }
}

impl Learn {
    /// With a pause of five minutes at most.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_pause: Duration::from_secs(300) }
    }

    /// The longest pause. Default: five minutes.
    #[must_use]
    pub const fn max_pause(mut self, time: Duration) -> Self {
        self.max_pause = time;
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
        for (unit, remaining, limit) in &COUNTS {
            let (Some(left), Some(limit)) = (number(headers, remaining), number(headers, limit))
            else {
                continue;
            };
            if left < limit.div_ceil(20) {
                learn(Lesson::Remaining(*unit, left));
            }
        }
    }
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 503 | 529)
}

macro_rules! counts {
    ($($unit:ident: $remaining:literal, $limit:literal;)+) => {
        /// What is left of a unit, and what the limit is.
        static COUNTS: [(Unit, HeaderName, HeaderName); [$($remaining),+].len()] = [
            $((Unit::$unit, HeaderName::from_static($remaining), HeaderName::from_static($limit))),+
        ];
    };
}

counts! {
    Requests: "x-ratelimit-remaining-requests", "x-ratelimit-limit-requests";
    Tokens: "x-ratelimit-remaining-tokens", "x-ratelimit-limit-tokens";
    Requests: "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-limit";
    Tokens: "anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-limit";
    InputTokens: "anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-limit";
    OutputTokens: "anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-limit";
    Requests: "x-ratelimit-remaining", "x-ratelimit-limit";
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let text = headers.get(name).map(HeaderValue::as_bytes)?;
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| str::from_utf8(text).ok()?.parse().ok())?
}
