//! A store in memory before a slower one.

mod behind;
mod breaker;
mod job;
mod owed;
mod store;
mod work;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use buttress_core::SettingError;

use self::{behind::Behind, work::Work};
use crate::{MemoryStore, Store};

/// A store in memory before a slower one that holds more or that several machines share.
///
/// A lookup asks the memory first. What the lower store has is kept in memory for as long as it is
/// kept below. Writes go to memory at once and to the lower store behind the request's back.
///
/// The lower store can fail or hang without harm. A lookup waits for it no longer than a
/// [deadline](Self::deadline). After some failures in a row it is left out, so that requests do not
/// wait at all, and a task asks once in a while whether it is back. Writes that find no room to wait
/// in are dropped. Purges are not: what the lower store has not heard of is told when it is back, and
/// until then it is not read.
///
/// It needs a tokio runtime with time. Its tasks end when the store and its clones are gone.
///
/// ```
/// use buttress_cache::{MemoryStore, Tiered};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), buttress_cache::SettingError> {
/// # let redis = MemoryStore::new(1 << 20)?;
/// let store = Tiered::new(MemoryStore::new(64 << 20)?, redis)
///     .deadline(Duration::from_millis(10))?;
/// assert!(!store.statistics().is_open);
/// # Ok(())
/// # }
/// ```
///
/// # Several processes
///
/// A purge reaches the memory of the process that makes it and the lower store. A lower store that
/// hears of the purges of others gives them to a clone of the [`MemoryStore`], by
/// [`remove`](Store::remove); without that other processes serve what they have until its time is
/// over.
pub struct Tiered<L> {
    memory: MemoryStore,
    work: Arc<Work<L>>,
    behind: Arc<Behind>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    deadline: Duration,
    write_deadline: Duration,
    failures: u32,
    pause: Duration,
    queue: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(25),
            write_deadline: Duration::from_millis(100),
            failures: 5,
            pause: Duration::from_secs(1),
            queue: 16 << 20,
        }
    }
}

/// How the lower store of a [`Tiered`] has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TieredStatistics {
    /// Lookups that it answered with something.
    pub hits: u64,
    /// Lookups that it answered with nothing.
    pub misses: u64,
    /// What failed or took too long.
    pub failures: u64,
    /// Writes that it never got.
    pub dropped: u64,
    /// Bytes of the writes that wait for it.
    pub waiting: u64,
    /// Purges that it has yet to hear of.
    pub owed: u64,
    /// Whether it is left out for now.
    pub is_open: bool,
}

impl<L: Store> Tiered<L> {
    /// Puts `memory` before `lower`.
    #[must_use]
    pub fn new(memory: MemoryStore, lower: L) -> Self {
        Self {
            memory,
            work: Arc::new(Work::new(lower, Settings::default())),
            behind: Arc::default(),
        }
    }

    /// Sets how long a lookup waits for the lower store; the default is 25 ms.
    ///
    /// # Errors
    ///
    /// Returns an error if it is zero, or if the store is in use already.
    pub fn deadline(self, deadline: Duration) -> Result<Self, SettingError> {
        if deadline.is_zero() {
            return Err(SettingError::new("tiered.deadline", "0s; more than nothing"));
        }
        self.set("tiered.deadline", |settings| settings.deadline = deadline)
    }

    /// Sets how long a write or a purge may take; the default is 100 ms.
    ///
    /// # Errors
    ///
    /// Returns an error if it is zero, or if the store is in use already.
    pub fn write_deadline(self, deadline: Duration) -> Result<Self, SettingError> {
        if deadline.is_zero() {
            return Err(SettingError::new("tiered.write_deadline", "0s; more than nothing"));
        }
        self.set("tiered.write_deadline", |settings| settings.write_deadline = deadline)
    }

    /// Sets after how many failures in a row the lower store is left out, and how often it is asked
    /// whether it is back; the default is 5, and once a second.
    ///
    /// # Errors
    ///
    /// Returns an error if either is zero, or if the store is in use already.
    pub fn breaker(self, failures: u32, pause: Duration) -> Result<Self, SettingError> {
        if failures == 0 || pause.is_zero() {
            let reason = format!("{failures} failures and {pause:?}; at least 1, and some time");
            return Err(SettingError::new("tiered.breaker", reason));
        }
        self.set("tiered.breaker", |settings| {
            settings.failures = failures;
            settings.pause = pause;
        })
    }

    /// Sets how many bytes of writes may wait; the default is 16 MiB. What finds no room is not
    /// written to the lower store.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is in use already.
    pub fn queue(self, bytes: u64) -> Result<Self, SettingError> {
        self.set("tiered.queue", |settings| settings.queue = bytes)
    }

    fn set(
        self,
        name: &'static str,
        change: impl FnOnce(&mut Settings),
    ) -> Result<Self, SettingError> {
        let mut settings = self.work.settings;
        change(&mut settings);
        let Ok(work) = Arc::try_unwrap(self.work) else {
            return Err(SettingError::new(
                name,
                "set too late; before the store is cloned or used",
            ));
        };
        let work = Arc::new(Work::new(work.lower, settings));
        Ok(Self { memory: self.memory, work, behind: self.behind })
    }

    /// How the lower store has done so far. What is in memory the [`MemoryStore`] says.
    #[must_use]
    pub fn statistics(&self) -> TieredStatistics {
        let counts = &self.work.counts;
        TieredStatistics {
            hits: counts.hits.load(Ordering::Relaxed),
            misses: counts.misses.load(Ordering::Relaxed),
            failures: counts.failures.load(Ordering::Relaxed),
            dropped: counts.dropped.load(Ordering::Relaxed),
            waiting: counts.waiting.load(Ordering::Relaxed),
            owed: self.work.owed.len() as u64,
            is_open: self.work.breaker.is_open(),
        }
    }
}

impl<L> Clone for Tiered<L> {
    fn clone(&self) -> Self {
        Self {
            memory: self.memory.clone(),
            work: Arc::clone(&self.work),
            behind: Arc::clone(&self.behind),
        }
    }
}

impl<L> fmt::Debug for Tiered<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tiered")
            .field("memory", &self.memory)
            .field("settings", &self.work.settings)
            .field("is_open", &self.work.breaker.is_open())
            .finish_non_exhaustive()
    }
}
