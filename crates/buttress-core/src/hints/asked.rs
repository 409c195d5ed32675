//! What a server asks for in so many words: whether to retry, and after how long.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName};

use super::amount::{self, MILLISECOND, SECOND};
use super::moment::Base;
use super::{HintSource, lines};

static SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
static RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
static X_MS_RETRY_AFTER_MS: HeaderName = HeaderName::from_static("x-ms-retry-after-ms");
static X_AMZ_RETRY_AFTER: HeaderName = HeaderName::from_static("x-amz-retry-after");

/// What `grpc-retry-pushback-ms` says (gRFC A6). The later variant, and the later delay, is the
/// stricter one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pushback {
    After(Duration),
    Never,
}

/// `x-should-retry`. Where the lines disagree, `false` counts.
pub(super) fn should_retry(headers: &HeaderMap) -> Option<bool> {
    let words = lines(headers, &SHOULD_RETRY).flatten();
    words.filter_map(boolean).min()
}

/// `grpc-retry-pushback-ms`. Of several lines the strictest counts.
pub(super) fn pushback(headers: &HeaderMap) -> Option<Pushback> {
    lines(headers, &PUSHBACK)
        .map(|text| {
            let delay = text.and_then(milliseconds_i32);
            delay.map_or(Pushback::Never, Pushback::After)
        })
        .max()
}

/// The delay that the first valid one of the `retry-after` family asks for.
pub(super) fn delay(base: Base<'_>) -> Option<(Duration, HintSource)> {
    let longest = |name, read: fn(Base<'_>, &str) -> Option<Duration>, source| {
        let delays = lines(base.headers, name).flatten();
        let delay = delays.filter_map(|text| read(base, text)).max()?;
        Some((delay, source))
    };
    longest(&RETRY_AFTER_MS, milliseconds, HintSource::RetryAfterMs)
        .or_else(|| longest(&X_MS_RETRY_AFTER_MS, milliseconds, HintSource::XMsRetryAfterMs))
        .or_else(|| longest(&header::RETRY_AFTER, seconds_or_date, HintSource::RetryAfter))
        .or_else(|| longest(&X_AMZ_RETRY_AFTER, milliseconds, HintSource::XAmzRetryAfter))
}

fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    text.eq_ignore_ascii_case("false").then_some(false)
}

fn milliseconds_i32(text: &str) -> Option<Duration> {
    let milliseconds: i32 = text.parse().ok()?;
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

fn milliseconds(_: Base<'_>, text: &str) -> Option<Duration> {
    amount::decimal(text, MILLISECOND)
}

/// RFC 9110, section 10.2.3, and decimals, which servers send and mean.
fn seconds_or_date(base: Base<'_>, text: &str) -> Option<Duration> {
    amount::decimal(text, SECOND).or_else(|| base.until_http_date(text))
}
