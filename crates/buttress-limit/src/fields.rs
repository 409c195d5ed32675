//! `RateLimit`, `RateLimit-Policy` and the older headers that say the same.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    clock::seconds,
    policy::Policy,
    quota::Quota,
    snapshot::{Snapshot, Standing},
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
    let violated = named(snapshot).filter(|(_, standing)| standing.waits());
    let field =
        list(violated.map(|(name, standing)| (name, standing.remaining(), standing.wait())));
    put(headers, field, snapshot.policy());
}

/// All windows, and when their bursts are back. Leaves alone what is there: an upstream's own words
/// are about an upstream's own quota.
pub(crate) fn of_admission(headers: &mut HeaderMap, snapshot: &Snapshot) {
    if !are_theirs(headers) {
        let all = named(snapshot);
        let all = all.map(|(name, standing)| (name, standing.remaining(), standing.full()));
        headers.reserve(2);
        put(headers, list(all), snapshot.policy());
    }
}

/// What an admission left in the one window of a policy, as far as it is to be said.
pub(crate) struct Left {
    policy: Policy,
    remaining: u32,
    /// The seconds until the whole burst is back; 0 if it is there.
    full: u32,
}

impl Left {
    /// The same that [`of_admission`] says, in little room.
    #[inline]
    pub(crate) fn of(snapshot: Snapshot) -> Result<Self, Snapshot> {
        let (policy, standing) = snapshot.into_one()?;
        let full = u32::try_from(whole(standing.full())).unwrap_or(u32::MAX);
        Ok(Self { policy, remaining: standing.remaining(), full })
    }

    pub(crate) fn say(&self, headers: &mut HeaderMap) {
        let Self { policy, remaining, full } = self;
        if !are_theirs(headers) {
            let full = Duration::from_secs(u64::from(*full));
            let window = policy.names().iter().map(|name| (name.as_str(), *remaining, full));
            headers.reserve(2);
            put(headers, list(window), policy);
        }
    }
}

fn are_theirs(headers: &HeaderMap) -> bool {
    !headers.is_empty() && (headers.contains_key(&LIMIT) || headers.contains_key(&POLICY))
}

/// Whole seconds, of which any time at all is one.
fn whole(time: Duration) -> u64 {
    if time.is_zero() { 0 } else { seconds(time) }
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
    let reset = if standing.waits() { standing.wait() } else { standing.full() };
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
    let mut text = Vec::new();
    for (name, remaining, time) in windows {
        let (mut left, mut back) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (left, back) = (left.format(remaining), back.format(seconds(time)));
        let between = if text.is_empty() { "" } else { ", " };
        let (t, back) = if time.is_zero() { ("", "") } else { (";t=", back) };
        let parts = [between, name, ";r=", left, t, back];
        // Of one window it is as long as it gets, so that it is not copied once more.
        text.reserve_exact(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| text.extend_from_slice(part.as_bytes()));
    }
    (!text.is_empty()).then(|| HeaderValue::from_maybe_shared(Bytes::from(text)).ok())?
}

/// The value of `Retry-After`.
pub(crate) fn retry_after(after: Duration) -> Option<HeaderValue> {
    HeaderValue::from_str(itoa::Buffer::new().format(seconds(after))).ok()
}

fn put(headers: &mut HeaderMap, limit: Option<HeaderValue>, policy: &Policy) {
    if let Some(limit) = limit {
        headers.insert(&LIMIT, limit);
    }
    if let Some(policy) = policy.field() {
        headers.insert(&POLICY, policy.clone());
    }
}
