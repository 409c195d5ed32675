//! The arithmetic of one window: governor's for the decision, and around it what governor has no
//! word for.
//!
//! A window keeps one number, the theoretical arrival time (TAT): the moment at which all that was
//! charged has trickled away. Every function takes the time as an argument; nothing here has a
//! clock, a lock or a key.

use std::{
    cell::Cell,
    fmt,
    hash::{Hash, Hasher},
    num::NonZeroU32,
    ops::Add,
    time::Duration,
};

use governor::{
    RateLimiter,
    clock::{Clock, Reference},
    middleware::{RateLimitingMiddleware, StateSnapshot},
    nanos::Nanos,
    state::StateStore,
};

use crate::cost::Unit;

/// The longest time that a whole burst may take to come back: 36 years.
pub(crate) const LONGEST: u64 = 1 << 60;

/// The moment that governor takes for now. TATs are given to it from there on, so that all the
/// windows of a key are judged at one moment, which is read from the clock once.
const ANCHOR: Nanos = Nanos::new(1 << 61);

/// One window, ready to decide.
pub(crate) struct Meter {
    unit: Unit,
    /// The time in which one unit comes back.
    every: u64,
    burst: u32,
    /// The time in which a whole burst comes back.
    room: u64,
    /// How late a waiter may be woken without losing its place in the schedule.
    slack: u64,
    gcra: RateLimiter<Slot, Slots, Still, Bare>,
}

impl Meter {
    /// `every` times `burst` is at most [`LONGEST`]; whoever makes a quota has seen to that.
    pub(crate) fn new(unit: Unit, every: Every, burst: NonZeroU32, slack: u64) -> Self {
        let every = every.0;
        // Only a period of zero is refused, and it is not zero.
        let quota = governor::Quota::with_period(Duration::from_nanos(every))
            .unwrap_or_else(|| governor::Quota::per_second(burst))
            .allow_burst(burst);
        let room = every.saturating_mul(u64::from(burst.get()));
        let gcra = RateLimiter::new(quota, Slots, Still);
        Self { unit, every, burst: burst.get(), room, slack, gcra }
    }

    pub(crate) const fn unit(&self) -> Unit {
        self.unit
    }

    pub(crate) const fn burst(&self) -> u32 {
        self.burst
    }

    pub(crate) const fn every(&self) -> u64 {
        self.every
    }

    pub(crate) const fn slack(&self) -> u64 {
        self.slack
    }

    /// Charges `cost` if it fits at `now`.
    #[inline]
    pub(crate) fn take(&self, tat: &mut u64, now: u64, cost: u32) -> bool {
        let Some(cost) = NonZeroU32::new(cost) else { return true };
        // governor multiplies before it compares, and what overflows there is let through.
        if cost.get() > self.burst {
            return false;
        }
        let slot = Slot { tat: Cell::new(*tat), now };
        let fits = matches!(self.gcra.check_key_n(&slot, cost), Ok(Ok(())));
        *tat = slot.tat.get();
        fits
    }

    /// The time from `now` until `cost` fits.
    pub(crate) fn wait(&self, tat: u64, now: u64, cost: u64) -> u64 {
        let charged = tat.max(now).saturating_add(self.every.saturating_mul(cost));
        charged.saturating_sub(now.saturating_add(self.room))
    }

    /// How much fits at `now`.
    pub(crate) fn remaining(&self, tat: u64, now: u64) -> u32 {
        let free = now.saturating_add(self.room).saturating_sub(tat.max(now));
        // As it is at most denials, which are spared the division.
        if free < self.every {
            return 0;
        }
        u32::try_from(free / self.every).unwrap_or(u32::MAX)
    }

    /// The time in which `amount` comes back.
    pub(crate) fn time(&self, amount: u32) -> u64 {
        self.every.saturating_mul(u64::from(amount))
    }

    /// Charges whether it fits or not. The debt ends at four bursts, so that one wrong number does
    /// not lock a key for good.
    pub(crate) fn owe(&self, tat: u64, now: u64, amount: u32) -> u64 {
        let most = now.saturating_add(self.room.saturating_mul(5)).max(tat);
        let charge = self.every.saturating_mul(u64::from(amount));
        tat.max(now).saturating_add(charge).min(most)
    }

    /// Leaves no more than `remaining` to take. Never leaves more than there is.
    pub(crate) fn lower(&self, tat: u64, now: u64, remaining: u32) -> u64 {
        let spent = u64::from(self.burst.saturating_sub(remaining));
        tat.max(now.saturating_add(self.every.saturating_mul(spent)))
    }

    /// The TAT here of a key that has spent as large a part of its burst as it has in `old`.
    pub(crate) fn convert(&self, old: &Self, tat: u64, now: u64) -> u64 {
        let spent = u128::from(tat.saturating_sub(now));
        let spent = (spent * u128::from(self.room)).div_ceil(u128::from(old.room.max(1)));
        now.saturating_add(u64::try_from(spent).unwrap_or(LONGEST))
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter")
            .field("unit", &self.unit)
            .field("every", &Duration::from_nanos(self.every))
            .field("burst", &self.burst)
            .finish_non_exhaustive()
    }
}

/// A time that is not zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Every(u64);

impl Every {
    pub(crate) const fn new(nanos: u64) -> Option<Self> {
        if nanos == 0 { None } else { Some(Self(nanos)) }
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// The TAT of one window of one key, while its shard is locked. This is governor's key.
#[derive(Clone, PartialEq, Eq)]
struct Slot {
    tat: Cell<u64>,
    now: u64,
}

/// governor asks it of a key; nothing here looks a slot up.
impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tat.get().hash(state);
    }
}

/// governor's store: the slot is given, so there is nothing to look up.
struct Slots;

impl StateStore for Slots {
    type Key = Slot;

    #[inline]
    fn measure_and_replace<T, F, E>(&self, slot: &Slot, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let ahead = slot.tat.get().saturating_sub(slot.now);
        let (value, tat) = decide(Some(ANCHOR + Nanos::new(ahead)))?;
        slot.tat.set(slot.now + (tat.as_u64() - ANCHOR.as_u64()));
        Ok(value)
    }
}

/// governor's clock stands still: the moment is part of the slot.
#[derive(Clone, Copy, Debug)]
struct Still;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Anchor;

impl Clock for Still {
    type Instant = Anchor;

    fn now(&self) -> Anchor {
        Anchor
    }
}

impl Add<Nanos> for Anchor {
    type Output = Self;

    fn add(self, _: Nanos) -> Self {
        self
    }
}

impl Reference for Anchor {
    fn duration_since(&self, _: Self) -> Nanos {
        ANCHOR
    }

    fn saturating_sub(&self, _: Nanos) -> Self {
        *self
    }
}

/// Says yes or no. When it will be yes is worked out for all the windows together.
#[derive(Debug)]
struct Bare;

impl RateLimitingMiddleware<Anchor> for Bare {
    type PositiveOutcome = ();
    type NegativeOutcome = ();

    fn allow<K>(_: &K, _: impl Into<StateSnapshot>) {}

    fn disallow<K>(_: &K, _: impl Into<StateSnapshot>, _: Anchor) {}
}
