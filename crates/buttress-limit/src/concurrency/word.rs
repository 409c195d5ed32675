//! What a gate is in one word: the limit, what is in flight, and whether anyone waits.

/// A bit that says that someone waits, between 32 bits for what is in flight and 31 for the limit.
const WAITING: u64 = 1 << 32;
const LIMIT_SHIFT: u32 = 33;
const IN_FLIGHT: u64 = WAITING - 1;

/// The highest limit that there is room for.
pub(super) const MOST: u32 = (1 << 31) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    pub(super) const fn new(limit: u32) -> Self {
        Self((limit as u64) << LIMIT_SHIFT)
    }

    pub(super) const fn limit(self) -> u32 {
        (self.0 >> LIMIT_SHIFT) as u32
    }

    pub(super) const fn in_flight(self) -> u32 {
        (self.0 & IN_FLIGHT) as u32
    }

    /// Whether someone waits, so that a place that becomes free has an owner already.
    pub(super) const fn has_waiting(self) -> bool {
        self.0 & WAITING != 0
    }

    pub(super) const fn entered(self) -> Self {
        Self(self.0 + 1)
    }

    pub(super) const fn waiting(self) -> Self {
        Self(self.0 | WAITING)
    }

    pub(super) const fn nobody_waiting(self) -> Self {
        Self(self.0 & !WAITING)
    }

    pub(super) const fn limited(self, limit: u32) -> Self {
        Self((self.0 & (IN_FLIGHT | WAITING)) | ((limit as u64) << LIMIT_SHIFT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_do_not_touch_each_other() {
        let word = Word::new(MOST).entered().entered().waiting();
        assert_eq!((word.limit(), word.in_flight(), word.has_waiting()), (MOST, 2, true));
        let word = word.limited(1).nobody_waiting();
        assert_eq!((word.limit(), word.in_flight(), word.has_waiting()), (1, 2, false));
    }
}
