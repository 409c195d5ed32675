//! The future of a call: a wait for the quota, one for the inner service, and its answer.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    answer::Respond,
    body::ResponseBody,
    follow::{After, Charge, Passed, Refusal},
    head::Head,
    layer::Settings,
    limiter::{Ask, Denied, Limiter},
    observer::Observer,
    snapshot::Snapshot,
};

pin_project! {
    /// Resolves to the inner service's answer, or to one of the layer's own.
    ///
    /// Dropped while it waits in line it leaves the line. Dropped when the request is admitted and
    /// the inner service is not called yet, what was charged is refunded.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, RB, L: Limiter, R, O, F> {
        #[pin]
        state: State<S, B, RB, L, R, O, F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, RB, L: Limiter, R, O, F> {
        // The layer has an answer of its own.
        Answered { refusal: Option<Refusal<RB>> },
        // The request waits for the quota, and then for the inner service.
        Held { held: Pin<Box<Held<S, B, L, R, O>>> },
        // The inner service was called.
        Called { #[pin] future: F, after: Option<Box<After<L, R, O>>> },
    }
}

impl<S, B, RB, L: Limiter, R, O, F> ResponseFuture<S, B, RB, L, R, O, F> {
    #[cold]
    pub(crate) const fn answered(refusal: Refusal<RB>) -> Self {
        Self { state: State::Answered { refusal: Some(refusal) } }
    }

    pub(crate) const fn called(future: F, after: Option<Box<After<L, R, O>>>) -> Self {
        Self { state: State::Called { future, after } }
    }

    pub(crate) fn held(held: Held<S, B, L, R, O>) -> Self {
        Self { state: State::Held { held: Box::pin(held) } }
    }
}

impl<S, B, RB, L, R, O> Future for ResponseFuture<S, B, RB, L, R, O, S::Future>
where
    S: Service<Request<B>, Response = Response<RB>>,
    L: Limiter + Send + Sync + 'static,
    R: Respond<RB>,
    O: Observer + Send + Sync + 'static,
    RB: Body,
    RB::Data: From<Bytes>,
{
    type Output = Result<Response<ResponseBody<RB>>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.as_mut().project().state.project() {
            // Called: done
            StateProj::Called { future, after } => {
                let response = ready!(future.poll(cx))?;
                match after.take() {
                    None => Poll::Ready(Ok(response.map(ResponseBody::plain))),
                    Some(after) => after.answered(response),
                }
            }
            _ => self.poll_before(cx),
        }
    }
}

impl<S, B, RB, L, R, O> ResponseFuture<S, B, RB, L, R, O, S::Future>
where
    S: Service<Request<B>, Response = Response<RB>>,
    L: Limiter + Send + Sync + 'static,
    R: Respond<RB>,
    O: Observer + Send + Sync + 'static,
    RB: Body,
    RB::Data: From<Bytes>,
{
    /// Polls it before the inner service is called.
    #[inline(never)]
    fn poll_before(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ResponseBody<RB>>, S::Error>> {
        let next = match self.as_mut().project().state.project() {
            // Answered: done
            StateProj::Answered { refusal } => {
                let Some(refusal) = refusal.take() else { return Poll::Pending };
                return Poll::Ready(Ok(refusal.give()));
            }
            // Held => Called | Answered
            StateProj::Held { held } => match ready!(held.as_mut().poll(cx))? {
                Sent::Away(future, after) => State::Called { future, after },
                Sent::Refused(refusal) => State::Answered { refusal: Some(refusal) },
            },
            StateProj::Called { .. } => return self.poll(cx),
        };
        self.as_mut().project().state.set(next);
        self.poll(cx)
    }
}

pin_project! {
    /// A request that waits.
    pub(crate) struct Held<S, B, L: Limiter, R, O> {
        #[pin]
        acquire: Option<L::Acquire>,
        ask: Option<Ask>,
        enforced: bool,
        since: Option<Instant>,
        charge: Charge<L>,
        // What the quota had left when that was decided.
        left: Option<Snapshot>,
        request: Option<Request<B>>,
        settings: Arc<Settings<R, O>>,
        service: S,
    }
}

/// What became of a request that waited.
enum Sent<F, A, RB> {
    Away(F, A),
    Refused(Refusal<RB>),
}

impl<S, B, L: Limiter, R, O: Observer> Held<S, B, L, R, O> {
    pub(crate) fn new(
        service: S,
        request: Request<B>,
        limiter: L,
        settings: Arc<Settings<R, O>>,
        ask: Option<Ask>,
    ) -> Self {
        let enforced = ask.is_none() || settings.rules.enforces();
        let acquire = ask.map(|ask| {
            let wait = settings.rules.wait(&Head::of(&request));
            limiter.acquire(ask, wait.filter(|_| enforced))
        });
        let (charge, request) = (Charge::new(limiter), Some(request));
        let (since, left) = (None, None);
        Self { acquire, ask, enforced, since, charge, left, request, settings, service }
    }

    /// Waits for the quota. `Some` if the request is refused.
    fn poll_quota(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Denied>> {
        let mut this = self.project();
        let (Some(acquire), Some(ask)) = (this.acquire.as_mut().as_pin_mut(), this.ask) else {
            return Poll::Ready(None);
        };
        let observer = &this.settings.observer;
        let Poll::Ready(decided) = acquire.poll(cx) else {
            if this.since.is_none() {
                *this.since = Some(Instant::now());
                observer.queued(ask.key, &ask.cost);
            }
            return Poll::Pending;
        };
        this.acquire.set(None);
        Poll::Ready(match decided {
            Ok(ticket) => {
                let waited = this.since.map_or(Duration::ZERO, |since| since.elapsed());
                observer.admitted(ask.key, &ask.cost, waited);
                if this.settings.rules.fields {
                    *this.left = this.charge.limiter().peek(ask);
                }
                this.charge.set(ticket);
                None
            }
            Err(denied) => {
                observer.denied(ask.key, &denied, *this.enforced);
                if *this.enforced {
                    Some(denied)
                } else {
                    *this.left = denied.into_snapshot();
                    None
                }
            }
        })
    }

    #[expect(clippy::type_complexity, reason = "the result of one state, named where it is used")]
    fn poll<RB>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Sent<S::Future, Option<Box<After<L, R, O>>>, RB>, S::Error>>
    where
        S: Service<Request<B>, Response = Response<RB>>,
        L: Send + Sync + 'static,
        R: Respond<RB>,
        O: Send + Sync + 'static,
    {
        let denied = ready!(self.as_mut().poll_quota(cx));
        let this = self.project();
        if let (Some(denied), Some(request)) = (denied, this.request.as_ref()) {
            let answer = this.settings.answer(&denied, &Head::of(request));
            return Poll::Ready(Ok(Sent::Refused(answer)));
        }
        ready!(this.service.poll_ready(cx))?;
        let Some(mut request) = this.request.take() else { return Poll::Pending };
        let after = this.ask.and_then(|ask| {
            let left = this.left.take();
            let passed = match this.charge.take() {
                Some(ticket) => Passed::charged(ticket, left),
                None => Passed::kept(ask, left),
            };
            After::of(passed, this.charge.limiter(), this.settings, &mut request)
        });
        Poll::Ready(Ok(Sent::Away(this.service.call(request), after)))
    }
}

impl<S, B, RB, L: Limiter, R, O, F> fmt::Debug for ResponseFuture<S, B, RB, L, R, O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Answered { .. } => "Answered",
            State::Held { .. } => "Held",
            State::Called { .. } => "Called",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
