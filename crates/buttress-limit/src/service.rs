//! The service: it asks the limiter and hands the call to the future.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use tower_service::Service;

use crate::{
    answer::{Respond, keyless},
    body::ResponseBody,
    cost::Cost,
    follow::{Follow, Refusal},
    future::{Held, ResponseFuture},
    head::Head,
    keys::RequestKey,
    layer::Settings,
    limiter::{Ask, Denied, Limiter, Ticket},
    observer::Observer,
    rules::Keyless,
};

/// Lets a request pass if its key's quota allows it. Made by
/// [`RateLimitLayer`](crate::RateLimitLayer).
///
/// Where requests may wait it is always ready, and asks the inner service to become ready once a
/// request is admitted.
pub struct RateLimit<S, L, K, R, O> {
    inner: S,
    limiter: L,
    key: Arc<K>,
    settings: Arc<Settings<R, O>>,
    /// Whether the inner service is asked to become ready only when a request is admitted.
    lazy: bool,
    /// Whether nothing is asked about a request but its key, and nothing is left to be done once it
    /// is admitted.
    plain: bool,
}

impl<S, L: Limiter, K, R, O> RateLimit<S, L, K, R, O> {
    pub(crate) fn new(inner: S, limiter: L, key: Arc<K>, settings: Arc<Settings<R, O>>) -> Self {
        let lazy = settings.rules.wait.is_some() || !limiter.decides_at_once();
        let plain = !lazy && settings.rules.are_plain();
        Self { inner, limiter, key, settings, lazy, plain }
    }

    /// The limiter that decides.
    #[must_use]
    pub const fn limiter(&self) -> &L {
        &self.limiter
    }
}

impl<S: Clone, L: Clone, K, R, O> Clone for RateLimit<S, L, K, R, O> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limiter: self.limiter.clone(),
            key: Arc::clone(&self.key),
            settings: Arc::clone(&self.settings),
            lazy: self.lazy,
            plain: self.plain,
        }
    }
}

impl<S: fmt::Debug, L: fmt::Debug, K, R, O> fmt::Debug for RateLimit<S, L, K, R, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}

impl<S, L, K, R, O, B, RB> Service<Request<B>> for RateLimit<S, L, K, R, O>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    L: Limiter + Send + Sync + 'static,
    K: RequestKey,
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let key = if self.plain { self.key.at_hand(&Head::of(&request)) } else { None };
        let Some(key) = key else { return self.examine(request) };
        let ask = Ask::new(key, Cost::request());
        match self.limiter.pass(&ask) {
            Some(Ok(())) => {
                self.settings.observer.admitted(ask.key, &ask.cost, Duration::ZERO);
                ResponseFuture::called(self.inner.call(request), None)
            }
            Some(Err(denied)) => self.turn_away(&ask, denied, request),
            None => self.hold(request, Some(ask)),
        }
    }
}

/// What is to be done with a request.
enum Verdict {
    /// It passes, and nothing is left to be done.
    Pass,
    Keyless(StatusCode),
    /// The future goes on with it.
    Hold(Option<Ask>),
    /// It passes, and its answer is followed up.
    Admitted(Ask, Option<Ticket>),
    Denied(Ask, Denied),
}

impl<S, L: Limiter, K: RequestKey, R, O: Observer> RateLimit<S, L, K, R, O> {
    #[inline]
    fn pass(&self, ask: Ask) -> Verdict {
        match self.limiter.pass(&ask) {
            Some(Ok(())) => {
                self.settings.observer.admitted(ask.key, &ask.cost, Duration::ZERO);
                Verdict::Pass
            }
            Some(Err(denied)) => Verdict::Denied(ask, denied),
            None => Verdict::Hold(Some(ask)),
        }
    }

    /// The call of a request about which there is more to be asked than its key. It stands apart
    /// because what looks at a request by reference makes the compiler copy it.
    #[inline(never)]
    fn examine<B, RB>(
        &mut self,
        request: Request<B>,
    ) -> ResponseFuture<S, B, RB, L, R, O, S::Future>
    where
        S: Service<Request<B>, Response = Response<RB>> + Clone,
        L: Send + Sync + 'static,
        R: Respond<RB>,
        O: Send + Sync + 'static,
    {
        match self.judge_all(&request) {
            Verdict::Pass => ResponseFuture::called(self.inner.call(request), None),
            verdict => self.carry_out(verdict, request),
        }
    }

    /// Asks whatever there is to be asked about a request.
    fn judge_all<B>(&self, request: &Request<B>) -> Verdict {
        let rules = &self.settings.rules;
        let head = Head::of(request);
        let keyed = if rules.exempts(&head) {
            Err(Keyless::Exempt)
        } else {
            rules.key_or(self.key.key(&head))
        };
        let key = match keyed {
            Ok(key) => key,
            Err(Keyless::Exempt) if !self.lazy => return Verdict::Pass,
            Err(Keyless::Exempt) => return Verdict::Hold(None),
            Err(Keyless::Refused(status)) => return Verdict::Keyless(status),
        };
        let mut ask = Ask::new(key, Cost::request());
        rules.refine(&mut ask, &head);
        if self.lazy {
            return Verdict::Hold(Some(ask));
        }
        if !rules.charges_again() {
            return match self.pass(ask) {
                Verdict::Pass if rules.follows_up() => Verdict::Admitted(ask, None),
                verdict => verdict,
            };
        }
        match self.limiter.try_acquire(&ask) {
            Some(Ok(ticket)) => {
                self.settings.observer.admitted(ask.key, &ask.cost, Duration::ZERO);
                Verdict::Admitted(ask, Some(ticket))
            }
            Some(Err(denied)) => Verdict::Denied(ask, denied),
            None => Verdict::Hold(Some(ask)),
        }
    }

    /// Answers a request that is denied, unless that is not enforced.
    #[inline(never)]
    fn turn_away<B, RB>(
        &mut self,
        ask: &Ask,
        denied: Denied,
        mut request: Request<B>,
    ) -> ResponseFuture<S, B, RB, L, R, O, S::Future>
    where
        S: Service<Request<B>, Response = Response<RB>> + Clone,
        L: Send + Sync + 'static,
        R: Respond<RB>,
        O: Send + Sync + 'static,
    {
        if let Some(refusal) = self.settings.refuse(ask, denied, &Head::of(&request)) {
            return ResponseFuture::answered(refusal);
        }
        let follow = Follow::up(&self.limiter, &self.settings, *ask, None, &mut request);
        ResponseFuture::called(self.inner.call(request), follow)
    }

    /// What has a body of its own, so that the common path is a short one.
    #[inline(never)]
    fn carry_out<B, RB>(
        &mut self,
        verdict: Verdict,
        mut request: Request<B>,
    ) -> ResponseFuture<S, B, RB, L, R, O, S::Future>
    where
        S: Service<Request<B>, Response = Response<RB>> + Clone,
        L: Send + Sync + 'static,
        R: Respond<RB>,
        O: Send + Sync + 'static,
    {
        let follow = match verdict {
            Verdict::Pass => None,
            Verdict::Hold(ask) => return self.hold(request, ask),
            Verdict::Keyless(status) => {
                return ResponseFuture::answered(Refusal::made(keyless(
                    status,
                    &Head::of(&request),
                )));
            }
            Verdict::Admitted(ask, ticket) => {
                Follow::up(&self.limiter, &self.settings, ask, ticket, &mut request)
            }
            Verdict::Denied(ask, denied) => return self.turn_away(&ask, denied, request),
        };
        ResponseFuture::called(self.inner.call(request), follow)
    }
}

impl<S: Clone, L: Limiter, K, R, O: Observer> RateLimit<S, L, K, R, O> {
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
