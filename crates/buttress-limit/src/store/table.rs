//! The table of one shard: keys and the TATs of their windows, side by side in memory, with an
//! index over them.

use crate::{
    key::Key,
    limiter::Tier,
    policy::{Policy, WINDOWS},
    store::{index::Index, line::Line},
};

/// A key that has spent something, or for which somebody waits.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) line: Option<Box<Line>>,
    pub(crate) tier: Tier,
    /// Tells it from one of the same key before it, and before its policy changed.
    pub(crate) life: u32,
}

impl Entry {
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

/// Where a charge ends in each window, as time that refunds will bring back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    life: u32,
    ends: [u64; WINDOWS],
}

/// The entries of a shard. They are numbered without gaps: the last one takes the place of one that
/// goes.
#[derive(Debug)]
pub(crate) struct Table {
    seeds: [u64; 2],
    /// TATs for each entry.
    stride: usize,
    index: Index,
    entries: Vec<Entry>,
    tats: Vec<u64>,
    /// For each TAT, by how much refunds have brought it back.
    backs: Vec<u64>,
    lives: u32,
    cursor: usize,
}

impl Table {
    pub(crate) fn new(stride: usize, seeds: [u64; 2]) -> Self {
        Self {
            seeds,
            stride,
            index: Index::default(),
            entries: Vec::new(),
            tats: Vec::new(),
            backs: Vec::new(),
            lives: 0,
            cursor: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(crate) fn find(&self, key: Key, spread: u64) -> Option<usize> {
        let entries = &self.entries;
        let same = |number| entries.get(place(number)).is_some_and(|entry| entry.key == key);
        self.index.find(spread, same).map(place)
    }

    #[inline]
    pub(crate) fn entry(&mut self, number: usize) -> (&mut Entry, &mut [u64]) {
        let tats = &mut self.tats[number * self.stride..(number + 1) * self.stride];
        (&mut self.entries[number], tats)
    }

    /// The number of another life. Charges of one before are not refunded.
    pub(crate) const fn life(&mut self) -> u32 {
        self.lives = if self.lives == u32::MAX { 1 } else { self.lives + 1 };
        self.lives
    }

    /// Where the charges of an entry end by now.
    pub(crate) fn mark(&self, number: usize) -> Mark {
        let own = number * self.stride..(number + 1) * self.stride;
        let mut ends = FRESH;
        let windows = self.tats[own.clone()].iter().zip(&self.backs[own]);
        for (end, (tat, back)) in ends.iter_mut().zip(windows) {
            *end = tat.saturating_add(*back);
        }
        Mark { life: self.entries[number].life, ends }
    }

    /// Brings the TAT of a window back by `time`, as far as that time is still to come: what has
    /// trickled away is not had twice.
    pub(crate) fn refund(
        &mut self,
        number: usize,
        window: usize,
        time: u64,
        mark: &Mark,
        now: u64,
    ) {
        let at = number * self.stride + window;
        if self.entries[number].life != mark.life {
            return;
        }
        let left = mark.ends[window].saturating_sub(self.backs[at]).saturating_sub(now);
        let time = time.min(left).min(self.tats[at]);
        self.tats[at] -= time;
        self.backs[at] = self.backs[at].saturating_add(time);
    }

    pub(crate) fn insert(&mut self, key: Key, spread: u64, tier: Tier) -> usize {
        let number = self.entries.len();
        self.make_room();
        let life = self.life();
        self.entries.push(Entry { key, line: None, tier, life });
        self.tats.resize(self.tats.len() + self.stride, 0);
        self.backs.resize(self.backs.len() + self.stride, 0);
        self.index.insert(spread, short(number));
        number
    }

    /// Looks at the next few entries and forgets those that say nothing any more: every window is
    /// full, nobody waits, no pause. A limited key is never among them.
    pub(crate) fn sweep(&mut self, now: u64, few: usize) {
        for _ in 0..few.min(self.len()) {
            if self.cursor >= self.len() {
                self.cursor = 0;
            }
            let (entry, tats) = self.entry(self.cursor);
            let idle = entry.line.as_ref().is_none_or(|line| line.is_idle(now));
            if idle && tats.iter().all(|tat| *tat <= now) {
                self.remove(self.cursor);
            } else {
                self.cursor += 1;
            }
        }
        self.shrink();
    }

    pub(crate) fn each(&mut self) -> impl Iterator<Item = (&mut Entry, &mut [u64])> {
        self.entries.iter_mut().zip(self.tats.chunks_exact_mut(self.stride))
    }

    /// Bytes on the heap, without the lines of those few keys that have one.
    pub(crate) fn bytes(&self) -> usize {
        self.index.bytes()
            + self.entries.capacity() * size_of::<Entry>()
            + (self.tats.capacity() + self.backs.capacity()) * size_of::<u64>()
    }

    fn remove(&mut self, number: usize) {
        let last = self.len() - 1;
        let spread = self.entries[number].key.spread(self.seeds);
        self.index.remove(spread, short(number));
        if number != last {
            let spread = self.entries[last].key.spread(self.seeds);
            self.index.renumber(spread, short(last), short(number));
            self.tats.copy_within(last * self.stride.., number * self.stride);
            self.backs.copy_within(last * self.stride.., number * self.stride);
        }
        self.entries.swap_remove(number);
        self.tats.truncate(last * self.stride);
        self.backs.truncate(last * self.stride);
    }

    /// Grows by a quarter instead of by the whole, which is memory for keys that may never come.
    fn make_room(&mut self) {
        if self.entries.len() == self.entries.capacity() {
            let more = (self.entries.len() / 4).max(8);
            self.entries.reserve_exact(more);
            self.tats.reserve_exact(more * self.stride);
            self.backs.reserve_exact(more * self.stride);
        }
    }

    fn shrink(&mut self) {
        let (len, room) = (self.len(), self.entries.capacity());
        if room > 64 && len < room / 4 {
            self.entries.shrink_to(len * 2);
            self.tats.shrink_to(len * 2 * self.stride);
            self.backs.shrink_to(len * 2 * self.stride);
            self.index.shrink_to(len * 2);
        }
    }
}

const fn place(number: u32) -> usize {
    number as usize
}

/// A shard has fewer than 2³² entries: the cap on keys is checked where it is set.
#[expect(clippy::cast_possible_truncation, reason = "the cap on keys is checked where it is set")]
const fn short(number: usize) -> u32 {
    number as u32
}

/// TATs of a key that nothing is known of.
pub(crate) const FRESH: [u64; WINDOWS] = [0; WINDOWS];
