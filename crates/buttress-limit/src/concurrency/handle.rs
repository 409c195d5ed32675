//! The handle: the limit that layers share.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use buttress_core::SettingError;

use super::{
    Limit, Mode, Overloaded, Permit, Priority, Wait,
    limit::checked,
    place::{Begun, Place},
};
use crate::overload::{Clock, Keyed};

/// A limit on the calls under way, to be shared: all that is made from one handle and its clones
/// counts together.
///
/// `K` is what is counted apart, such as a tenant or an upstream; `()` is one limit for all.
///
/// ```
/// use buttress_limit::concurrency::{Concurrency, Limit};
///
/// # fn main() -> Result<(), buttress_core::SettingError> {
/// let limit = Concurrency::new(Limit::fixed(2)?);
/// let first = limit.try_acquire().unwrap();
/// let second = limit.try_acquire().unwrap();
/// assert!(limit.try_acquire().is_err());
///
/// limit.set_limit(3)?;
/// assert!(limit.try_acquire().is_ok());
/// # drop((first, second));
/// # Ok(())
/// # }
/// ```
pub struct Concurrency<K = ()> {
    places: Arc<Places<K>>,
}

enum Places<K> {
    One(Arc<Place>),
    PerKey { keys: Keyed<K, Place>, limit: Mutex<Limit>, clock: Clock },
}

/// What a limit is at, at one moment.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// How many may be under way.
    pub limit: u32,
    /// How many are.
    pub in_flight: u32,
    /// How many wait.
    pub waiting: usize,
}

impl Concurrency {
    /// One limit for all calls.
    #[must_use]
    pub fn new(limit: impl Into<Limit>) -> Self {
        let place = Arc::new(Place::new(limit.into(), Clock::start()));
        Self { places: Arc::new(Places::One(place)) }
    }

    /// A permit, if there is one now.
    ///
    /// # Errors
    ///
    /// If as many are under way as may be, or others wait.
    pub fn try_acquire(&self) -> Result<Permit, Overloaded> {
        self.try_acquire_for(&())
    }

    /// A permit, once there is one. Dropping the future gives the place in line up.
    ///
    /// # Errors
    ///
    /// If the line is full, or the wait is longer than it may be or would be so.
    pub async fn acquire(&self, wait: Wait) -> Result<Permit, Overloaded> {
        self.acquire_for(&(), wait, Priority::FIRST).await
    }

    /// What the limit is at.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_of(&())
    }
}

impl<K: Hash + Eq + Clone> Concurrency<K> {
    /// A limit for each key, for `max_keys` of them at most.
    ///
    /// A key is forgotten only to make room for another one, and only when nothing of it is under
    /// way. While more keys than that have calls under way, calls of further ones are refused.
    ///
    /// # Errors
    ///
    /// If `max_keys` is 0.
    pub fn per_key(limit: impl Into<Limit>, max_keys: usize) -> Result<Self, SettingError> {
        if max_keys == 0 {
            return Err(SettingError::new("concurrency.max_keys", "0; it must be at least 1"));
        }
        let (keys, limit) = (Keyed::new(max_keys), Mutex::new(limit.into()));
        let places = Places::PerKey { keys, limit, clock: Clock::start() };
        Ok(Self { places: Arc::new(places) })
    }

    /// A permit for this key, if there is one now.
    ///
    /// # Errors
    ///
    /// If as many are under way as may be, or others wait.
    pub fn try_acquire_for(&self, key: &K) -> Result<Permit, Overloaded> {
        match self.begin(key, Mode::Reject, Priority::FIRST) {
            Begun::Admitted(permit) => Ok(permit),
            Begun::Refused(refused) => Err(refused),
            Begun::Waiting(waiting) => Err(Overloaded::full(waiting.waited())),
        }
    }

    /// A permit for this key, once there is one. Dropping the future gives the place in line up.
    ///
    /// # Errors
    ///
    /// If the line is full, or the wait is longer than it may be or would be so.
    pub async fn acquire_for(
        &self,
        key: &K,
        wait: Wait,
        priority: Priority,
    ) -> Result<Permit, Overloaded> {
        match self.begin(key, Mode::Wait(wait), priority) {
            Begun::Admitted(permit) => Ok(permit),
            Begun::Refused(refused) => Err(refused),
            Begun::Waiting(waiting) => waiting.await,
        }
    }

    /// Changes the limit while calls go on, from 1 to 2147483647.
    ///
    /// What is under way goes on. A higher limit lets those in line in at once. Where the limit is
    /// found, it is sought from there on, within its bounds. With keys it holds for all of them.
    ///
    /// # Errors
    ///
    /// If it is 0, or more than that.
    pub fn set_limit(&self, limit: usize) -> Result<(), SettingError> {
        let new = checked(limit)?;
        match &*self.places {
            Places::One(place) => {
                let _ = place.set_limit(new);
            }
            Places::PerKey { keys, limit, .. } => {
                if let fixed @ Limit::Fixed(_) = &mut *lock(limit) {
                    *fixed = Limit::Fixed(new);
                }
                keys.each(|place| {
                    let _ = place.set_limit(new);
                });
            }
        }
        Ok(())
    }

    /// What the limit of this key is at.
    #[must_use]
    pub fn snapshot_of(&self, key: &K) -> Snapshot {
        match &*self.places {
            Places::One(place) => place.snapshot(),
            Places::PerKey { keys, limit, .. } => {
                let unknown = || {
                    let limit = lock(limit).first();
                    Snapshot { limit, in_flight: 0, waiting: 0 }
                };
                keys.peek(key, Place::snapshot).unwrap_or_else(unknown)
            }
        }
    }

    /// How many keys are known.
    #[must_use]
    pub fn keys(&self) -> usize {
        match &*self.places {
            Places::One(_) => 1,
            Places::PerKey { keys, .. } => keys.len(),
        }
    }

    pub(super) fn begin(&self, key: &K, mode: Mode, priority: Priority) -> Begun {
        let mut displaced = None;
        let begun = match &*self.places {
            Places::One(place) => place.begin(mode, priority, &mut displaced),
            Places::PerKey { keys, limit, clock } => {
                let make = || Place::new(*lock(limit), *clock);
                let begin = |place: &Arc<Place>| place.begin(mode, priority, &mut displaced);
                keys.with(key, make, begin).unwrap_or_else(|| Begun::Refused(Overloaded::crowded()))
            }
        };
        if let Some(waker) = displaced {
            waker.wake();
        }
        begun
    }
}

fn lock(limit: &Mutex<Limit>) -> MutexGuard<'_, Limit> {
    limit.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K> Clone for Concurrency<K> {
    fn clone(&self) -> Self {
        Self { places: Arc::clone(&self.places) }
    }
}

impl<K> fmt::Debug for Concurrency<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.places {
            Places::One(place) => place.snapshot().fmt(f),
            Places::PerKey { keys, .. } => keys.fmt(f),
        }
    }
}
