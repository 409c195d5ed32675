//! Finds the numbers of entries by the spread of their keys.
//!
//! It is one array, so that a key that is not in the processor's cache takes one access to memory here
//! and one to its entry. A general table looks into an array of bytes first and then into one of
//! numbers, and the second access has to wait for the first.

/// A number, and of the spread of its key what tells it from most others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot(u64);

impl Slot {
    const EMPTY: Self = Self(0);

    const fn new(tag: u32, number: u32) -> Self {
        Self(((tag as u64) << 32) | (number as u64 + 1))
    }

    /// The lower half of the spread; the upper one has chosen the shard.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
    const fn tag(spread: u64) -> u32 {
        spread as u32
    }

    const fn tag_of(self) -> u32 {
        (self.0 >> 32) as u32
    }

    const fn number(self) -> u32 {
        ((self.0 & 0xffff_ffff) as u32).wrapping_sub(1)
    }
}

/// Slots of which at most three quarters are taken, so that a search ends after a few. A number lies
/// where its tag says, or behind, after no slot that is empty.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: Vec<Slot>,
    taken: usize,
}

impl Index {
    /// The number for which `same` is true, of those with this spread.
    #[inline]
    pub(super) fn find(&self, spread: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = Slot::tag(spread);
        let (mut at, slots) = (self.home(tag), &*self.slots);
        loop {
            let slot = *slots.get(at)?;
            if slot == Slot::EMPTY {
                return None;
            }
            if slot.tag_of() == tag && same(slot.number()) {
                return Some(slot.number());
            }
            at = self.after(at);
        }
    }

    pub(super) fn insert(&mut self, spread: u64, number: u32) {
        if (self.taken + 1) * 4 > self.slots.len() * 3 {
            self.rebuild(self.slots.len() + self.slots.len() / 4 + 8);
        }
        self.put(Slot::new(Slot::tag(spread), number));
        self.taken += 1;
    }

    pub(super) fn remove(&mut self, spread: u64, number: u32) {
        let Some(mut hole) = self.place(spread, number) else { return };
        let mut at = self.after(hole);
        // What comes next moves up, as far as it does not come to lie before where its tag says.
        while self.slots[at] != Slot::EMPTY {
            let home = self.home(self.slots[at].tag_of());
            if self.distance(home, at) >= self.distance(hole, at) {
                self.slots[hole] = self.slots[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.slots[hole] = Slot::EMPTY;
        self.taken -= 1;
    }

    pub(super) fn renumber(&mut self, spread: u64, from: u32, to: u32) {
        if let Some(at) = self.place(spread, from) {
            self.slots[at] = Slot::new(Slot::tag(spread), to);
        }
    }

    /// Gives back what is not needed for so many numbers.
    pub(super) fn shrink_to(&mut self, numbers: usize) {
        let slots = numbers.max(self.taken) * 3 / 2 + 8;
        if slots < self.slots.len() {
            self.rebuild(slots);
        }
    }

    /// Bytes on the heap.
    pub(super) const fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    fn rebuild(&mut self, slots: usize) {
        let before = std::mem::replace(&mut self.slots, vec![Slot::EMPTY; slots]);
        for slot in before.into_iter().filter(|slot| *slot != Slot::EMPTY) {
            self.put(slot);
        }
    }

    fn put(&mut self, slot: Slot) {
        let mut at = self.home(slot.tag_of());
        while self.slots[at] != Slot::EMPTY {
            at = self.after(at);
        }
        self.slots[at] = slot;
    }

    fn place(&self, spread: u64, number: u32) -> Option<usize> {
        let tag = Slot::tag(spread);
        let wanted = Slot::new(tag, number);
        let mut at = self.home(tag);
        while *self.slots.get(at)? != wanted {
            if self.slots[at] == Slot::EMPTY {
                return None;
            }
            at = self.after(at);
        }
        Some(at)
    }

    /// Where the search for a tag begins: as far along as it is among all tags.
    #[inline]
    const fn home(&self, tag: u32) -> usize {
        ((tag as u64 * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    const fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    const fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u64),
        Remove(usize),
        Renumber(usize),
        Shrink,
    }

    /// Spreads of which many have the same tag or begin at the same place, also at the last one.
    fn spreads() -> impl Strategy<Value = u64> {
        let tag = prop_oneof![Just(0), Just(u32::MAX), 0..4_u32, any::<u32>()];
        (0..3_u64, tag).prop_map(|(upper, tag)| (upper << 32) | u64::from(tag))
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => spreads().prop_map(Step::Insert),
            3 => any::<usize>().prop_map(Step::Remove),
            1 => any::<usize>().prop_map(Step::Renumber),
            1 => Just(Step::Shrink),
        ];
        proptest::collection::vec(step, 1..300)
    }

    proptest! {
        #[test]
        fn every_number_is_found_until_it_is_removed(steps in steps()) {
            let (mut index, mut known, mut next) = (Index::default(), Vec::new(), 0);
            for step in steps {
                next += 1;
                match step {
                    Step::Insert(spread) => {
                        index.insert(spread, next);
                        known.push((spread, next));
                    }
                    Step::Remove(which) if !known.is_empty() => {
                        let (spread, number) = known.swap_remove(which % known.len());
                        index.remove(spread, number);
                        prop_assert_eq!(index.find(spread, |found| found == number), None);
                    }
                    Step::Renumber(which) if !known.is_empty() => {
                        let which = which % known.len();
                        let (spread, number) = known[which];
                        index.renumber(spread, number, next);
                        known[which].1 = next;
                    }
                    Step::Remove(_) | Step::Renumber(_) => {}
                    Step::Shrink => index.shrink_to(0),
                }
                prop_assert_eq!(index.taken, known.len());
                prop_assert!(index.taken * 4 <= index.slots.len() * 3);
                for (spread, number) in &known {
                    prop_assert_eq!(index.find(*spread, |found| found == *number), Some(*number));
                }
            }
        }
    }

    #[test]
    fn nothing_is_found_in_an_index_that_is_empty() {
        let mut index = Index::default();
        assert_eq!(index.find(7, |_| true), None);
        index.remove(7, 0);
        index.renumber(7, 0, 1);
        index.shrink_to(0);
        assert_eq!((index.find(7, |_| true), index.bytes()), (None, 0));
        index.insert(u64::MAX, 0);
        assert_eq!(index.find(u64::MAX, |number| number == 0), Some(0));
        assert_eq!(index.find(u64::MAX >> 32, |number| number == 1), None);
    }
}
