//! What is done with the lower store, each thing within its time.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use super::{Settings, breaker::Breaker, job::Job, owed::Owed};
use crate::{Generation, Key, Lookup, Purge, Removal, Store, StoreError};

/// The lower store, and what is known of it.
#[derive(Debug)]
pub(super) struct Work<L> {
    pub(super) lower: L,
    pub(super) settings: Settings,
    pub(super) breaker: Breaker,
    pub(super) owed: Owed,
    /// Where the lower store stood when it was last looked at.
    known: AtomicU64,
    pub(super) counts: Counts,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// Bytes of the writes that wait.
    pub(super) waiting: Arc<AtomicU64>,
}

pub(super) fn count(number: &AtomicU64) {
    number.fetch_add(1, Ordering::Relaxed);
}

impl<L: Store> Work<L> {
    pub(super) fn new(lower: L, settings: Settings) -> Self {
        Self {
            lower,
            settings,
            breaker: Breaker::new(settings.failures),
            owed: Owed::default(),
            known: AtomicU64::new(0),
            counts: Counts::default(),
        }
    }

    /// Where the lower store stood at some moment before now, which is what a write needs.
    pub(super) fn known(&self) -> Generation {
        Generation::new(self.known.load(Ordering::Acquire))
    }

    /// Looks a key up, unless that fails or takes too long.
    pub(super) async fn get(&self, key: &Key) -> Option<Lookup> {
        let lookup = self.within(self.settings.deadline, self.lower.get(key)).await?;
        self.known.store(lookup.generation.number(), Ordering::Release);
        count(if lookup.slot.is_some() { &self.counts.hits } else { &self.counts.misses });
        Some(lookup)
    }

    /// Purges, or owes the purge.
    pub(super) async fn remove(&self, what: &Purge, removal: Removal) -> Option<u64> {
        // Owed until it is done: a caller that goes away in between must not leave it undone.
        let owing = Owing { work: self, purge: Some((what.clone(), removal)) };
        if self.breaker.is_open() {
            return None;
        }
        let time = self.settings.write_deadline;
        let removed = self.within(time, self.lower.remove(what, removal)).await?;
        owing.done();
        Some(removed)
    }

    /// Writes what waited, if there is any use in that.
    pub(super) async fn write(&self, job: Job, since: Instant) {
        let time = self.settings.write_deadline;
        if self.breaker.is_open() || self.within(time, job.run(&self.lower, since)).await.is_none()
        {
            count(&self.counts.dropped);
        }
    }

    /// The answer to what is asked of the lower store, if it comes in time; and the breaker hears of
    /// it.
    pub(super) async fn within<T>(
        &self,
        time: Duration,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<T> {
        let reason = match timeout(time, answer).await {
            Ok(Ok(answer)) => {
                self.breaker.succeeded();
                return Some(answer);
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        count(&self.counts.failures);
        if self.breaker.failed() {
            let reason = reason.map(buttress_core::BoxError::from);
            tracing::warn!(reason, "the lower store of a cache is left out until it answers");
        }
        None
    }

    /// Asks from time to time whether the lower store is back, and tells it what it missed.
    pub(super) async fn recover(&self, key: Key) {
        loop {
            sleep(self.settings.pause).await;
            if self.tell_owed().await && self.answers(&key).await && self.owed.settle(&self.breaker)
            {
                tracing::info!("the lower store of a cache is back");
                return;
            }
        }
    }

    async fn answers(&self, key: &Key) -> bool {
        self.get(key).await.is_some()
    }

    async fn tell_owed(&self) -> bool {
        let mut telling = Telling { owed: &self.owed, purges: self.owed.take() };
        while let Some((what, removal)) = telling.purges.first() {
            let told = self.lower.remove(what, *removal);
            if self.within(self.settings.write_deadline, told).await.is_none() {
                return false;
            }
            telling.purges.remove(0);
        }
        true
    }
}

/// A purge that is owed unless it is done.
struct Owing<'a, L> {
    work: &'a Work<L>,
    purge: Option<(Purge, Removal)>,
}

impl<L> Owing<'_, L> {
    fn done(mut self) {
        self.purge = None;
    }
}

impl<L> Drop for Owing<'_, L> {
    fn drop(&mut self) {
        if let Some((what, removal)) = self.purge.take() {
            self.work.owed.push(what, removal, &self.work.breaker);
        }
    }
}

/// Purges that are being told; what is left of them is owed again.
struct Telling<'a> {
    owed: &'a Owed,
    purges: Vec<(Purge, Removal)>,
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if !self.purges.is_empty() {
            self.owed.give_back(std::mem::take(&mut self.purges));
        }
    }
}
