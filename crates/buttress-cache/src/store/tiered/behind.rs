//! The tasks that work behind the requests' backs, and end with the store.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    runtime::Handle,
    sync::mpsc::{Receiver, Sender, channel},
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use super::{
    job::Job,
    work::{Work, count},
};
use crate::{Key, Store};

/// How many writes are under way at the same time.
const LANES: usize = 4;
/// How many wait for each; the bytes that they hold are bounded apart.
const WAITING: usize = 1024;

/// A write that waits, since when, and the room that it takes.
struct Queued {
    job: Job,
    since: Instant,
    room: Room,
}

/// Room among the writes that wait, given back when this is dropped.
struct Room {
    waiting: Arc<AtomicU64>,
    weight: u64,
}

impl Room {
    fn take(waiting: &Arc<AtomicU64>, weight: u64, most: u64) -> Option<Self> {
        let before = waiting.fetch_add(weight, Ordering::Relaxed);
        let room = Self { waiting: Arc::clone(waiting), weight };
        (before.saturating_add(weight) <= most).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.weight, Ordering::Relaxed);
    }
}

/// Tasks that end with this.
#[derive(Debug, Default)]
pub(super) struct Behind(Mutex<Tasks>);

#[derive(Debug, Default)]
struct Tasks {
    /// Aborted when they are dropped.
    all: JoinSet<()>,
    lanes: [Option<Sender<Queued>>; LANES],
    recovery: Option<AbortHandle>,
}

impl Behind {
    /// Queues a write, and says whether there was room.
    pub(super) fn write<L: Store>(&self, work: &Arc<Work<L>>, job: Job) -> bool {
        let room = Room::take(&work.counts.waiting, job.weight(), work.settings.queue);
        let queued = !work.breaker.is_open() && room.is_some_and(|room| self.send(work, job, room));
        if !queued {
            count(&work.counts.dropped);
        }
        queued
    }

    fn send<L: Store>(&self, work: &Arc<Work<L>>, job: Job, room: Room) -> bool {
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = usize::from(job.key().as_bytes()[0]) % LANES;
        // A lane is gone if the runtime is that it ran on.
        let sender = match &tasks.lanes[lane] {
            Some(sender) if !sender.is_closed() => sender.clone(),
            _ => {
                let (sender, jobs) = channel(WAITING);
                tasks.all.spawn_on(run(Arc::clone(work), jobs), &runtime);
                tasks.lanes[lane] = Some(sender.clone());
                sender
            }
        };
        sender.try_send(Queued { job, since: Instant::now(), room }).is_ok()
    }

    /// Sees to it that somebody asks whether the lower store is back.
    pub(super) fn recover<L: Store>(&self, work: &Arc<Work<L>>, key: Key) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.recovery.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        while tasks.all.try_join_next().is_some() {}
        let work = Arc::clone(work);
        let task = tasks.all.spawn_on(async move { work.recover(key).await }, &runtime);
        tasks.recovery = Some(task);
    }
}

async fn run<L: Store>(work: Arc<Work<L>>, mut jobs: Receiver<Queued>) {
    while let Some(Queued { job, since, room }) = jobs.recv().await {
        work.write(job, since).await;
        drop(room);
    }
}
