//! Polling by hand: wakers that remember, and panics turned into failures.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// How many turns every other task gets before the suite looks at what they did.
const TURNS: usize = 64;

/// A task's waker that remembers whether it was woken.
pub(super) struct Probe {
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Probe {
    pub(super) fn new() -> Self {
        Self { woken: Arc::new(Woken(AtomicBool::new(false))) }
    }

    pub(super) fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.woken));
        future.poll(&mut Context::from_waker(&waker))
    }

    /// Returns whether the task was woken since this was last asked.
    pub(super) fn take_woken(&self) -> bool {
        self.woken.0.swap(false, Ordering::AcqRel)
    }
}

/// Lets all tasks that can run do so, without letting time pass.
pub(super) async fn settle() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

/// Drives `check`, and makes a panic in it a failure.
pub(super) async fn unwound(
    mut check: Pin<Box<dyn Future<Output = Result<(), String>> + '_>>,
) -> Result<(), String> {
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| check.as_mut().poll(cx)));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(words(&*panic))))
    })
    .await
}

fn words(panic: &(dyn Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    literal
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
