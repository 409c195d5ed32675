//! One waker for many.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Wake, Waker},
};

/// Wakes all who wait for the next piece of a body. Whoever of them comes first polls for it.
#[derive(Debug, Default)]
pub(super) struct Wakers(Mutex<Vec<Option<Waker>>>);

impl Wakers {
    /// Notes the waker of the reader in place `slot`.
    pub(super) fn register(&self, slot: usize, waker: &Waker) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if wakers.len() <= slot {
            wakers.resize(slot + 1, None);
        }
        match &mut wakers[slot] {
            Some(old) => old.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
    }

    /// Forgets the waker of a reader that is gone.
    pub(super) fn forget(&self, slot: usize) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = wakers.get_mut(slot) {
            *place = None;
        }
    }

    /// Wakes all but the reader in place `slot`, who is running.
    pub(super) fn wake_others(&self, slot: usize) {
        self.forget(slot);
        self.wake_all();
    }

    pub(super) fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}
