//! Telling the observer, once, how a call ended.

use crate::{Cancelled, Done, Ending, Observer};

/// Tells the observer once how the call ended, also if it is dropped.
#[derive(Debug)]
pub(crate) struct Watch<O: Observer> {
    pub(crate) observer: O,
    /// How many attempts have begun.
    pub(crate) attempts: u32,
    open: bool,
}

impl<O: Observer> Watch<O> {
    pub(crate) const fn new(observer: O) -> Self {
        Self { observer, attempts: 1, open: true }
    }

    pub(crate) fn done(&mut self, ending: Ending) {
        self.open = false;
        self.observer.done(&Done { attempts: self.attempts, ending });
    }
}

impl<O: Observer> Drop for Watch<O> {
    fn drop(&mut self) {
        if self.open {
            self.observer.cancelled(&Cancelled { attempts: self.attempts });
        }
    }
}
