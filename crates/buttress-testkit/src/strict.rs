//! A service that minds its readiness, and the handle with which a test steers and watches it.
//!
//! [`Strict`] goes around any service. It passes readiness, calls, answers and errors through, and
//! enforces what `tower_service::Service` only asks for in words:
//!
//! - `call` must follow a `poll_ready` that said `Ready(Ok(()))` on that very instance;
//! - a clone starts unready;
//! - one `call` uses the readiness up;
//! - a response future is not polled again once it has given its output.
//!
//! A breach panics with a sentence that says which instance did what, and is also kept for
//! [`Handle::violations`], since a panic in a spawned task may be seen by nobody.

mod future;
mod handle;
mod replies;
mod state;

pub use self::future::ResponseFuture;
pub use self::handle::Handle;
pub use self::replies::Replies;
pub use self::state::{Planted, Violation};

use self::state::{Readiness, Shared};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// Wraps a service and enforces the rules of readiness; see the [module](self).
///
/// `E` is the error of the wrapped service, which the [`Handle`] needs to plant failures.
pub struct Strict<S, E = Planted> {
    inner: S,
    instance: u64,
    cloned_from: Option<u64>,
    readiness: Readiness,
    shared: Arc<Shared<E>>,
}

impl<S, E> Strict<S, E> {
    /// Wraps `inner` and returns the handle that watches it and every clone of it.
    pub fn new(inner: S) -> (Self, Handle<E>) {
        let shared = Arc::new(Shared::default());
        let instance = shared.lock().born();
        let handle = Handle::new(Arc::clone(&shared));
        let service =
            Self { inner, instance, cloned_from: None, readiness: Readiness::Never, shared };
        (service, handle)
    }

    /// Returns the wrapped service.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn unready(&self) -> Violation {
        Violation::CalledUnready {
            instance: self.instance,
            cloned_from: self.cloned_from,
            because: self.readiness.because(),
        }
    }
}

impl<S, E, Req> Service<Req> for Strict<S, E>
where
    S: Service<Req, Error = E>,
{
    type Response = S::Response;
    type Error = E;
    type Future = ResponseFuture<S::Future, E>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        let scripted = self.shared.lock().poll_ready(self.instance, self.readiness, cx);
        if scripted.is_pending() {
            self.readiness = Readiness::Pending;
        }
        if let Err(error) = ready!(scripted) {
            self.readiness = Readiness::Failed;
            return Poll::Ready(Err(error));
        }
        if self.readiness == Readiness::Ready {
            return Poll::Ready(Ok(()));
        }
        let polled = self.inner.poll_ready(cx);
        self.readiness = match polled {
            Poll::Pending => Readiness::Pending,
            Poll::Ready(Ok(())) => Readiness::Ready,
            Poll::Ready(Err(_)) => Readiness::Failed,
        };
        polled
    }

    /// Calls the wrapped service.
    ///
    /// # Panics
    ///
    /// Panics when this instance is not ready.
    fn call(&mut self, request: Req) -> Self::Future {
        if self.readiness != Readiness::Ready {
            self.shared.breach(self.unready());
        }
        self.readiness = Readiness::Spent;
        let flight = future::Flight::start(&self.shared);
        ResponseFuture::new(self.inner.call(request), flight)
    }
}

impl<S: Clone, E> Clone for Strict<S, E> {
    /// Clones the service; the clone is unready, whatever the state of the original.
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            instance: self.shared.lock().born(),
            cloned_from: Some(self.instance),
            readiness: Readiness::Never,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S, E> Drop for Strict<S, E> {
    fn drop(&mut self) {
        self.shared.lock().died(self.instance);
    }
}

impl<S: fmt::Debug, E> fmt::Debug for Strict<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strict")
            .field("inner", &self.inner)
            .field("instance", &self.instance)
            .field("cloned_from", &self.cloned_from)
            .field("readiness", &self.readiness)
            .finish_non_exhaustive()
    }
}
