//! The handle: what is known of the other side, for layers to share.

use std::{fmt, hash::Hash, sync::Arc};

use buttress_core::SettingError;

use super::{Rule, meter::Meter};
use crate::overload::{Clock, Keyed};

/// How busy the other side says it is, to be shared: all that is made from one handle and its
/// clones counts together.
///
/// `K` is what is judged apart, such as an upstream or a model; `()` is one judgement for all
/// calls.
pub struct Throttling<K = ()> {
    meters: Arc<Meters<K>>,
}

struct Meters<K> {
    kind: Kind<K>,
    clock: Clock,
}

enum Kind<K> {
    Off,
    One(Arc<Meter>),
    PerKey { keys: Keyed<K, Meter>, rule: Rule },
}

impl Throttling {
    /// One judgement for all calls.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        let clock = Clock::start();
        Self::of(Kind::One(Arc::new(Meter::new(rule, clock))), clock)
    }

    /// None at all: every call is sent, and nothing is counted. For a stack in which a setting says
    /// whether there is one.
    #[must_use]
    pub fn off() -> Self {
        Self::of(Kind::Off, Clock::start())
    }

    /// The share of calls that is refused now, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.share_of(&())
    }

    /// Whether it does nothing, because the other side has not been busy for a window or longer.
    #[must_use]
    pub fn is_dormant(&self) -> bool {
        match &self.meters.kind {
            Kind::One(meter) => !meter.is_awake(),
            Kind::Off | Kind::PerKey { .. } => true,
        }
    }
}

impl<K: Hash + Eq + Clone> Throttling<K> {
    /// A judgement for each key, for `max_keys` of them at most.
    ///
    /// A key is forgotten only to make room for another one, and only if it has not been busy for a
    /// window. While
    /// more keys than that are busy, calls of further ones are sent and not counted.
    ///
    /// # Errors
    ///
    /// If `max_keys` is 0.
    pub fn per_key(rule: Rule, max_keys: usize) -> Result<Self, SettingError> {
        if max_keys == 0 {
            return Err(SettingError::new("throttle.max_keys", "0; it must be at least 1"));
        }
        Ok(Self::of(Kind::PerKey { keys: Keyed::new(max_keys), rule }, Clock::start()))
    }

    /// The share of calls of this key that is refused now, from 0 to 1.
    #[must_use]
    pub fn share_of(&self, key: &K) -> f64 {
        let now = self.meters.clock.now();
        match &self.meters.kind {
            Kind::Off => 0.0,
            Kind::One(meter) => meter.share(now),
            Kind::PerKey { keys, .. } => keys.peek(key, |meter| meter.share(now)).unwrap_or(0.0),
        }
    }

    /// How many keys are known.
    #[must_use]
    pub fn keys(&self) -> usize {
        match &self.meters.kind {
            Kind::Off => 0,
            Kind::One(_) => 1,
            Kind::PerKey { keys, .. } => keys.len(),
        }
    }

    /// What judges calls of this key; `None` if nothing does, or there is no room for it.
    pub(super) fn meter(&self, key: &K) -> Option<Arc<Meter>> {
        match &self.meters.kind {
            Kind::Off => None,
            Kind::One(meter) => Some(Arc::clone(meter)),
            Kind::PerKey { keys, rule } => {
                keys.with(key, || Meter::new(*rule, self.clock()), Arc::clone)
            }
        }
    }
}

impl<K> Throttling<K> {
    fn of(kind: Kind<K>, clock: Clock) -> Self {
        Self { meters: Arc::new(Meters { kind, clock }) }
    }

    pub(super) fn clock(&self) -> Clock {
        self.meters.clock
    }
}

impl<K> Clone for Throttling<K> {
    fn clone(&self) -> Self {
        Self { meters: Arc::clone(&self.meters) }
    }
}

impl<K> fmt::Debug for Throttling<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.meters.kind {
            Kind::Off => f.write_str("Off"),
            Kind::One(meter) => meter.fmt(f),
            Kind::PerKey { keys, .. } => keys.fmt(f),
        }
    }
}
