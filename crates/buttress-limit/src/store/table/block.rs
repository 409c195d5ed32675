//! A few slots of a table, side by side in memory.

use crate::{key::Key, limiter::Tier};

/// A key that has spent something, or for which somebody waits.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    /// Tells it from one of the same key before it, and before its policy changed. 0 where no key is.
    pub(crate) life: u32,
    pub(crate) tier: Tier,
    /// Whether it has a line, which lies elsewhere.
    pub(super) lined: bool,
}

impl Entry {
    const NONE: Self = Self::new(Key::of_bits(0), Tier::FIRST, 0);

    pub(super) const fn new(key: Key, tier: Tier, life: u32) -> Self {
        Self { key, life, tier, lined: false }
    }

    pub(super) const fn is_none(&self) -> bool {
        self.life == 0
    }

    /// Whether nothing is to be known of it but its windows, which are those of this tier.
    #[inline]
    pub(crate) fn is_plain(&self, tier: Tier) -> bool {
        !self.lined & (self.tier == tier)
    }
}

/// Where an entry is, and its TAT if there is one for each key. More of them are kept apart.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) entry: Entry,
    pub(super) tat: u64,
}

impl Slot {
    pub(super) const EMPTY: Self = Self { entry: Entry::NONE, tat: 0 };

    pub(super) const fn is_empty(&self) -> bool {
        self.entry.is_none()
    }
}

/// How many slots are in a block.
pub(super) const SLOTS: usize = 4;

/// Two lines of the cache, which the processor fetches at the same time.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Block(pub(super) [Slot; SLOTS]);

const _: () = assert!(size_of::<Slot>() == 32 && size_of::<Block>() == 128);

impl Block {
    pub(super) const EMPTY: Self = Self([Slot::EMPTY; SLOTS]);

    /// Where in it a key is. Two slots lie in the first line, so that a key in one of them is not kept
    /// waiting for the other line.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<usize> {
        let at = self.0.iter().position(|slot| slot.entry.key.is(key))?;
        // The key of a slot that is empty says nothing, and behind one there is no other.
        (!self.0[at].is_empty()).then_some(at)
    }

    pub(super) fn room(&self) -> Option<usize> {
        self.0.iter().position(Slot::is_empty)
    }
}
