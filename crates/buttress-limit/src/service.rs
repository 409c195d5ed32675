//! The service: it asks the limiter and hands the call to the future.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    answer::{Respond, keyless},
    body::ResponseBody,
    follow::Follow,
    future::{Held, ResponseFuture},
    head::Head,
    layer::Settings,
    limiter::{Ask, Limiter},
    observer::Observer,
    rules::Question,
};

/// Lets a request pass if its key's quota allows it. Made by
/// [`RateLimitLayer`](crate::RateLimitLayer).
///
/// Where requests may wait it is always ready, and asks the inner service to become ready once a
/// request is admitted.
pub struct RateLimit<S, L, R, O> {
    inner: S,
    limiter: L,
    settings: Arc<Settings<R, O>>,
    /// Whether the inner service is asked to become ready only when a request is admitted.
    lazy: bool,
}

impl<S, L: Limiter, R, O> RateLimit<S, L, R, O> {
    pub(crate) fn new(inner: S, limiter: L, settings: Arc<Settings<R, O>>) -> Self {
        let lazy = settings.rules.wait.is_some() || !limiter.decides_at_once();
        Self { inner, limiter, settings, lazy }
    }

    /// The limiter that decides.
    #[must_use]
    pub const fn limiter(&self) -> &L {
        &self.limiter
    }
}

impl<S: Clone, L: Clone, R, O> Clone for RateLimit<S, L, R, O> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limiter: self.limiter.clone(),
            settings: Arc::clone(&self.settings),
            lazy: self.lazy,
        }
    }
}

impl<S: fmt::Debug, L: fmt::Debug, R, O> fmt::Debug for RateLimit<S, L, R, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}

impl<S, L, R, O, B, RB> Service<Request<B>> for RateLimit<S, L, R, O>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    L: Limiter + Send + Sync + 'static,
    R: Respond<RB>,
    O: Observer + Send + Sync + 'static,
    RB: Body,
    RB::Data: From<Bytes>,
{
    type Response = Response<ResponseBody<RB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, RB, L, R, O, S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if !self.lazy {
            ready!(self.inner.poll_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let head = Head::of(&request);
        let ask = match self.settings.rules.question(&head) {
            Question::Exempt if self.lazy => return self.hold(request, None),
            Question::Exempt => return ResponseFuture::called(self.inner.call(request), None),
            Question::Keyless(status) => return ResponseFuture::answered(keyless(status, &head)),
            Question::Ask(ask) => ask,
        };
        if self.lazy {
            return self.hold(request, Some(ask));
        }
        let follow = match self.limiter.try_acquire(&ask) {
            Some(Ok(ticket)) => {
                self.settings.observer.admitted(ask.key, &ask.cost, std::time::Duration::ZERO);
                Follow::up(&self.limiter, &self.settings, ask, Some(ticket), &mut request)
            }
            Some(Err(denied)) => match self.settings.refuse(&ask, denied, &head) {
                Some(response) => return ResponseFuture::answered(response),
                None => Follow::up(&self.limiter, &self.settings, ask, None, &mut request),
            },
            None => return self.hold(request, Some(ask)),
        };
        ResponseFuture::called(self.inner.call(request), follow)
    }
}

impl<S: Clone, L: Limiter, R, O: Observer> RateLimit<S, L, R, O> {
    /// The call goes on in the future, with the instance that may be ready.
    #[cold]
    fn hold<B, RB, F>(
        &mut self,
        request: Request<B>,
        ask: Option<Ask>,
    ) -> ResponseFuture<S, B, RB, L, R, O, F> {
        let next = self.inner.clone();
        let service = mem::replace(&mut self.inner, next);
        let settings = Arc::clone(&self.settings);
        ResponseFuture::held(Held::new(service, request, self.limiter.clone(), settings, ask))
    }
}
