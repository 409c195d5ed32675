//! The table of one shard: keys and the TATs of their windows, in the place where a key is looked for.
//!
//! What a decision waits for where there are many keys is memory. So there is no index, of which the
//! answer would have to come before the next question: a key's home is a block of the table, and the
//! block holds all that a decision about one window needs.

mod block;
mod lines;
#[cfg(test)]
mod tests;

use std::{mem, slice};

use self::block::{Block, SLOTS, Slot};
pub(crate) use self::{block::Entry, lines::Lines};
use crate::{key::Key, limiter::Tier, policy::WINDOWS};

/// Where a charge ends in each window, as time that refunds will bring back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    life: u32,
    ends: [u64; WINDOWS],
}

/// How many slots may be taken, of how many.
const FULL: (usize, usize) = (7, 8);

/// The entries of a shard: open addressing from a home that is a block, of which at most
/// [`FULL`] are taken. A key lies in its home, or behind, after no slot that is empty. Its number is
/// that of its slot; it is another one after an insertion or a sweep.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Table {
    // What a decision reads comes first, for the sake of the line of the cache in which it is.
    blocks: Vec<Block>,
    /// TATs for each entry.
    stride: usize,
    taken: usize,
    lines: Lines,
    /// The TATs, if there is more than one for each entry.
    tats: Vec<u64>,
    /// For each TAT, by how much refunds have brought it back. Made when there is one.
    backs: Vec<u64>,
    seeds: [u64; 2],
    cursor: usize,
    lives: u32,
}

/// An entry with what is its own.
#[derive(Debug)]
pub(crate) struct Own<'a> {
    pub(crate) entry: &'a mut Entry,
    pub(crate) tats: &'a mut [u64],
    /// Those of all entries.
    pub(crate) lines: &'a mut Lines,
}

impl Table {
    pub(crate) const fn new(stride: usize, seeds: [u64; 2]) -> Self {
        Self {
            blocks: Vec::new(),
            stride,
            taken: 0,
            lines: Lines::NONE,
            tats: Vec::new(),
            backs: Vec::new(),
            seeds,
            cursor: 0,
            lives: 0,
        }
    }

    /// A table of entries that are neither searched nor swept: their keys are their numbers.
    pub(crate) fn shared(stride: usize, seeds: [u64; 2], entries: usize) -> Self {
        let mut table = Self::new(stride, seeds);
        table.rebuild(entries.div_ceil(SLOTS));
        for number in 0..entries {
            let life = table.life();
            table.slot(number).entry = Entry::new(Key::of_bits(number as u128), Tier::FIRST, life);
        }
        table.taken = entries;
        table
    }

    pub(crate) const fn len(&self) -> usize {
        self.taken
    }

    #[inline]
    pub(crate) fn find(&self, key: Key, spread: u64) -> Option<usize> {
        let mut at = self.home(spread);
        loop {
            let block = self.blocks.get(at)?;
            if let Some(slot) = block.find(key) {
                return Some(at * SLOTS + slot);
            }
            if block.room().is_some() {
                return None;
            }
            at = self.after(at);
        }
    }

    #[inline]
    pub(crate) fn own(&mut self, number: usize) -> Own<'_> {
        let Slot { entry, tat } = &mut self.blocks[number / SLOTS].0[number % SLOTS];
        let tats = match self.stride {
            1 => slice::from_mut(tat),
            stride => &mut self.tats[number * stride..][..stride],
        };
        Own { entry, tats, lines: &mut self.lines }
    }

    /// The number of another life. Charges of one before are not refunded.
    pub(crate) const fn life(&mut self) -> u32 {
        self.lives = if self.lives == u32::MAX { 1 } else { self.lives + 1 };
        self.lives
    }

    /// Where the charges of an entry end by now.
    pub(crate) fn mark(&mut self, number: usize) -> Mark {
        let mut ends = FRESH;
        let Own { entry, tats, .. } = self.own(number);
        let life = entry.life;
        for (end, tat) in ends.iter_mut().zip(tats) {
            *end = *tat;
        }
        if let Some(backs) = self.backs.get(number * self.stride..) {
            for (end, back) in ends.iter_mut().zip(backs).take(self.stride) {
                *end = end.saturating_add(*back);
            }
        }
        Mark { life, ends }
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
        if self.slot(number).entry.life != mark.life {
            return;
        }
        if self.backs.is_empty() {
            self.backs = vec![0; self.slots() * self.stride];
        }
        let at = number * self.stride + window;
        let back = self.backs[at];
        let left = mark.ends[window].saturating_sub(back).saturating_sub(now);
        let tat = &mut self.own(number).tats[window];
        let time = time.min(left).min(*tat);
        *tat -= time;
        self.backs[at] = back.saturating_add(time);
    }

    /// The number of a key that is not there yet.
    pub(crate) fn insert(&mut self, key: Key, spread: u64, tier: Tier) -> usize {
        let blocks = self.blocks.len();
        if (self.taken + 1) * FULL.1 > blocks * SLOTS * FULL.0 {
            // Not twice as many, which is memory for keys that may never come.
            self.rebuild(blocks + blocks / 4 + 2);
        }
        let life = self.life();
        self.taken += 1;
        let number = self.room(spread);
        self.slot(number).entry = Entry::new(key, tier, life);
        number
    }

    /// Looks at the next few entries and forgets those that say nothing any more: every window is
    /// full, nobody waits, no pause. A limited key is never among them.
    pub(crate) fn sweep(&mut self, now: u64, few: usize) {
        let mut looks = few.min(self.taken);
        // Where few slots are taken, a few entries are not looked for all over the table.
        for _ in 0..few * 8 {
            if looks == 0 {
                break;
            }
            if self.cursor >= self.slots() {
                self.cursor = 0;
            }
            let Own { entry, tats, lines } = self.own(self.cursor);
            looks -= usize::from(!entry.is_none());
            let idle = lines.of(entry).is_none_or(|line| line.is_idle(now));
            if !entry.is_none() && idle && tats.iter().all(|tat| *tat <= now) {
                // Whatever moves comes from behind, so that the cursor comes to it.
                self.remove(self.cursor);
            } else {
                self.cursor += 1;
            }
        }
        self.shrink();
    }

    pub(crate) fn for_each(&mut self, mut change: impl FnMut(Own<'_>)) {
        for number in 0..self.slots() {
            let own = self.own(number);
            if !own.entry.is_none() {
                change(own);
            }
        }
    }

    /// Bytes on the heap, without the lines of those few keys that have one.
    pub(crate) const fn bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>()
            + (self.tats.capacity() + self.backs.capacity()) * size_of::<u64>()
    }

    fn remove(&mut self, number: usize) {
        let Own { entry, lines, .. } = self.own(number);
        lines.end(entry);
        let (stride, mut hole, mut at) = (self.stride, number, self.next(number));
        // What comes next moves up, as far as it does not come to lie before its home.
        loop {
            let Entry { key, life, .. } = self.slot(at).entry;
            if life == 0 || at == number {
                break;
            }
            let home = self.home(key.spread(self.seeds)) * SLOTS;
            if self.distance(home, at) >= self.distance(hole, at) {
                *self.slot(hole) = mem::replace(self.slot(at), Slot::EMPTY);
                for all in self.apart() {
                    let own = at * stride;
                    all.copy_within(own..own + stride, hole * stride);
                }
                hole = at;
            }
            at = self.next(at);
        }
        *self.slot(hole) = Slot::EMPTY;
        for all in self.apart() {
            all[hole * stride..][..stride].fill(0);
        }
        self.taken -= 1;
    }

    /// What is kept of each entry apart from its slot.
    fn apart(&mut self) -> impl Iterator<Item = &mut Vec<u64>> {
        [&mut self.tats, &mut self.backs].into_iter().filter(|all| !all.is_empty())
    }

    fn slot(&mut self, number: usize) -> &mut Slot {
        &mut self.blocks[number / SLOTS].0[number % SLOTS]
    }

    const fn slots(&self) -> usize {
        self.blocks.len() * SLOTS
    }

    /// Where a key that is not there yet would lie.
    fn room(&self, spread: u64) -> usize {
        let mut at = self.home(spread);
        loop {
            if let Some(slot) = self.blocks[at].room() {
                return at * SLOTS + slot;
            }
            at = self.after(at);
        }
    }

    fn shrink(&mut self) {
        let room = self.slots() * FULL.0 / FULL.1;
        if room > 64 && self.taken < room / 4 {
            self.rebuild((self.taken * 2 * FULL.1).div_ceil(SLOTS * FULL.0) + 2);
        }
    }

    /// Moves all entries to a table of so many blocks. They keep their order, nearly, so that it goes
    /// through memory from one end to the other.
    fn rebuild(&mut self, blocks: usize) {
        let (stride, tats) = (self.stride, blocks * SLOTS * self.stride);
        let renewed =
            |all: &mut Vec<u64>, wanted| mem::replace(all, vec![0; if wanted { tats } else { 0 }]);
        let had_backs = !self.backs.is_empty();
        let olds = [renewed(&mut self.tats, stride > 1), renewed(&mut self.backs, had_backs)];
        let blocks = (0..blocks).map(|_| Block::EMPTY).collect();
        let old = mem::replace(&mut self.blocks, blocks);
        self.cursor = self.cursor / SLOTS * self.blocks.len() / old.len().max(1) * SLOTS;
        for (nth, slot) in old.into_iter().flat_map(|block| block.0).enumerate() {
            if slot.is_empty() {
                continue;
            }
            let number = self.room(slot.entry.key.spread(self.seeds));
            *self.slot(number) = slot;
            for (all, old) in [&mut self.tats, &mut self.backs].into_iter().zip(&olds) {
                if let Some(own) = old.get(nth * stride..(nth + 1) * stride) {
                    all[number * stride..][..stride].copy_from_slice(own);
                }
            }
        }
    }

    /// The block where the search for a key begins: as far along as the lower half of its spread is
    /// among all there are. The upper half has chosen the shard.
    #[inline]
    const fn home(&self, spread: u64) -> usize {
        (((spread & 0xffff_ffff) * self.blocks.len() as u64) >> 32) as usize
    }

    #[inline]
    const fn after(&self, at: usize) -> usize {
        if at + 1 == self.blocks.len() { 0 } else { at + 1 }
    }

    const fn next(&self, number: usize) -> usize {
        if number + 1 == self.slots() { 0 } else { number + 1 }
    }

    const fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots() - from }
    }
}

/// TATs of a key that nothing is known of.
pub(crate) const FRESH: [u64; WINDOWS] = [0; WINDOWS];
