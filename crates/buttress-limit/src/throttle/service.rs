//! The service: it asks whether a call is to be sent.

use std::{
    fmt,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::Classify;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    Observer, ResponseBody, ResponseFuture, Throttled, Throttling,
    judge::Judge,
    layer::{KeyOf, Manner},
};
use crate::overload::{Deliver, Head};

/// Sends fewer calls to a side that mostly says that it is busy. Made by
/// [`ThrottleLayer`](super::ThrottleLayer).
///
/// It is ready when the inner service is.
pub struct Throttle<S, K, A, C, O> {
    inner: S,
    throttling: Throttling<K>,
    key: KeyOf<K>,
    manner: Manner<A, C, O>,
}

impl<S, K, A, C, O> Throttle<S, K, A, C, O> {
    pub(super) const fn new(
        inner: S,
        throttling: Throttling<K>,
        key: KeyOf<K>,
        manner: Manner<A, C, O>,
    ) -> Self {
        Self { inner, throttling, key, manner }
    }

    /// What is known of the other side.
    #[must_use]
    pub const fn throttling(&self) -> &Throttling<K> {
        &self.throttling
    }
}

impl<S, K, A, C, O, B, RB> Service<Request<B>> for Throttle<S, K, A, C, O>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    K: Hash + Eq + Clone,
    A: Deliver<Throttled, S::Error, RB>,
    C: Classify<Response<RB>> + Clone,
    O: Observer,
    RB: Body,
{
    type Response = Response<ResponseBody<RB, C, O>>;
    type Error = A::Error;
    type Future = ResponseFuture<S::Future, A, C, O, RB, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(|error| A::pass(error, |_| {}))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let head = Head::of(&request);
        let clock = self.throttling.clock();
        let meter = self.throttling.meter(&(self.key)(head));
        let asked = meter.map(|meter| (meter.ask(|| clock.now(), fastrand::f64), meter));
        let Manner { refuse, classify, observer, timeouts, enforce } = &self.manner;
        let judge = match asked {
            // Nothing is counted, or there is no room to count calls of this key.
            None => None,
            Some((Ok(in_flight), meter)) => {
                let manner = (classify.clone(), observer.clone(), *timeouts);
                Some(Judge::new((meter, in_flight), clock, manner))
            }
            Some((Err(refused), _)) => {
                let after = Duration::from_micros(refused.retry_after);
                let refused = Throttled::new(refused.share, after);
                observer.refused(&refused);
                if enforce.draw() {
                    // What the inner service had set apart for this call is let go.
                    self.inner = self.inner.clone();
                    return ResponseFuture::refused(refuse.deliver(refused, head));
                }
                // Had it been refused there would be no answer to count.
                None
            }
        };
        ResponseFuture::sent(self.inner.call(request), judge)
    }
}

impl<S: Clone, K, A: Clone, C: Clone, O: Clone> Clone for Throttle<S, K, A, C, O> {
    fn clone(&self) -> Self {
        let (throttling, key) = (self.throttling.clone(), Arc::clone(&self.key));
        Self { inner: self.inner.clone(), throttling, key, manner: self.manner.clone() }
    }
}

impl<S, K, A, C, O> fmt::Debug for Throttle<S, K, A, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("throttling", &self.throttling).finish_non_exhaustive()
    }
}
