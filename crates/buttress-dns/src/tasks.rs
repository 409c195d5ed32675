//! The tasks of a handle. None outlives it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{runtime::Handle, task::AbortHandle};

/// The tasks that are under way; bounded by whoever spawns them.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    next: AtomicU64,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    closed: bool,
    tasks: HashMap<u64, Option<AbortHandle>>,
}

impl Tasks {
    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs `work` on `runtime`. It is dropped instead if the tasks have been closed, or if the
    /// runtime is going down.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        runtime: &Handle,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.next_id();
        {
            let mut running = self.lock();
            if running.closed {
                return;
            }
            running.tasks.insert(id, None);
        }
        let done = Done { tasks: Arc::clone(self), id };
        // Not under the lock: a runtime that is going down drops the work right here.
        let task = runtime.spawn(async move {
            let _done = done;
            work.await;
        });
        let mut running = self.lock();
        if running.closed {
            task.abort();
        } else if let Some(slot) = running.tasks.get_mut(&id) {
            *slot = Some(task.abort_handle());
        }
    }

    /// Ends all tasks, and those that are spawned from now on.
    pub(crate) fn close(&self) {
        let tasks = {
            let mut running = self.lock();
            running.closed = true;
            std::mem::take(&mut running.tasks)
        };
        for task in tasks.into_values().flatten() {
            task.abort();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().tasks.len()
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Strikes a task off, however it ends.
struct Done {
    tasks: Arc<Tasks>,
    id: u64,
}

impl Drop for Done {
    fn drop(&mut self) {
        self.tasks.lock().tasks.remove(&self.id);
    }
}
