//! What follows an answer: it is given, or the call goes on to another endpoint.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Attempts, AttemptsFailed, BoxError, Outcome};
use http::Response;
use http_body::Body;

use crate::{
    Answered, Ask, BalanceError, EndpointId, Lease, Moment, Observation, Observer, Pick,
    ResponseBody, Served, Unavailable, Verdict,
    ask::Back,
    body::Held,
    call::{Call, Place, Step, copy},
    failover::Bodies,
    wait::Wait,
};

/// An answer with which the call could go on, while it waits for a place elsewhere. It no longer
/// counts as in flight.
pub(crate) struct Kept<RB> {
    result: Result<Response<RB>, BoxError>,
    outcome: Outcome,
    from: EndpointId,
    served: Option<Served>,
}

/// Where a call goes on.
enum Next<P: Pick> {
    Nowhere,
    To(Lease),
    InLine(Wait<P>),
}

impl<L, P: Pick, O, M, B> Call<L, P, O, M, B> {
    /// Decides what follows an answer; `unsent` if the request never left.
    pub(crate) fn settle<RB>(
        &mut self,
        result: Result<Response<RB>, BoxError>,
        unsent: bool,
    ) -> Step<RB, ResponseBody<RB, P>>
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
        let asked = observation.hold.or(observation.spare);
        if rules.judge.grpc && result.as_ref().is_ok_and(open) {
            held.judge_at_end(observation);
        } else {
            self.core.observe(&mut held.lease, &observation, now);
        }
        let next = if rules.next.goes_on(outcome, status, self.repeatable) {
            self.next(&held.lease, now, unsent, asked)
        } else {
            Next::Nowhere
        };
        let endpoint = held.lease.endpoint();
        let goes_on = !matches!(next, Next::Nowhere);
        let answered = Answered::new(endpoint, self.attempt, outcome, latency);
        self.settings.observer.answered(&Answered { next: goes_on, ..answered });
        if goes_on {
            tracing::debug!(%endpoint, ?outcome, "going on to another endpoint");
            if !unsent {
                self.request = self.backup.take();
            }
        }
        match next {
            Next::Nowhere => Step::Return(self.finish(result, held, outcome)),
            Next::To(lease) => {
                // What failed is gone before the next attempt begins.
                drop((result, held));
                self.go_on(lease);
                Step::Again
            }
            Next::InLine(wait) => {
                self.settings.observer.queued();
                self.wait = Some(wait);
                let served =
                    self.settings.rules.mark.then(|| Served::of(&held.lease, self.attempt));
                let from = held.lease.id();
                // Others may have its place.
                drop(held);
                Step::Wait(Box::new(Kept { result, outcome, from, served }))
            }
        }
    }

    fn go_on(&mut self, lease: Lease)
    where
        O: Observer,
        M: Bodies<B>,
    {
        self.arrive(lease);
        let more = self.attempt < self.settings.rules.next.most();
        if more && self.backup.is_none() {
            let bodies = &self.settings.bodies;
            self.backup = self.request.as_ref().and_then(|request| copy(bodies, request));
        }
    }

    /// A place at an endpoint that was not tried, or in line for one, if the call may go on. `asked` is for
    /// how long the last one asked to be left alone.
    fn next(
        &mut self,
        failed: &Lease,
        now: Moment,
        unsent: bool,
        asked: Option<Duration>,
    ) -> Next<P> {
        let next = &self.settings.rules.next;
        let has_request = unsent || self.backup.is_some();
        if self.attempt >= next.most() || !next.in_time(now.since(self.started)) {
            return Next::Nowhere;
        }
        let attempts = self.attempts.get_or_insert_with(|| Attempts::first_of(next.most()));
        attempts.note_endpoint(failed.id().number());
        if attempts.left() == 0 {
            return Next::Nowhere;
        }
        let last = attempts.left() <= 1 || self.attempt + 1 >= next.most();
        let queue = self.settings.rules.line();
        let until = self.started.after(queue.timeout);
        let from = asked.and_then(|asked| Some(now.after(asked.min(self.core.health.max_hold?))));
        let from = from.filter(|from| next.revisits() && *from < until);
        if !has_request {
            // The last try waits for all of the time: no other follows it.
            let all = if attempts.left() == 1 { asked } else { None };
            let from = from.map(|from| all.map_or(from, |all| now.after(all)));
            if let Some(from) = from.filter(|from| *from < until) {
                self.keep_turn(from);
            }
            return Next::Nowhere;
        }
        self.back = from.map(|from| Back { from, last });
        let ask = Ask::new().key(self.key).replayable(self.repeatable).tried(attempts);
        let reason = match self.core.lease(&ask, now) {
            Ok(lease) if attempts.begin().is_some() => return Next::To(lease),
            Ok(_) => return Next::Nowhere,
            Err(reason) => reason,
        };
        let waits = match reason {
            // The line is for calls that an endpoint could take, if it were not full.
            Unavailable::Full => true,
            Unavailable::Held(_) | Unavailable::Tried => self.back.is_some(),
            Unavailable::Empty | Unavailable::Ejected => false,
        };
        let wait = waits.then(|| Wait::join(&self.core, queue, self.started)).flatten();
        wait.map_or(Next::Nowhere, Next::InLine)
    }

    /// Whether the call has got another endpoint, as its turn comes or its time is over.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<bool>
    where
        O: Observer,
        M: Bodies<B>,
    {
        let (Some(wait), Some(attempts)) = (&mut self.wait, &self.attempts) else {
            return Poll::Ready(false);
        };
        let ask = Ask::new().key(self.key).replayable(self.repeatable).tried(attempts);
        let ask = ask.back(self.back);
        let found = ready!(wait.poll(&ask, cx));
        let begun = found.ok().filter(|_| attempts.begin().is_some());
        // As the wait goes, the next one in line may look.
        self.wait = None;
        let is_found = begun.is_some();
        if let Some(lease) = begun {
            self.go_on(lease);
        }
        Poll::Ready(is_found)
    }

    /// Ends the call with an answer that was kept in vain.
    pub(crate) fn give<RB>(
        &mut self,
        kept: Kept<RB>,
    ) -> Result<Response<ResponseBody<RB, P>>, BoxError>
    where
        RB: Body<Error: Into<BoxError>>,
    {
        let Kept { result, outcome, from, served } = kept;
        let answer = self.marked(result, outcome, from, served);
        let grpc = self.settings.rules.judge.grpc;
        answer.map(|it| it.map(|body| ResponseBody::new(body, None, grpc)))
    }

    /// Ends the call.
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
        let is_marked = rules.mark && result.is_ok();
        let served = is_marked.then(|| Served::of(&held.lease, self.attempt));
        let answer = self.marked(result, outcome, held.lease.id(), served);
        answer.map(|it| it.map(|body| ResponseBody::new(body, Some(held), grpc)))
    }

    /// Adds who answered. A failure, and what may become one, says which endpoints were tried.
    fn marked<RB>(
        &mut self,
        result: Result<Response<RB>, BoxError>,
        outcome: Outcome,
        from: EndpointId,
        served: Option<Served>,
    ) -> Result<Response<RB>, BoxError>
    where
        RB: Body<Error: Into<BoxError>>,
    {
        let rules = &self.settings.rules;
        // The status of a gRPC call may still come, in the trailers.
        let is_open = |response: &Response<RB>| !response.body().is_end_stream();
        let open = rules.judge.grpc && rules.mark && result.as_ref().is_ok_and(is_open);
        let failed = open || outcome.is_service_failure();
        let attempts = self.attempts.take().or_else(|| {
            let made = failed.then(|| Attempts::first_of(rules.next.most()))?;
            made.note_endpoint(from.number());
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
                if let Some(served) = served {
                    response.extensions_mut().insert(served);
                }
                Ok(response)
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
