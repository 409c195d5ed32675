//! What was learnt of a key a moment ago.

use std::{
    collections::HashMap,
    hash::BuildHasherDefault,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::KeyHasher;
use crate::Key;

/// Keys that are marked for a while; a bounded number of them.
#[derive(Debug)]
pub(crate) struct Marks {
    until: Mutex<HashMap<Key, Instant, BuildHasherDefault<KeyHasher>>>,
    most: usize,
}

impl Marks {
    pub(crate) fn new(most: usize) -> Self {
        Self { until: Mutex::default(), most }
    }

    /// Marks a key for `time` from now.
    pub(crate) fn set(&self, key: &Key, time: Duration) {
        let now = Instant::now();
        let Some(until) = now.checked_add(time).filter(|until| *until > now) else { return };
        let mut marks = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() >= self.most && !marks.contains_key(key) {
            marks.retain(|_, until| *until > now);
            if marks.len() >= self.most {
                // A mark saves a wait and no more, so losing some costs little.
                let mut keep = false;
                marks.retain(|_, _| {
                    keep = !keep;
                    keep
                });
            }
        }
        marks.insert(*key, until);
    }

    /// Whether a key is marked.
    pub(crate) fn has(&self, key: &Key) -> bool {
        let mut marks = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = marks.get(key) else { return false };
        if *until > Instant::now() {
            return true;
        }
        marks.remove(key);
        false
    }

    pub(crate) fn clear(&self, key: &Key) {
        let mut marks = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if !marks.is_empty() {
            marks.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u16) -> Key {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_le_bytes());
        Key::from_bytes(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_wears_off() {
        let marks = Marks::new(10);
        marks.set(&key(1), Duration::from_secs(10));
        assert!(marks.has(&key(1)) && !marks.has(&key(2)));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!marks.has(&key(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_than_allowed() {
        let marks = Marks::new(10);
        for number in 0..1000 {
            marks.set(&key(number), Duration::from_secs(10));
            assert!(marks.has(&key(number)));
            assert!(marks.until.lock().unwrap().len() <= 10);
        }
    }
}
