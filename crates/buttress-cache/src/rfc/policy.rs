//! What a response says about its own reuse, in numbers.

use std::time::Duration;

use crate::{Time, time::millis};

/// What may be done with a stored response, read off its head once, when it was stored.
///
/// It is a handful of numbers, so that a hit parses nothing. A store that writes entries elsewhere
/// keeps them as [`to_words`](Self::to_words).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For how long it is fresh, counted in age; in milliseconds.
    pub(crate) lifetime: u64,
    /// How long before its own date it expired, in seconds.
    pub(crate) overdue: u32,
    /// Its age when it arrived (RFC 9111 section 4.2.3, `corrected_initial_age`); in milliseconds.
    pub(crate) initial_age: u64,
    /// When it arrived.
    pub(crate) response_time: Time,
    /// How long after its freshness it may be served while it is revalidated, in milliseconds.
    pub(crate) while_revalidate: u64,
    /// How long after its freshness it may be served instead of an error, in milliseconds, if it
    /// says.
    pub(crate) if_error: Option<u64>,
    pub(crate) flags: Flags,
}

/// What is either so or not so of a stored response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// No reuse without successful validation (`no-cache`).
    pub const NO_CACHE: Self = Self(1);
    /// No reuse once stale (`must-revalidate`; for a shared cache `proxy-revalidate` and `s-maxage`).
    pub const MUST_REVALIDATE: Self = Self(1 << 1);
    /// Its freshness was guessed from `Last-Modified`.
    pub const HEURISTIC: Self = Self(1 << 2);
    /// It has an `ETag` or a `Last-Modified`.
    pub const VALIDATOR: Self = Self(1 << 3);
    /// It was purged softly: stale from now on, whatever it says.
    pub const PURGED: Self = Self(1 << 4);
    /// It answered a request other than GET.
    pub const POSTED: Self = Self(1 << 5);
    /// Only its head is known, or a part of its body.
    pub const PARTIAL: Self = Self(1 << 6);
    /// It answered a HEAD request, and answers no other.
    pub const HEAD: Self = Self(1 << 7);
    /// Its `Last-Modified` does not stand for its very bytes, though its `Date` may look like it: that
    /// is of a later confirmation.
    pub const WEAK_DATE: Self = Self(1 << 8);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is so of the one and not of the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` is so.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn when(self, so: bool) -> Self {
        if so { self } else { Self(0) }
    }

    /// As a number, for stores.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// From a number that [`bits`](Self::bits) gave.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

impl Policy {
    /// How old the response is at `now` (RFC 9111 section 4.2.3).
    #[must_use]
    pub const fn age(&self, now: Time) -> Duration {
        Duration::from_millis(self.age_millis(now))
    }

    pub(crate) const fn age_millis(&self, now: Time) -> u64 {
        let resident = now.millis().saturating_sub(self.response_time.millis());
        self.initial_age.saturating_add(resident)
    }

    /// For how long it is fresh, counted in age.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        Duration::from_millis(self.lifetime)
    }

    /// Whether it is fresh at `now` (RFC 9111 section 4.2).
    #[must_use]
    pub const fn is_fresh(&self, now: Time) -> bool {
        self.lifetime > self.age_millis(now) && !self.flags.has(Flags::PURGED)
    }

    /// For how long it has been stale at `now`, in milliseconds.
    pub(crate) const fn beyond(&self, now: Time) -> u64 {
        let overdue = (self.overdue as u64).saturating_mul(1000);
        self.age_millis(now).saturating_sub(self.lifetime).saturating_add(overdue)
    }

    /// What is either so or not so of it.
    #[must_use]
    pub const fn flags(&self) -> Flags {
        self.flags
    }

    /// The same, fresh for so long from its arrival on, whatever the response says.
    #[must_use]
    pub(crate) fn lasting(mut self, ttl: Duration) -> Self {
        self.lifetime = self.initial_age.saturating_add(millis(ttl));
        self.overdue = 0;
        self
    }

    /// The same, stale from now on.
    #[must_use]
    pub const fn purged(mut self) -> Self {
        self.flags = self.flags.with(Flags::PURGED);
        self
    }

    /// For how long, from `now`, a store should keep the response: as long as it is fresh or may be
    /// served stale, and for `stale` longer in any case, so that it can be revalidated, served to who
    /// takes it stale, or stand in for an origin that cannot be reached.
    #[must_use]
    pub fn keep_for(&self, now: Time, stale: Duration) -> Duration {
        let fresh = self.lifetime.saturating_sub(self.age_millis(now));
        let window = self.while_revalidate.max(self.if_error.unwrap_or_default());
        let stale = window.max(millis(stale));
        Duration::from_millis(fresh.saturating_add(stale))
    }

    /// As numbers, for stores that write.
    #[must_use]
    pub const fn to_words(&self) -> [u64; 6] {
        let if_error = match self.if_error {
            // No window is that long.
            None => u64::MAX,
            Some(millis) => millis,
        };
        let flags = self.flags.0 as u64 | (self.overdue as u64) << 32;
        let arrived = self.response_time.millis();
        [self.lifetime, self.initial_age, arrived, self.while_revalidate, if_error, flags]
    }

    /// From the numbers that [`to_words`](Self::to_words) gave.
    #[must_use]
    pub fn from_words(words: [u64; 6]) -> Self {
        let [lifetime, initial_age, arrived, while_revalidate, if_error, flags] = words;
        Self {
            lifetime,
            overdue: u32::try_from(flags >> 32).unwrap_or_default(),
            initial_age,
            response_time: Time::from_millis(arrived),
            while_revalidate,
            if_error: (if_error != u64::MAX).then_some(if_error),
            flags: Flags(u32::try_from(flags & 0xffff_ffff).unwrap_or_default()),
        }
    }
}
