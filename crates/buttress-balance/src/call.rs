//! One call: its endpoint, its copy for the next one, and the decision after each answer.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Attempts, BoxError};
use http::{Request, Response};
use tower_service::Service;

use crate::{
    Ask, BalanceError, Balancer, HashKey, Lease, Moment, Observer, Pick, Picked, Unavailable,
    ask::Back,
    balancer::Core,
    body::Held,
    failover::{Bodies, has_idempotency_key, is_upgrade},
    layer::Settings,
    next::Kept,
    target::Link,
    wait::Wait,
};

/// What a call keeps beside the future of its attempt.
pub(crate) struct Call<L, P: Pick, O, M, B> {
    link: L,
    pub(crate) core: Arc<Core<P>>,
    pub(crate) settings: Arc<Settings<O, M>>,
    pub(crate) key: Option<u64>,
    /// Whether it may be sent twice.
    pub(crate) repeatable: bool,
    /// What is to be sent.
    pub(crate) request: Option<Request<B>>,
    /// What can be sent after that.
    pub(crate) backup: Option<Request<B>>,
    /// Why it has to wait, until it is polled: whoever is not polled holds nobody up.
    delayed: Option<Unavailable>,
    /// Its place in line, while it has one.
    pub(crate) wait: Option<Wait<P>>,
    /// When it may go back to endpoints that it has tried.
    pub(crate) back: Option<Back>,
    /// Whether it goes on in a turn that an earlier attempt has kept.
    pub(crate) resumed: bool,
    pub(crate) place: Place<P>,
    pub(crate) attempts: Option<Attempts>,
    /// How many endpoints it was sent to.
    pub(crate) attempt: u32,
    /// Whether one of them may have received it.
    pub(crate) sent: bool,
    /// When it began; if a retry outside sends it again in its turn, when it first did.
    pub(crate) started: Moment,
}

/// The endpoint that a call has.
pub(crate) enum Place<P: Pick> {
    Nowhere,
    /// No endpoint is to be had.
    Refused(BalanceError),
    At(Held<P>),
}

/// What follows an answer.
pub(crate) enum Step<RB, T> {
    Return(Result<Response<T>, BoxError>),
    /// Another endpoint is chosen.
    Again,
    /// The other endpoints are full; if none has room in time, this is the answer.
    Wait(Box<Kept<RB>>),
}

impl<L, P: Pick, O, M, B> Call<L, P, O, M, B> {
    /// Chooses an endpoint, or a place in line.
    pub(crate) fn begin(
        link: L,
        balancer: &mut Balancer<P>,
        settings: Arc<Settings<O, M>>,
        request: Request<B>,
    ) -> Self
    where
        P: HashKey<Request<B>>,
        O: Observer,
        M: Bodies<B>,
    {
        let rules = &settings.rules;
        let again = rules.next.most() > 1 && !is_upgrade(&request);
        let backup = if again { copy(&settings.bodies, &request) } else { None };
        let repeatable = rules.next.repeatable(request.method(), || has_idempotency_key(&request));
        let core = Arc::clone(balancer.core());
        let now = core.set().now();
        let mut call = Self {
            link,
            key: balancer.policy().hash_key(&request),
            repeatable,
            attempts: request.extensions().get::<Attempts>().cloned(),
            request: Some(request),
            backup,
            delayed: None,
            wait: None,
            back: None,
            resumed: false,
            place: Place::Nowhere,
            attempt: 0,
            sent: false,
            started: now,
            settings,
            core,
        };
        call.take_turn(now);
        call.enter(balancer, now);
        call
    }

    fn enter(&mut self, balancer: &mut Balancer<P>, now: Moment)
    where
        O: Observer,
    {
        let waiting = self.core.set().pulse().line.len() > 0;
        // Whoever waits was here first, or is told apart in the line.
        let lease = if waiting {
            Err(Unavailable::Full)
        } else {
            // One that was not tried comes first, as it does where the balancer goes on by itself.
            let untried = Ask { back: None, ..self.ask() };
            match balancer.lease(&untried, now) {
                Err(_) if self.back.is_some() => self.core.lease(&self.ask(), now),
                found => found,
            }
        };
        match lease {
            Ok(lease) => self.arrive(lease),
            Err(reason) => self.delayed = Some(reason),
        }
    }

    fn ask(&self) -> Ask<'_> {
        let ask = Ask::new().key(self.key).replayable(self.repeatable);
        match &self.attempts {
            Some(attempts) if self.resumed => ask.tried(attempts).back(self.back),
            Some(attempts) => ask.tried(attempts).lenient(),
            None => ask,
        }
    }

    fn stand_in_line(&mut self, reason: Unavailable)
    where
        O: Observer,
    {
        let waits = reason != Unavailable::Ejected;
        let rules = &self.settings.rules;
        let queue = if self.resumed { rules.line() } else { rules.queue };
        let wait = waits.then(|| Wait::join(&self.core, queue, self.started)).flatten();
        if let Some(wait) = wait {
            tracing::debug!(%reason, "waiting in line");
            self.settings.observer.queued();
            self.wait = Some(wait);
            return;
        }
        // Without a wait, the least bad one.
        match self.least_bad() {
            Ok(lease) => self.arrive(lease),
            Err(_) => self.place = Place::Refused(BalanceError::unavailable(reason, None)),
        }
    }

    fn least_bad(&mut self) -> Result<Lease, Unavailable> {
        // A turn that has come to nothing ends wherever there is room.
        let resumed = mem::take(&mut self.resumed);
        let mut ask = self.ask().insistent();
        if resumed {
            ask.tried = None;
        }
        self.core.lease(&ask, self.core.set().now())
    }

    pub(crate) fn arrive(&mut self, lease: Lease)
    where
        O: Observer,
    {
        self.attempt += 1;
        if let Some(attempts) = &self.attempts {
            attempts.note_endpoint(lease.id().number());
        }
        self.settings.observer.picked(&Picked {
            endpoint: lease.endpoint(),
            attempt: self.attempt,
            probe: lease.is_probe(),
            panic: lease.is_panic(),
        });
        let cancel_after = self.settings.rules.cancel_after;
        self.place = Place::At(Held::new(Arc::clone(&self.core), lease, cancel_after));
    }

    /// Resolves when the call has its endpoint.
    pub(crate) fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>
    where
        O: Observer,
    {
        if let Some(reason) = self.delayed.take() {
            self.stand_in_line(reason);
        }
        let Some(mut wait) = self.wait.take() else { return Poll::Ready(Ok(())) };
        match wait.poll(&self.ask(), cx) {
            Poll::Pending => {
                self.wait = Some(wait);
                Poll::Pending
            }
            // As the wait goes, the next one in line may look.
            Poll::Ready(found) => Poll::Ready(self.found(found)),
        }
    }

    fn found(&mut self, found: Result<Lease, BalanceError>) -> Result<(), BoxError>
    where
        O: Observer,
    {
        let found = match found {
            // It has no answer to give, unlike a call that has waited with one.
            Err(error) if self.resumed => self.least_bad().map_err(|_| error),
            found => found,
        };
        match found {
            Ok(lease) => {
                self.arrive(lease);
                Ok(())
            }
            Err(error) => Err(self.refuse(error)),
        }
    }

    fn refuse(&self, error: BalanceError) -> BoxError
    where
        O: Observer,
    {
        self.settings.observer.refused(error.kind());
        error.into()
    }

    /// Sends the request once the endpoint's service is ready.
    pub(crate) fn poll_send<S>(&mut self, cx: &mut Context<'_>) -> Poll<Sent<S::Future>>
    where
        L: Link<Service = S>,
        S: Service<Request<B>, Error: Into<BoxError>>,
        O: Observer,
    {
        let Place::At(held) = &self.place else { return self.refused() };
        let service = self.link.service(held.lease.candidate());
        if let Err(error) = ready!(service.poll_ready(cx)) {
            return Poll::Ready(Sent::NotReady(error.into()));
        }
        let Some(mut request) = self.request.take() else { return Poll::Pending };
        if let Err(error) = self.settings.rules.rewrite.aim(held.lease.endpoint(), &mut request) {
            self.place = Place::Refused(error);
            return self.refused();
        }
        Poll::Ready(Sent::Away(service.call(request)))
    }

    fn refused<F>(&mut self) -> Poll<Sent<F>>
    where
        O: Observer,
    {
        match mem::replace(&mut self.place, Place::Nowhere) {
            Place::Refused(error) => Poll::Ready(Sent::Refused(self.refuse(error))),
            // Polled again after it was over.
            _ => Poll::Pending,
        }
    }
}

/// What became of sending.
pub(crate) enum Sent<F> {
    Away(F),
    /// The endpoint's service failed before it took the request.
    NotReady(BoxError),
    Refused(BoxError),
}

pub(crate) fn copy<B, M: Bodies<B>>(bodies: &M, request: &Request<B>) -> Option<Request<B>> {
    let mut copy = Request::new(bodies.copy(request.body())?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}
