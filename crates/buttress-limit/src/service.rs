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
    follow::{After, Passed, Refusal},
    future::{Held, ResponseFuture},
    head::Head,
    keys::RequestKey,
    layer::Settings,
    limiter::{Ask, Denied, Limiter},
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
    /// is admitted, but to say what the quota has left.
    plain: bool,
    /// Whether that is to be said.
    says: bool,
}

impl<S, L: Limiter, K, R, O> RateLimit<S, L, K, R, O> {
    pub(crate) fn new(inner: S, limiter: L, key: Arc<K>, settings: Arc<Settings<R, O>>) -> Self {
        let lazy = settings.rules.wait.is_some() || !limiter.decides_at_once();
        let plain = !lazy && settings.rules.are_plain();
        let says = settings.rules.fields;
        Self { inner, limiter, key, settings, lazy, plain, says }
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
            says: self.says,
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

    // Where it is called in line, the compiler copies the request once more to look at it.
    #[inline(never)]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let key = if self.plain { self.key.at_hand(&Head::of(&request)) } else { None };
        let Some(key) = key else { return self.examine(request) };
        let ask = Ask::new(key, Cost::request());
        if self.says {
            return self.call_aloud(ask, request);
        }
        match self.limiter.pass(&ask) {
            Some(Ok(())) => {
                self.settings.observer.admitted(ask.key, &ask.cost, Duration::ZERO);
                ResponseFuture::called(self.inner.call(request), None)
            }
            decided => self.call_late(ask, decided, request),
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
    Passed(Passed),
    Denied(Ask, Denied),
}

impl<S, L: Limiter, K: RequestKey, R, O: Observer> RateLimit<S, L, K, R, O> {
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
        if self.lazy { Verdict::Hold(Some(ask)) } else { self.judge(ask) }
    }

    fn judge(&self, ask: Ask) -> Verdict {
        let Some(decided) = self.decide(&ask) else { return Verdict::Hold(Some(ask)) };
        match decided {
            Ok(passed) => {
                self.settings.observer.admitted(ask.key, &ask.cost, Duration::ZERO);
                if self.settings.rules.follows_up() {
                    Verdict::Passed(passed)
                } else {
                    Verdict::Pass
                }
            }
            Err(denied) => Verdict::Denied(ask, denied),
        }
    }

    /// Asks the limiter, no more than has to be known of an admission.
    fn decide(&self, ask: &Ask) -> Option<Result<Passed, Denied>> {
        let (rules, limiter) = (&self.settings.rules, &self.limiter);
        Some(if rules.charges_again() {
            let decided = match rules.fields {
                true => limiter.try_acquire_and_peek(ask)?,
                false => limiter.try_acquire(ask)?.map(|ticket| (ticket, None)),
            };
            decided.map(|(ticket, left)| Passed::charged(ticket, left))
        } else if rules.fields {
            limiter.pass_and_peek(ask)?.map(|left| Passed::kept(*ask, left))
        } else {
            limiter.pass(ask)?.map(|()| Passed::kept(*ask, None))
        })
    }

    /// The call of a request about which nothing but its key is asked, and of which the answer is to
    /// say what the quota has left.
    #[inline(never)]
    fn call_aloud<B, RB>(
        &mut self,
        ask: Ask,
        request: Request<B>,
    ) -> ResponseFuture<S, B, RB, L, R, O, S::Future>
    where
        S: Service<Request<B>, Response = Response<RB>> + Clone,
        L: Send + Sync + 'static,
        R: Respond<RB>,
        O: Send + Sync + 'static,
    {
        match self.limiter.pass_and_peek(&ask) {
            Some(Ok(left)) => {
                self.settings.observer.admitted(ask.key, &ask.cost, Duration::ZERO);
                self.let_through(Passed::kept(ask, left), request)
            }
            Some(Err(denied)) => self.call_late(ask, Some(Err(denied)), request),
            None => self.hold(request, Some(ask)),
        }
    }

    /// Goes on with a request that does not pass at once. A denial is looked at where it lies: to be
    /// moved it would be copied.
    #[inline(never)]
    fn call_late<B, RB>(
        &mut self,
        ask: Ask,
        decided: Option<Result<(), Denied>>,
        request: Request<B>,
    ) -> ResponseFuture<S, B, RB, L, R, O, S::Future>
    where
        S: Service<Request<B>, Response = Response<RB>> + Clone,
        L: Send + Sync + 'static,
        R: Respond<RB>,
        O: Send + Sync + 'static,
    {
        if let Some(Err(denied)) = &decided
            && let Some(refusal) = self.settings.refuse(&ask, denied, &Head::of(&request))
        {
            return ResponseFuture::answered(refusal);
        }
        match decided {
            Some(Ok(())) => {
                self.settings.observer.admitted(ask.key, &ask.cost, Duration::ZERO);
                ResponseFuture::called(self.inner.call(request), None)
            }
            Some(Err(denied)) => self.let_through(Passed::denied(ask, denied), request),
            None => self.hold(request, Some(ask)),
        }
    }

    /// Calls the inner service with a request whose answer is followed up.
    #[inline]
    fn let_through<B, RB>(
        &mut self,
        passed: Passed,
        mut request: Request<B>,
    ) -> ResponseFuture<S, B, RB, L, R, O, S::Future>
    where
        S: Service<Request<B>, Response = Response<RB>> + Clone,
        L: Send + Sync + 'static,
        R: Respond<RB>,
        O: Send + Sync + 'static,
    {
        let after = After::of(passed, &self.limiter, &self.settings, &mut request);
        ResponseFuture::called(self.inner.call(request), after)
    }

    /// What has a body of its own, so that the common path is a short one.
    #[inline(never)]
    fn carry_out<B, RB>(
        &mut self,
        verdict: Verdict,
        request: Request<B>,
    ) -> ResponseFuture<S, B, RB, L, R, O, S::Future>
    where
        S: Service<Request<B>, Response = Response<RB>> + Clone,
        L: Send + Sync + 'static,
        R: Respond<RB>,
        O: Send + Sync + 'static,
    {
        match verdict {
            Verdict::Pass => ResponseFuture::called(self.inner.call(request), None),
            Verdict::Hold(ask) => self.hold(request, ask),
            Verdict::Keyless(status) => {
                ResponseFuture::answered(Refusal::made(keyless(status, &Head::of(&request))))
            }
            Verdict::Passed(passed) => self.let_through(passed, request),
            Verdict::Denied(ask, denied) => self.call_late(ask, Some(Err(denied)), request),
        }
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
