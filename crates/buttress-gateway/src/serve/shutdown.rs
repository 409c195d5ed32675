//! The end: what is under way is finished, for a while.

use std::{io, time::Duration};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The two ways to end a server, and the tasks it must wait for.
///
/// A handle: clones mean the same server.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

/// How a server ended.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything that was under way was finished.
    Clean,
    /// The drain timeout passed, and what was left was cut off.
    TimedOut,
    /// Somebody asked a second time, and what was left was cut off.
    Aborted,
}

impl Shutdown {
    /// Nothing has been asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops accepting connections and finishes what is under way. A second call changes nothing.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Cuts everything off.
    pub fn abort(&self) {
        self.abort.cancel();
        self.drain.cancel();
    }

    /// Drains at the first SIGINT (`Ctrl-C`) or SIGTERM, aborts at the second.
    ///
    /// # Errors
    ///
    /// If the signals cannot be listened to.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut signals = Signals::new()?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            let first = signals.next().await;
            tracing::info!(signal = first, "draining");
            shutdown.drain();
            let second = signals.next().await;
            tracing::warn!(signal = second, "exiting at once");
            shutdown.abort();
        });
        Ok(())
    }

    /// Resolves when it is time to finish.
    pub(crate) async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Runs a task that a drain waits for and an abort drops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let abort = self.abort.clone();
        self.tasks.spawn(async move {
            abort.run_until_cancelled(task).await;
        });
    }

    /// Waits for the tasks, at most for `limit`, and then cuts them off.
    pub(crate) async fn wait(&self, limit: Duration) -> Drained {
        self.tasks.close();
        let finished = self.abort.run_until_cancelled(timeout(limit, self.tasks.wait())).await;
        let drained = match finished {
            Some(Ok(())) if !self.abort.is_cancelled() => return Drained::Clean,
            Some(Ok(())) => return Drained::Aborted,
            Some(Err(_)) => Drained::TimedOut,
            None => Drained::Aborted,
        };
        let left = self.tasks.len();
        tracing::warn!(connections = left, "cutting off what is still under way");
        self.abort();
        // Dropping a task takes no time, so this wait is short.
        self.tasks.wait().await;
        drained
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_what_is_under_way() {
        let shutdown = Shutdown::new();
        shutdown.spawn(tokio::time::sleep(Duration::from_secs(9)));
        shutdown.drain();
        let begun = tokio::time::Instant::now();
        assert_eq!(shutdown.wait(Duration::from_secs(30)).await, Drained::Clean);
        assert_eq!(begun.elapsed(), Duration::from_secs(9));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_with_its_timeout() {
        let shutdown = Shutdown::new();
        shutdown.spawn(std::future::pending());
        assert_eq!(shutdown.wait(Duration::from_secs(30)).await, Drained::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn an_abort_ends_a_drain_at_once() {
        let shutdown = Shutdown::new();
        shutdown.spawn(std::future::pending());
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.wait(Duration::from_secs(30)).await }
        });
        tokio::task::yield_now().await;
        shutdown.abort();
        let begun = tokio::time::Instant::now();
        assert_eq!(waiting.await.unwrap(), Drained::Aborted);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
