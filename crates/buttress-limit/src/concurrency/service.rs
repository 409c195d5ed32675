//! The service: it asks for a place, and hands the call to the future.

use std::{
    fmt,
    hash::Hash,
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::Classify;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    Concurrency, Mode, Observer, Overloaded, Permit, Priority, ResponseBody, ResponseFuture,
    layer::{Manner, Rules},
    place::{Begun, Waiting},
};
use crate::overload::{Deliver, Head};

/// Limits how many calls are under way. Made by
/// [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer).
///
/// Where calls wait in line it is always ready, and asks the inner service once a call has its
/// place; else it is ready when the inner service is.
pub struct ConcurrencyLimit<S, K, A, C, O> {
    inner: S,
    limit: Concurrency<K>,
    rules: Rules<K>,
    manner: Manner<A, C, O>,
}

impl<S, K, A, C, O> ConcurrencyLimit<S, K, A, C, O> {
    pub(super) const fn new(
        inner: S,
        limit: Concurrency<K>,
        rules: Rules<K>,
        manner: Manner<A, C, O>,
    ) -> Self {
        Self { inner, limit, rules, manner }
    }

    /// The limit that calls are counted against.
    #[must_use]
    pub const fn limit(&self) -> &Concurrency<K> {
        &self.limit
    }

    fn begin<B>(&self, request: &Request<B>) -> Asked
    where
        K: Hash + Eq + Clone,
    {
        let head = Head::of(request);
        let priority = self.rules.priority.as_ref().map_or(Priority::FIRST, |of| of(head));
        // Whoever would not be refused in the end does not wait either.
        let enforced = self.rules.enforce.draw();
        let mode = match self.rules.mode {
            Mode::Wait(_) if !enforced => Mode::Reject,
            mode => mode,
        };
        match self.limit.begin(&(self.rules.key)(head), mode, priority) {
            Begun::Refused(refused) if !enforced => Asked::Unpermitted(refused),
            Begun::Refused(refused) => Asked::Refused(refused),
            Begun::Admitted(permit) => Asked::Admitted(permit),
            Begun::Waiting(waiting) => Asked::Waiting(waiting),
        }
    }
}

impl<S, K, A, C, O, B, RB> Service<Request<B>> for ConcurrencyLimit<S, K, A, C, O>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    K: Hash + Eq + Clone,
    A: Deliver<Overloaded, S::Error, RB> + Clone,
    C: Classify<Response<RB>> + Clone,
    O: Observer,
    RB: Body,
{
    type Response = Response<ResponseBody<RB, C, O>>;
    type Error = A::Error;
    type Future = ResponseFuture<S, B, S::Future, A, C, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Mode::Wait(_) = self.rules.mode {
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_ready(cx).map_err(|error| A::pass(error, |_| {}))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let asked = self.begin(&request);
        let manner = self.manner.clone();
        let permit = match asked {
            Asked::Admitted(permit) => {
                manner.observer.admitted(Duration::ZERO);
                Some(permit)
            }
            Asked::Unpermitted(refused) => {
                manner.observer.refused(&refused);
                None
            }
            Asked::Waiting(waiting) => {
                manner.observer.queued();
                return ResponseFuture::waiting(waiting, self.take(), request, manner);
            }
            Asked::Refused(refused) => {
                // What the inner service had set apart for this call is let go.
                drop(self.take());
                return ResponseFuture::refused(refused, request, manner);
            }
        };
        if let Mode::Wait(_) = self.rules.mode {
            return ResponseFuture::readying(permit, self.take(), request, manner);
        }
        let connect = request.method() == Method::CONNECT;
        ResponseFuture::called(permit, self.inner.call(request), connect, manner)
    }
}

/// What came of asking to be let in.
enum Asked {
    Admitted(Permit),
    Waiting(Pin<Box<Waiting>>),
    Refused(Overloaded),
    /// Refused, and let through all the same.
    Unpermitted(Overloaded),
}

impl<S: Clone, K, A, C, O> ConcurrencyLimit<S, K, A, C, O> {
    /// The instance that was polled; a clone of it stays.
    fn take(&mut self) -> S {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

impl<S: Clone, K, A: Clone, C: Clone, O: Clone> Clone for ConcurrencyLimit<S, K, A, C, O> {
    fn clone(&self) -> Self {
        let (limit, rules) = (self.limit.clone(), self.rules.clone());
        Self { inner: self.inner.clone(), limit, rules, manner: self.manner.clone() }
    }
}

impl<S, K, A, C, O> fmt::Debug for ConcurrencyLimit<S, K, A, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit").field("limit", &self.limit).finish_non_exhaustive()
    }
}
