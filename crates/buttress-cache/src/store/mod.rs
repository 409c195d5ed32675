//! Where entries are kept.
//!
//! A store maps a [`Key`] to a [`Slot`]: a response, or the list of a resource's variants, each of
//! which is a response under a key of its own. It decides nothing about HTTP.
//!
//! # Generations
//!
//! A purge must win over a response that was asked for before it and arrives after it. So each lookup
//! returns the [`Generation`] of the store at that moment, and [`put`](Store::put),
//! [`link`](Store::link) and [`touch`](Store::touch) take it back: the store refuses what was looked
//! up before the key, one of the entry's tags, or everything, was purged. It may refuse more than
//! that, never less.

mod dynamic;
mod memory;
mod tiered;

use std::{error::Error, fmt, future::Future, sync::Arc, time::Duration};

use buttress_core::BoxError;

pub use self::{
    dynamic::SharedStore,
    memory::{MemoryStatistics, MemoryStore},
    tiered::{Tiered, TieredStatistics},
};
use crate::{Entry, EntryId, Key, Slot, Tag, Variant};

/// Where a store stood when a lookup was made; what it means is the store's own business.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    number: u64,
    lower: u64,
}

impl Generation {
    /// Makes one of the store's own number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self { number, lower: 0 }
    }

    /// The store's own number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.number
    }

    /// The same, above a store that stood at `lower`.
    #[must_use]
    pub const fn above(self, lower: Self) -> Self {
        Self { number: self.number, lower: lower.number }
    }

    /// Where the store below stood.
    #[must_use]
    pub const fn lower(self) -> Self {
        Self::new(self.lower)
    }
}

/// What a lookup found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Lookup {
    /// What the key leads to, if anything.
    pub slot: Option<Slot>,
    /// Where the store stood.
    pub generation: Generation,
    /// For how long the store keeps the slot from now on, if it knows.
    pub keep_for: Option<Duration>,
}

impl Lookup {
    /// Says what was found, and where the store stood.
    #[must_use]
    pub const fn new(slot: Option<Slot>, generation: Generation) -> Self {
        Self { slot, generation, keep_for: None }
    }

    /// Says for how long the store keeps the slot from now on, so that a store above keeps it no
    /// longer.
    #[must_use]
    pub const fn kept_for(mut self, keep_for: Duration) -> Self {
        self.keep_for = Some(keep_for);
        self
    }
}

/// What is purged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purge {
    /// One resource, with all its variants.
    Key(Key),
    /// Everything that has the tag.
    Tag(Tag),
    /// Everything.
    All,
}

/// What becomes of what is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Removal {
    /// It is stale, and served only where a stale response may be ([`Entry::purged`]).
    Soft,
    /// It is gone.
    Hard,
}

/// The answer to the question who fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lease {
    /// The one who asked, who gives the number back with [`Store::release`].
    Granted(u64),
    /// Somebody else who is at it.
    Held,
}

/// Keeps slots by key. Errors never reach a caller of the cache: a store that fails is a miss.
///
/// What waits for another machine must have a time limit of its own, and a short one.
pub trait Store: Send + Sync + 'static {
    /// Looks a key up where that takes no waiting; `None` sends the caller to [`get`](Self::get).
    ///
    /// A store in memory always answers here, so that a hit neither allocates nor awaits.
    fn peek(&self, key: &Key) -> Option<Lookup>;

    /// Looks a key up.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Lookup, StoreError>> + Send;

    /// Keeps `slot` under `key` for `keep_for`, or less if room is short. Says whether it did:
    /// not if it is too large, or purged since `seen`. A store that can compare refuses a part
    /// ([`Flags::PARTIAL`](crate::Flags::PARTIAL)) in the place of variants, or of a whole that may be
    /// the same or newer.
    fn put(
        &self,
        key: &Key,
        slot: Slot,
        keep_for: Duration,
        seen: Generation,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Keeps `entry` under the key of `variant`, and puts that first in the list under `key`, in place
    /// of one with the same key or, if there are `most` already, of another.
    ///
    /// It is one step, since what was purged is `key`: an entry that is put by itself could not be told
    /// from one that was asked for before the purge. An entry under `key` gives way to the list. What
    /// is pushed out is removed as well. The list is kept for at least `keep_for`, and for as long as
    /// any that was in it. Says whether it did, as [`put`](Self::put).
    fn link(
        &self,
        key: &Key,
        variant: Variant,
        entry: Arc<Entry>,
        most: usize,
        keep_for: Duration,
        seen: Generation,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Puts `entry` in the place of its version `of`, if that is still what `key` leads to. The body
    /// is the same and need not be written again.
    fn touch(
        &self,
        key: &Key,
        of: EntryId,
        entry: Arc<Entry>,
        keep_for: Duration,
        seen: Generation,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Purges, and says how many entries that were (as far as it knows).
    fn remove(
        &self,
        what: &Purge,
        removal: Removal,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Asks who of several processes fetches what `key` stands for; the answer holds for `ttl`. A
    /// store of one process always grants it.
    fn lease(
        &self,
        _key: &Key,
        _ttl: Duration,
    ) -> impl Future<Output = Result<Lease, StoreError>> + Send {
        std::future::ready(Ok(Lease::Granted(0)))
    }

    /// Gives a lease back before its time.
    fn release(
        &self,
        _key: &Key,
        _lease: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        std::future::ready(Ok(()))
    }

    /// How much is stored, as far as it is known.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// How many slots.
    pub slots: u64,
    /// How many bytes, what comes with the bodies included.
    pub bytes: u64,
}

impl Usage {
    /// So many slots with so many bytes.
    #[must_use]
    pub const fn new(slots: u64, bytes: u64) -> Self {
        Self { slots, bytes }
    }
}

/// A store could not do what it was asked.
#[derive(Debug)]
pub struct StoreError {
    source: BoxError,
}

impl StoreError {
    /// Wraps the reason.
    #[must_use]
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self { source: source.into() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store failed")
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
