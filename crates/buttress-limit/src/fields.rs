//! `RateLimit`, `RateLimit-Policy` and the older headers that say the same.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::{
    clock::seconds,
    limiter::{Snapshot, Standing},
    quota::Quota,
};

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static LEGACY: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

/// The windows that deny, and when they no longer do. `Retry-After` is not earlier than any of them.
pub(crate) fn of_denial(headers: &mut HeaderMap, snapshot: &Snapshot) {
    let violated = named(snapshot).filter(|(_, standing)| !standing.wait().is_zero());
    let field =
        list(violated.map(|(name, standing)| (name, standing.remaining(), standing.wait())));
    put(headers, field, snapshot);
}

/// All windows, and when their bursts are back. Leaves alone what is there: an upstream's own words
/// are about an upstream's own quota.
pub(crate) fn of_admission(headers: &mut HeaderMap, snapshot: &Snapshot) {
    let theirs = || headers.contains_key(&LIMIT) || headers.contains_key(&POLICY);
    if !headers.is_empty() && theirs() {
        return;
    }
    let all = named(snapshot);
    let field = list(all.map(|(name, standing)| (name, standing.remaining(), standing.full())));
    headers.reserve(2);
    put(headers, field, snapshot);
}

/// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, of the window that has the least left.
pub(crate) fn legacy(headers: &mut HeaderMap, snapshot: &Snapshot) {
    if LEGACY.iter().any(|name| headers.contains_key(name)) {
        return;
    }
    let share = |(quota, standing): &(&Quota, &Standing)| {
        u64::from(standing.remaining()) * 1_000_000 / u64::from(quota.max_burst())
    };
    let Some((quota, standing)) = windows(snapshot).min_by_key(share) else { return };
    let reset = if standing.wait().is_zero() { standing.full() } else { standing.wait() };
    let values = [u64::from(quota.amount()), u64::from(standing.remaining()), seconds(reset)];
    for (name, value) in LEGACY.iter().zip(values) {
        headers.insert(name, HeaderValue::from(value));
    }
}

fn named(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &Standing)> {
    snapshot.policy().names().iter().map(String::as_str).zip(snapshot.standings())
}

fn windows(snapshot: &Snapshot) -> impl Iterator<Item = (&Quota, &Standing)> {
    snapshot.policy().quotas().iter().zip(snapshot.standings())
}

/// `"per-minute";r=5;t=30`. The numbers are integers as structured fields have them.
fn list<'a>(windows: impl Iterator<Item = (&'a str, u32, Duration)>) -> Option<HeaderValue> {
    let (mut text, mut digits) = (Text::new(), itoa::Buffer::new());
    for (name, remaining, time) in windows {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b";r=");
        text.extend_from_slice(digits.format(remaining).as_bytes());
        if !time.is_zero() {
            text.extend_from_slice(b";t=");
            text.extend_from_slice(digits.format(seconds(time)).as_bytes());
        }
    }
    (!text.is_empty()).then(|| HeaderValue::from_bytes(&text).ok())?
}

/// A value that is written before it is known how long it gets.
type Text = SmallVec<[u8; 96]>;

/// The value of `Retry-After`.
pub(crate) fn retry_after(after: Duration) -> Option<HeaderValue> {
    HeaderValue::from_str(itoa::Buffer::new().format(seconds(after))).ok()
}

fn put(headers: &mut HeaderMap, limit: Option<HeaderValue>, snapshot: &Snapshot) {
    if let Some(limit) = limit {
        headers.insert(&LIMIT, limit);
    }
    if let Some(policy) = snapshot.policy().field() {
        headers.insert(&POLICY, policy.clone());
    }
}
