//! One call: its endpoint, its copy for the next one, and the decision after each answer.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Attempts, AttemptsFailed, BoxError, Outcome};
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    Answered, Ask, BalanceError, Balancer, HashKey, Lease, Moment, Observation, Observer, Pick,
    Picked, ResponseBody, Served, Unavailable, Verdict,
    balancer::Core,
    body::Held,
    failover::{Bodies, has_idempotency_key, is_upgrade},
    layer::Settings,
    observe::Change,
    target::Link,
    wait::Wait,
};

/// What a call keeps beside the future of its attempt.
pub(crate) struct Call<L, P: Pick, O, M, B> {
    link: L,
    core: Arc<Core<P>>,
    settings: Arc<Settings<O, M>>,
    key: Option<u64>,
    /// Whether it may be sent twice.
    repeatable: bool,
    /// What is to be sent.
    request: Option<Request<B>>,
    /// What can be sent after that.
    backup: Option<Request<B>>,
    /// Why it has to wait, until it is polled: whoever is not polled holds nobody up.
    delayed: Option<Unavailable>,
    /// Its place in line, while it has one.
    wait: Option<Wait<P>>,
    place: Place<P>,
    attempts: Option<Attempts>,
    /// How many endpoints it was sent to.
    attempt: u32,
    /// Whether one of them may have received it.
    sent: bool,
    started: Moment,
}

/// The endpoint that a call has.
enum Place<P: Pick> {
    Nowhere,
    /// No endpoint is to be had.
    Refused(BalanceError),
    At(Held<P>),
}

/// What follows an answer.
pub(crate) enum Step<RB> {
    Return(Result<Response<RB>, BoxError>),
    /// Another endpoint is chosen.
    Again,
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
        let mut call = Self {
            link,
            key: balancer.policy().hash_key(&request),
            repeatable,
            attempts: request.extensions().get::<Attempts>().cloned(),
            request: Some(request),
            backup,
            delayed: None,
            wait: None,
            place: Place::Nowhere,
            attempt: 0,
            sent: false,
            started: core.set().now(),
            settings,
            core,
        };
        call.enter(balancer);
        call
    }

    fn enter(&mut self, balancer: &mut Balancer<P>)
    where
        O: Observer,
    {
        let waiting = self.core.set().pulse().line.len() > 0;
        // Whoever waits was here first.
        let lease = if waiting {
            Err(Unavailable::Full)
        } else {
            balancer.lease(&self.ask(), self.started)
        };
        match lease {
            Ok(lease) => self.arrive(lease),
            Err(reason) => self.delayed = Some(reason),
        }
    }

    fn ask(&self) -> Ask<'_> {
        let ask = Ask::new().key(self.key).replayable(self.repeatable);
        match &self.attempts {
            Some(attempts) => ask.tried(attempts).lenient(),
            None => ask,
        }
    }

    fn stand_in_line(&mut self, reason: Unavailable)
    where
        O: Observer,
    {
        let waits = reason != Unavailable::Ejected;
        let queue = self.settings.rules.queue;
        let wait = waits.then(|| Wait::join(&self.core, queue, self.started)).flatten();
        if let Some(wait) = wait {
            tracing::debug!(%reason, "waiting in line");
            self.settings.observer.queued();
            self.wait = Some(wait);
            return;
        }
        // Without a wait, the least bad one.
        match self.core.lease(&self.ask().insistent(), self.started) {
            Ok(lease) => self.arrive(lease),
            Err(_) => self.place = Place::Refused(BalanceError::unavailable(reason, None)),
        }
    }

    fn arrive(&mut self, lease: Lease)
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
            Poll::Ready(Ok(lease)) => {
                self.arrive(lease);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.refuse(error))),
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
        match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::Refused(error) => Poll::Ready(Sent::Refused(self.refuse(error))),
            // Polled again after it was over.
            _ => Poll::Pending,
        }
    }

    /// Decides what follows an answer; `unsent` if the request never left.
    pub(crate) fn settle<RB>(
        &mut self,
        result: Result<Response<RB>, BoxError>,
        unsent: bool,
    ) -> Step<ResponseBody<RB, P>>
    where
        RB: Body<Error: Into<BoxError>>,
        O: Observer,
        M: Bodies<B>,
    {
        let Place::At(mut held) = std::mem::replace(&mut self.place, Place::Nowhere) else {
            return Step::Return(Err(BalanceError::unavailable(Unavailable::Empty, None).into()));
        };
        let rules = &self.settings.rules;
        let now = self.core.set().now();
        let latency = now.since(held.lease.started());
        let (outcome, observation) = rules.judge.result(&result, rules.heed_hints);
        let outcome = if unsent { Outcome::NotSent } else { outcome };
        self.sent |= outcome != Outcome::NotSent;
        let status = result.as_ref().ok().map(Response::status);
        let mut observation = timed(observation, outcome, latency, &held.lease);
        if self.core.health.exact && status.is_some() && !rules.next.goes_on(outcome, status, true)
        {
            // nginx knows no failures but those that are listed.
            observation.verdict = Verdict::Success;
        }
        // The status of a gRPC call may still come, in the trailers.
        let open = |response: &Response<RB>| !response.body().is_end_stream();
        let change = if rules.judge.grpc && result.as_ref().is_ok_and(open) {
            held.judge_at_end(observation)
        } else {
            self.core.observe(&mut held.lease, &observation, now)
        };
        let next = if rules.next.goes_on(outcome, status, self.repeatable) {
            self.next(&held.lease, now, unsent)
        } else {
            None
        };
        let endpoint = held.lease.endpoint();
        match change {
            Some(Change::Ejected(time)) => self.settings.observer.ejected(endpoint, time),
            Some(Change::Readmitted) => self.settings.observer.readmitted(endpoint),
            None => {}
        }
        let answered = Answered::new(endpoint, self.attempt, outcome, latency);
        self.settings.observer.answered(&Answered { next: next.is_some(), ..answered });
        let Some(lease) = next else {
            return Step::Return(self.finish(result, held, outcome));
        };
        tracing::debug!(endpoint = %held.lease.endpoint(), ?outcome, "going on to another endpoint");
        // What failed is gone before the next attempt begins.
        drop((result, held));
        if !unsent {
            self.request = self.backup.take();
        }
        self.arrive(lease);
        let more = self.attempt < self.settings.rules.next.most();
        if more && self.backup.is_none() {
            let bodies = &self.settings.bodies;
            self.backup = self.request.as_ref().and_then(|request| copy(bodies, request));
        }
        Step::Again
    }

    /// A place at an endpoint that was not tried, if the call may go on.
    fn next(&mut self, failed: &Lease, now: Moment, unsent: bool) -> Option<Lease> {
        let next = &self.settings.rules.next;
        let has_request = unsent || self.backup.is_some();
        if !has_request || self.attempt >= next.most() || !next.in_time(now.since(self.started)) {
            return None;
        }
        let attempts = self.attempts.get_or_insert_with(|| Attempts::first_of(next.most()));
        attempts.note_endpoint(failed.id().number());
        if attempts.left() == 0 {
            return None;
        }
        let ask = Ask::new().key(self.key).replayable(self.repeatable).tried(attempts);
        let lease = self.core.lease(&ask, now).ok()?;
        attempts.begin()?;
        Some(lease)
    }

    /// Ends the call. A failure, and what may become one, says which endpoints were tried.
    fn finish<RB>(
        &mut self,
        result: Result<Response<RB>, BoxError>,
        held: Held<P>,
        outcome: Outcome,
    ) -> Result<Response<ResponseBody<RB, P>>, BoxError>
    where
        RB: Body<Error: Into<BoxError>>,
    {
        let rules = &self.settings.rules;
        let grpc = rules.judge.grpc;
        // The status of a gRPC call may still come, in the trailers.
        let is_open = |response: &Response<RB>| !response.body().is_end_stream();
        let open = grpc && rules.mark && result.as_ref().is_ok_and(is_open);
        let failed = open || outcome.is_service_failure();
        let attempts = self.attempts.take().or_else(|| {
            let made = failed.then(|| Attempts::first_of(rules.next.most()))?;
            made.note_endpoint(held.lease.id().number());
            Some(made)
        });
        let attempts = attempts.filter(|attempts| failed || attempts.made() > 1);
        match result {
            Err(error) => Err(match attempts {
                Some(attempts) => AttemptsFailed::new(attempts, error).unsent(!self.sent).into(),
                None => error,
            }),
            Ok(mut response) => {
                if let Some(attempts) = attempts {
                    response.extensions_mut().insert(attempts);
                }
                if rules.mark {
                    response.extensions_mut().insert(Served::of(&held.lease, self.attempt));
                }
                Ok(response.map(|body| ResponseBody::new(body, held, grpc)))
            }
        }
    }
}

/// Adds the time to the head. To find a request wanting takes no work, so that an endpoint which does so
/// at once is not thought quick for it; one that takes long is slow all the same.
fn timed(
    observation: Observation,
    outcome: Outcome,
    latency: Duration,
    lease: &Lease,
) -> Observation {
    let known = lease.candidate().node().latency().value();
    let slower = || known.is_some_and(|known| latency.as_secs_f32() > known);
    if outcome == Outcome::Rejected && !slower() {
        observation
    } else {
        observation.latency(latency)
    }
}

/// What became of sending.
pub(crate) enum Sent<F> {
    Away(F),
    /// The endpoint's service failed before it took the request.
    NotReady(BoxError),
    Refused(BoxError),
}

fn copy<B, M: Bodies<B>>(bodies: &M, request: &Request<B>) -> Option<Request<B>> {
    let mut copy = Request::new(bodies.copy(request.body())?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}
