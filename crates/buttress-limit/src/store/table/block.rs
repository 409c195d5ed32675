//! A few slots of a table, side by side in memory.

use crate::{key::Key, limiter::Tier, policy::Policy, store::line::Line};

/// A key that has spent something, or for which somebody waits.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) line: Option<Box<Line>>,
    pub(crate) tier: Tier,
    /// Tells it from one of the same key before it, and before its policy changed. 0 where no key is.
    pub(crate) life: u32,
}

impl Entry {
    pub(super) const NONE: Self =
        Self { key: Key::of_bits(0), line: None, tier: Tier::FIRST, life: 0 };

    pub(super) const fn is_none(&self) -> bool {
        self.life == 0
    }

    /// The policy that holds for it while it is lowered.
    pub(crate) fn lowered(&self) -> Option<&Policy> {
        Some(self.line.as_ref()?.lowered()?.policy())
    }

    /// Works out anew what of this policy holds for it.
    pub(crate) fn renew(&mut self, base: &Policy, now: u64) {
        let Some(lowered) = self.line.as_mut().map(|line| line.lowered_mut()) else { return };
        if lowered.as_mut().is_some_and(|lowered| !lowered.renew(base, now)) {
            *lowered = None;
        }
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
pub(super) const SLOTS: usize = 3;

/// Two lines of the cache, which the processor fetches at the same time.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Block(pub(super) [Slot; SLOTS]);

const _: () = assert!(size_of::<Entry>() == 32 && size_of::<Block>() == 128);

impl Block {
    pub(super) const EMPTY: Self = Self([Slot::EMPTY; SLOTS]);

    /// Where in it a key is. The first slot lies in the first line, so that a key in it is not kept
    /// waiting for the other one; the rest are looked at whatever is in any of them.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<usize> {
        let [first, others @ ..] = &self.0;
        if first.entry.key.is(key) {
            return (!first.is_empty()).then_some(0);
        }
        let [second, third] = others.each_ref().map(|slot| slot.entry.key.is(key));
        let at = if second { 1 } else { 2 };
        // The key of a slot that is empty says nothing, and behind one there is no other.
        ((second | third) && !self.0[at].entry.is_none()).then_some(at)
    }

    pub(super) fn room(&self) -> Option<usize> {
        self.0.iter().position(Slot::is_empty)
    }
}
