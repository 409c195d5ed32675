//! A write that waits for the lower store.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{Entry, EntryId, Generation, Key, Slot, Store, StoreError, Variant};

#[derive(Debug)]
pub(super) enum Job {
    Put {
        key: Key,
        slot: Slot,
        keep_for: Duration,
        seen: Generation,
    },
    Link {
        key: Key,
        variant: Variant,
        entry: Arc<Entry>,
        most: usize,
        keep_for: Duration,
        seen: Generation,
    },
    Touch {
        key: Key,
        of: EntryId,
        entry: Arc<Entry>,
        keep_for: Duration,
        seen: Generation,
    },
    Release {
        key: Key,
        lease: u64,
    },
}

impl Job {
    /// Writes on one key are made one after the other.
    pub(super) const fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. }
            | Self::Link { key, .. }
            | Self::Touch { key, .. }
            | Self::Release { key, .. } => key,
        }
    }

    /// The memory that it holds while it waits.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Put { slot, .. } => slot.weight(),
            Self::Link { entry, .. } | Self::Touch { entry, .. } => entry.weight(),
            Self::Release { .. } => 0,
        }
    }

    /// Writes; what waited is kept for less, and nothing that has lapsed is written at all.
    pub(super) async fn run<S: Store>(self, store: &S, since: Instant) -> Result<(), StoreError> {
        let left = |keep_for: Duration| {
            let left = keep_for.saturating_sub(since.elapsed());
            (!left.is_zero()).then_some(left)
        };
        match self {
            Self::Put { key, slot, keep_for, seen } => {
                if let Some(keep_for) = left(keep_for) {
                    store.put(&key, slot, keep_for, seen).await?;
                }
            }
            Self::Link { key, variant, entry, most, keep_for, seen } => {
                if let Some(keep_for) = left(keep_for) {
                    store.link(&key, variant, entry, most, keep_for, seen).await?;
                }
            }
            Self::Touch { key, of, entry, keep_for, seen } => {
                if let Some(keep_for) = left(keep_for) {
                    store.touch(&key, of, entry, keep_for, seen).await?;
                }
            }
            Self::Release { key, lease } => store.release(&key, lease).await?,
        }
        Ok(())
    }
}
