//! What a stored response is worth to a request (RFC 9111 section 4).

use super::{Ask, Delta, Flags, Policy, Profile};
use crate::{Time, time::millis};

/// What to do with a request, given a stored response that matches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Serve it.
    Fresh,
    /// Serve it though it is stale; the client said that this is fine.
    Stale,
    /// Serve it though it is stale, and revalidate it meanwhile.
    StaleWhileRevalidate,
    /// Ask the origin first. If that fails, what may be served instead is up to the staleness.
    Revalidate(Staleness),
}

/// How a stored response may stand in for an answer that did not come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Staleness {
    /// Instead of a 500, 502, 503 or 504.
    pub on_error: bool,
    /// Instead of no answer at all.
    pub on_disconnect: bool,
}

/// Says what a stored response is worth to a request at `now`.
#[must_use]
pub fn decide(profile: &Profile, policy: &Policy, ask: &Ask, now: Time) -> Decision {
    let confirmed_only = ask.end_to_end || policy.flags.has(Flags::NO_CACHE);
    let age = policy.age_millis(now);
    if !confirmed_only && policy.is_fresh(now) && suits(policy, ask, age) {
        return Decision::Fresh;
    }
    let never_stale = confirmed_only || policy.flags.has(Flags::MUST_REVALIDATE);
    if never_stale {
        return Decision::Revalidate(Staleness::default());
    }
    let beyond = policy.beyond(now);
    let is_stale = !policy.is_fresh(now);
    if is_stale && !policy.flags.has(Flags::PURGED) && takes_stale(ask, age, beyond) {
        return Decision::Stale;
    }
    let purged = policy.flags.has(Flags::PURGED) && beyond == 0;
    let in_window = beyond < policy.while_revalidate || purged;
    if is_stale && in_window && asks_nothing(ask) {
        return Decision::StaleWhileRevalidate;
    }
    Decision::Revalidate(staleness(profile, policy, ask, beyond, is_stale))
}

/// Whether a fresh response is fresh enough for the request.
fn suits(policy: &Policy, ask: &Ask, age: u64) -> bool {
    let young = match ask.directives.max_age {
        Delta::Absent => true,
        Delta::Invalid | Delta::Secs(0) => false,
        Delta::Secs(most) => age <= most * 1000 || takes_stale(ask, age, 0),
    };
    let lasting = match ask.directives.min_fresh {
        Delta::Absent => true,
        Delta::Invalid => false,
        Delta::Secs(least) => policy.lifetime.saturating_sub(age) >= least * 1000,
    };
    young && lasting
}

/// Whether the request takes a response that is stale for so long.
fn takes_stale(ask: &Ask, age: u64, beyond: u64) -> bool {
    let young = match ask.directives.max_age {
        Delta::Absent => true,
        Delta::Invalid => false,
        Delta::Secs(most) => age <= most * 1000,
    };
    let stale = ask.directives.any_stale
        || ask.directives.max_stale.secs().is_some_and(|most| beyond <= most * 1000);
    young && stale && ask.directives.min_fresh == Delta::Absent
}

/// Whether the request leaves the freshness to the cache.
fn asks_nothing(ask: &Ask) -> bool {
    ask.directives.max_age == Delta::Absent && ask.directives.min_fresh == Delta::Absent
}

fn staleness(
    profile: &Profile,
    policy: &Policy,
    ask: &Ask,
    beyond: u64,
    is_stale: bool,
) -> Staleness {
    // A fresh response that the request found too old stays what it is; the client asked for better.
    if !is_stale || !asks_nothing(ask) {
        return Staleness::default();
    }
    let asked = ask.directives.stale_if_error.secs().map(|secs| secs * 1000);
    let window = policy.if_error.max(asked);
    let within = window.is_some_and(|window| beyond <= window);
    let on_disconnect = within || (window.is_none() && beyond < millis(profile.on_disconnect));
    Staleness { on_error: within, on_disconnect }
}
