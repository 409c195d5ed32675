//! Purges that the lower store has yet to hear of.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::breaker::Breaker;
use crate::{Purge, Removal};

/// More are replaced by one of everything.
const MOST: usize = 1024;

/// Purges that the lower store has yet to hear of. While there are any it is not read.
#[derive(Debug, Default)]
pub(super) struct Owed(Mutex<Vec<(Purge, Removal)>>);

impl Owed {
    /// Adds a purge, and opens the breaker in the same step, so that nobody reads in between.
    pub(super) fn push(&self, what: Purge, removal: Removal, breaker: &Breaker) {
        let mut owed = self.lock();
        if owed.len() < MOST {
            owed.push((what, removal));
        } else {
            *owed = vec![(Purge::All, Removal::Hard)];
        }
        breaker.trip();
    }

    pub(super) fn take(&self) -> Vec<(Purge, Removal)> {
        mem::take(&mut *self.lock())
    }

    /// Gives back what could not be told, before what came meanwhile.
    pub(super) fn give_back(&self, untold: Vec<(Purge, Removal)>) {
        let mut owed = self.lock();
        let later = mem::replace(&mut *owed, untold);
        owed.extend(later);
        if owed.len() > MOST {
            *owed = vec![(Purge::All, Removal::Hard)];
        }
    }

    /// Closes the breaker if nothing is owed, and says whether it did.
    pub(super) fn settle(&self, breaker: &Breaker) -> bool {
        let owed = self.lock();
        let settled = owed.is_empty();
        if settled {
            breaker.close();
        }
        settled
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Purge, Removal)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    fn purge(number: u8) -> (Purge, Removal) {
        (Purge::Key(Key::from_bytes([number; 32])), Removal::Hard)
    }

    #[test]
    fn what_could_not_be_told_comes_before_what_came_later() {
        let (owed, breaker) = (Owed::default(), Breaker::new(1));
        for number in [1, 2] {
            owed.push(purge(number).0, Removal::Hard, &breaker);
        }
        let mut taken = owed.take();
        owed.push(purge(3).0, Removal::Hard, &breaker);
        taken.remove(0);
        owed.give_back(taken);
        assert!(!owed.settle(&breaker) && breaker.is_open());
        assert_eq!(owed.take(), [purge(2), purge(3)]);
        assert!(owed.settle(&breaker) && !breaker.is_open());
    }

    #[test]
    fn too_many_become_one_of_everything() {
        let (owed, breaker) = (Owed::default(), Breaker::new(1));
        for _ in 0..=MOST {
            owed.push(purge(1).0, Removal::Soft, &breaker);
        }
        assert_eq!(owed.take(), [(Purge::All, Removal::Hard)]);
        owed.give_back(vec![purge(1); MOST + 1]);
        assert_eq!(owed.take(), [(Purge::All, Removal::Hard)]);
    }
}
