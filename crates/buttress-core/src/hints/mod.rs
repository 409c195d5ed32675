//! What a server says about when to come back, read from status, headers and trailers.
//!
//! See [`Hints`] for the headers, their order and what counts as valid.

mod amount;
mod asked;
mod moment;
mod quota;
mod source;

use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::status::StatusCode;

use self::asked::Pushback;
use self::moment::Base;
pub use self::source::HintSource;

/// What a server said about whether and when to come back.
///
/// A hint binds more than retries: a retry waits for [`delay`](Self::delay), a limiter may pause a
/// key for as long, a balancer may leave an endpoint alone. What to do is the caller's decision,
/// and so is the longest delay it is willing to obey.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use buttress_core::{HintSource, Hints};
/// use http::{HeaderMap, HeaderValue, StatusCode, header};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1.5"));
///
/// let hints = Hints::read(StatusCode::SERVICE_UNAVAILABLE, &headers, SystemTime::UNIX_EPOCH);
/// assert_eq!(hints.delay(), Some(Duration::from_millis(1500)));
/// assert_eq!(hints.source(), Some(HintSource::RetryAfter));
/// assert_eq!(hints.retry(), None); // the server did not say whether
/// ```
///
/// # Order
///
/// The first header that is present and valid decides; an invalid one counts as absent.
///
/// | | header | value | says |
/// |---|---|---|---|
/// | 1 | `x-should-retry` | `true`, `false` | whether |
/// | 2 | `grpc-retry-pushback-ms` | signed 32-bit integer | when, or by a bad value: never |
/// | 3 | `retry-after-ms`, then `x-ms-retry-after-ms` | milliseconds | when |
/// | 4 | `retry-after` (RFC 9110, section 10.2.3) | seconds or an HTTP-date | when |
/// | 5 | `x-amz-retry-after` | milliseconds | when |
/// | 6 | `x-ratelimit-reset` and its relatives, `ratelimit` | see below | when |
///
/// Rows 1 to 5 are read whatever the status is. On a success or a redirection `retry-after` speaks
/// of polling or of following, which is no reason to hold back other calls.
///
/// Row 6 is read only when the status says that a quota may be spent: 429, 503, 529, and 403, which
/// GitHub sends for its primary limit. A header of a rate-limit family whose name has `remaining`
/// in it (`x-ratelimit-remaining`, `x-ratelimit-remaining-tokens`, `x-rate-limit-remaining`,
/// `anthropic-ratelimit-input-tokens-remaining`, `ratelimit-remaining`) and whose value is zero is
/// paired with the header that has `reset` in that place. The reset is a number (seconds from now,
/// seconds since 1970 from 10⁹ on, or milliseconds since 1970 from 10¹¹ on), a duration such as
/// `6m0s`, `7.66s` or `120ms`, an RFC 3339 timestamp or an HTTP-date. `RateLimit` is read as the
/// httpapi draft has it (`"name";r=0;t=30`) and as its earlier drafts had it
/// (`limit=100, remaining=0, reset=30`). Of several spent quotas the one that resets last counts.
///
/// # Values
///
/// - A number is digits, and maybe a point and digits. A sign, an exponent, `NaN` and `inf` are
///   invalid; spaces and tabs around a value are not part of it.
/// - A delay is never shorter than asked: fractions round up to the nanosecond, and where one
///   header comes in several lines, the longest valid one counts.
/// - A delay that does not fit is [`Duration::MAX`]: compare it with your longest before adding it
///   to a clock.
/// - A date is measured from the response's own `Date`, so that a wrong local clock does no harm,
///   and from `now` when there is none. A date in the past is a delay of zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hints {
    should_retry: Option<bool>,
    pushback: Option<Pushback>,
    asked: Option<(Duration, HintSource)>,
}

impl Hints {
    /// Reads the hints in a response's head.
    ///
    /// `now` is the wall-clock time at which the response arrived. Costs a few look-ups and no
    /// allocation when the response has none of these headers.
    #[must_use]
    pub fn read(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        if headers.is_empty() {
            return Self::default();
        }
        let base = Base { headers, now };
        Self {
            should_retry: asked::should_retry(headers),
            pushback: asked::pushback(headers),
            asked: asked::delay(base).or_else(|| {
                let spent = quota::may_be_spent(status).then(|| quota::delay(base));
                spent.flatten()
            }),
        }
    }

    /// Adds what the trailers say, once the body has ended.
    ///
    /// Only `grpc-retry-pushback-ms` is read there: a sender may not put the others in a trailer
    /// section (RFC 9110, section 6.5.1). If the head had one too, the stricter of both counts.
    pub fn read_trailers(&mut self, trailers: &HeaderMap) {
        self.pushback = self.pushback.max(asked::pushback(trailers));
    }

    /// Whether to send the request again, if the server said so in as many words.
    ///
    /// `Some(false)` from `x-should-retry: false`, or from a pushback that is negative or
    /// unreadable (gRFC A6). `Some(true)` only from `x-should-retry: true`: a pushback of so many
    /// milliseconds says when, and leaves it to the status whether.
    #[must_use]
    pub fn retry(&self) -> Option<bool> {
        let never = self.pushback == Some(Pushback::Never);
        self.should_retry.or(never.then_some(false))
    }

    /// How long the server asked to be left alone, from now on.
    ///
    /// `Some` also when [`retry`](Self::retry) is `Some(false)`: other calls may still heed it.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        self.decided().map(|(delay, _)| delay)
    }

    /// The header that decided the delay; without a delay, the one that said whether to retry.
    #[must_use]
    pub fn source(&self) -> Option<HintSource> {
        if let Some((_, source)) = self.decided() {
            return Some(source);
        }
        self.should_retry
            .map(|_| HintSource::ShouldRetry)
            .or_else(|| self.pushback.map(|_| HintSource::Pushback))
    }

    /// Whether the server sent a gRPC pushback, which also starts the backoff anew (gRFC A6).
    #[must_use]
    pub fn pushback(&self) -> bool {
        self.pushback.is_some()
    }

    fn decided(&self) -> Option<(Duration, HintSource)> {
        match self.pushback {
            Some(Pushback::After(delay)) => Some((delay, HintSource::Pushback)),
            Some(Pushback::Never) | None => self.asked,
        }
    }
}

/// The values of one header as text without the white space around it, line by line.
fn lines<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
    headers.get_all(name).iter().map(text)
}

/// `None` where a value is not UTF-8. (Not `to_str`: a Go duration may say `µs`.)
fn text(value: &HeaderValue) -> Option<&str> {
    let text = str::from_utf8(value.as_bytes()).ok()?;
    Some(text.trim_matches([' ', '\t']))
}
