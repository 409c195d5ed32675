use super::state::{Shared, Violation};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pin_project! {
    /// The response future of a strict service.
    ///
    /// It waits while the handle holds it, then drives the wrapped future. Dropped before its
    /// output, it counts as dropped.
    pub struct ResponseFuture<F, E> {
        #[pin]
        inner: F,
        flight: Flight<E>,
    }
}

impl<F, E> ResponseFuture<F, E> {
    pub(super) fn new(inner: F, flight: Flight<E>) -> Self {
        Self { inner, flight }
    }
}

impl<F, T, E> Future for ResponseFuture<F, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        ready!(this.flight.poll_go(cx));
        let output = ready!(this.inner.poll(cx));
        Poll::Ready(match this.flight.complete() {
            Some(planted) => Err(planted),
            None => output,
        })
    }
}

impl<F, E> fmt::Debug for ResponseFuture<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("call", &self.flight.call).finish_non_exhaustive()
    }
}

/// The entry of one call in the books of the handle; dropping it closes the entry.
pub(super) struct Flight<E> {
    call: u64,
    complete: bool,
    failure: Option<E>,
    shared: Arc<Shared<E>>,
}

impl<E> Flight<E> {
    pub(super) fn start(shared: &Arc<Shared<E>>) -> Self {
        let (call, failure) = shared.lock().start();
        Self { call, complete: false, failure, shared: Arc::clone(shared) }
    }

    fn poll_go(&self, cx: &Context<'_>) -> Poll<()> {
        if self.complete {
            self.shared.breach(Violation::PolledAfterCompletion { call: self.call });
        }
        self.shared.lock().poll_call(self.call, cx)
    }

    fn complete(&mut self) -> Option<E> {
        self.complete = true;
        let mut state = self.shared.lock();
        state.in_flight.remove(&self.call);
        state.completed += 1;
        self.failure.take()
    }
}

impl<E> Drop for Flight<E> {
    fn drop(&mut self) {
        if self.complete {
            return;
        }
        let mut state = self.shared.lock();
        state.in_flight.remove(&self.call);
        state.dropped += 1;
    }
}
