//! What the policy for HTTP and gRPC decides.

use std::error::Error;

use buttress_core::{
    Attempts, BoxError, ByGrpcStatus, ByStatus, Classify, Deadline, Hints, Outcome, cause,
    grpc_status,
};
use http::{Request, Response, request::Parts};
use http_body::Body;

use super::{
    bodies::BodyMode,
    clock, grpc, idempotency,
    look::Look,
    policy::HttpPolicy,
    rules::{Nested, NoRetry, Protocol},
    snapshot::Snapshot,
};
use crate::{
    BeforeFirstFrame, Delay, Drain, Ending, Next, NotReplayable, Policy, Resend, Resent, Retired,
    SourceFailed, Verdict,
};

/// What is kept of a request.
#[derive(Clone, Debug)]
pub struct Backup<B> {
    head: Snapshot,
    body: B,
    /// Whether it is idempotent whatever its headers say.
    idempotent: bool,
}

impl<B> Backup<B> {
    /// Whether a key is there is looked up once it matters: most requests succeed.
    fn is_idempotent(&self) -> bool {
        self.idempotent || self.head.has(&idempotency::IDEMPOTENCY_KEY)
    }
}

impl<M, L> HttpPolicy<M, L> {
    /// Whether a request is idempotent whether it has a key or not.
    fn is_idempotent(&self, parts: &Parts) -> bool {
        let by_method = match &self.rules.methods {
            Some(methods) => methods.contains(&parts.method),
            None => idempotency::is_idempotent(&parts.method),
        };
        by_method || self.rules.idempotent.as_ref().is_some_and(|judge| judge(parts))
    }

    /// Why a request goes only once, whatever becomes of it.
    fn only_once<B>(&self, request: &Request<B>, again: bool) -> Option<Ending> {
        let extensions = request.extensions();
        if !again {
            return Some(Ending::MaxAttempts);
        }
        if extensions.get::<NoRetry>().is_some() {
            return Some(Ending::Disabled);
        }
        if self.rules.nested == Nested::Refuse && extensions.get::<Attempts>().is_some() {
            return Some(Ending::Nested);
        }
        idempotency::is_upgrade(request.method(), request.headers()).then_some(Ending::NotRetryable)
    }

    fn outcome_of(&self, error: &(dyn Error + 'static)) -> Outcome {
        let own = self.rules.errors.as_ref().and_then(|judge| judge(error));
        own.unwrap_or_else(|| {
            // The caller's own body failed, or cannot be had again: no attempt would mend that.
            let upload =
                cause::<SourceFailed>(error).is_some() || cause::<NotReplayable>(error).is_some();
            if upload { Outcome::Rejected } else { Outcome::of_error(error) }
        })
    }

    /// Whether the failure allows another attempt of this request, before the server is heard.
    fn allows<R>(
        &self,
        idempotent: bool,
        outcome: Outcome,
        result: &Result<Response<R>, BoxError>,
    ) -> Result<(), Ending>
    where
        L: Look<R>,
    {
        let safe = match result {
            Err(_) if outcome == Outcome::Rejected => return Err(Ending::NotRetryable),
            Err(error) => {
                outcome == Outcome::NotSent
                    || (self.rules.unanswered && cause::<BeforeFirstFrame>(&**error).is_some())
            }
            Ok(response) => match self.code(response) {
                Some(code) if self.rules.codes.contains(&code) => true,
                None if self.rules.refusals.contains(&response.status()) => true,
                None if self.rules.statuses.contains(&response.status()) => false,
                _ => return Err(Ending::NotRetryable),
            },
        };
        if safe || idempotent { Ok(()) } else { Err(Ending::NotIdempotent) }
    }

    /// The gRPC code of a response, where gRPC is spoken. Where something on the way answered in the
    /// service's place, its HTTP status stands for one ("HTTP to gRPC Status Code Mapping").
    fn code<R>(&self, response: &Response<R>) -> Option<u32>
    where
        L: Look<R>,
    {
        if self.rules.protocol != Protocol::Grpc {
            return None;
        }
        let trailers = || L::trailers(response.body()).and_then(grpc_status);
        let mapped = || matches!(response.status().as_u16(), 429 | 502..=504).then_some(14);
        grpc_status(response.headers()).or_else(trailers).or_else(mapped)
    }

    fn hints<R>(&self, response: &Response<R>) -> Hints
    where
        L: Look<R>,
    {
        let mut hints = Hints::read(response.status(), response.headers(), clock::wall());
        if let Some(trailers) = L::trailers(response.body()) {
            hints.read_trailers(trailers);
        }
        hints
    }

    /// When to come back, by the server's own word and the rules for it.
    fn heed(&self, hints: &Hints) -> Verdict {
        let Some(delay) = hints.delay() else {
            return Verdict::Retry(Delay::Backoff);
        };
        if delay > self.rules.max_server_delay {
            return Verdict::Return(Ending::ServerDelayTooLong);
        }
        Verdict::Retry(if hints.pushback() {
            Delay::Pushback(delay)
        } else {
            Delay::AtLeast(delay)
        })
    }
}

impl<B, M: BodyMode<B>, L> Resend<Request<B>> for HttpPolicy<M, L> {
    type Sent = Request<M::Sent>;
    type Backup = Backup<M::Backup>;

    fn begin(
        &self,
        request: Request<B>,
        again: bool,
    ) -> (Self::Sent, Result<Self::Backup, Ending>) {
        if let Some(ending) = self.only_once(&request, again) {
            let sent = request.map(|body| self.bodies.once(body));
            return (self.rules.prepare_first(sent), Err(ending));
        }
        let (mut parts, body) = request.into_parts();
        let (body, backup) = self.bodies.begin(body);
        let backup = backup.ok_or(Ending::BodyNotReplayable).map(|body| {
            let idempotent = self.is_idempotent(&parts);
            if !idempotent && self.rules.make_key {
                let key = parts.headers.entry(&idempotency::IDEMPOTENCY_KEY);
                key.or_insert_with(idempotency::new_key);
            }
            Backup { head: Snapshot::take(&parts), body, idempotent }
        });
        self.rules.prepare(&mut parts, 1);
        (Request::from_parts(parts, body), backup)
    }

    fn resend(&self, backup: Self::Backup, next: &Next) -> Resent<Self::Sent, Self::Backup> {
        let Backup { head, body, idempotent } = backup;
        let (body, kept) = self.bodies.again(body, next.last)?;
        let (mut parts, backup) = match kept {
            Some(body) => (head.clone().restore(), Some(Backup { head, body, idempotent })),
            None => (head.restore(), None),
        };
        parts.extensions.insert(next.attempts.clone());
        self.rules.prepare(&mut parts, next.attempt);
        Ok((Request::from_parts(parts, body), backup))
    }

    fn deadline(&self, request: &Request<B>) -> Option<Deadline> {
        let own = request.extensions().get().copied();
        if self.rules.protocol != Protocol::Grpc {
            return own;
        }
        own.or_else(|| clock::after(grpc::timeout(request.headers())?))
    }

    fn scope<'a>(&self, request: &'a Request<B>) -> Option<&'a [u8]> {
        let uri = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        uri.or_else(|| Some(request.headers().get(http::header::HOST)?.as_bytes()))
    }
}

impl<B, R, M, L> Policy<Request<B>, Response<R>> for HttpPolicy<M, L>
where
    M: BodyMode<B>,
    L: Look<R>,
    R: Body,
{
    type Discard = Drain<R>;

    fn outcome(&self, result: &Result<Response<R>, BoxError>) -> Outcome {
        let response = match result {
            Ok(response) => response,
            Err(error) => return self.outcome_of(&**error),
        };
        if self.rules.protocol == Protocol::Grpc {
            let trailers = L::trailers(response.body());
            let by_trailers = trailers
                .and_then(|t| Classify::<Response<R>>::trailers(&ByGrpcStatus::default(), t));
            return by_trailers.unwrap_or_else(|| ByGrpcStatus::default().response(response));
        }
        let outcome = ByStatus::default().response(response);
        let (rules, status) = (&self.rules, response.status());
        let named = rules.statuses.contains(&status) || rules.refusals.contains(&status);
        // What the user wants retried is a failure of the service, whatever the number usually says.
        if named && !outcome.is_service_failure() { Outcome::Transient } else { outcome }
    }

    fn judge(
        &self,
        backup: &Self::Backup,
        outcome: Outcome,
        result: &Result<Response<R>, BoxError>,
    ) -> Verdict {
        let hints = match result {
            Ok(response) if self.rules.heed_server => Some(self.hints(response)),
            _ => None,
        };
        match hints.and_then(|hints| hints.retry()) {
            Some(false) => return Verdict::Return(Ending::ServerSaidNo),
            // The server asks for it, so it knows that it is safe.
            Some(true) => {}
            None => {
                if let Err(ending) = self.allows(backup.is_idempotent(), outcome, result) {
                    return Verdict::Return(ending);
                }
            }
        }
        if let Err(ending) = self.bodies.check(&backup.body) {
            return Verdict::Return(ending);
        }
        hints.map_or(Verdict::Retry(Delay::Backoff), |hints| self.heed(&hints))
    }

    fn retire(&self, response: Response<R>) -> Retired<Response<R>, Self::Discard> {
        if L::is_whole(response.body()) {
            return Retired::Kept(response);
        }
        Retired::Discarded(Drain::at_most(response.into_body(), self.rules.drain))
    }

    fn counted(&self, result: &Result<Response<R>, BoxError>) -> Option<Attempts> {
        match result {
            Ok(response) => response.extensions().get().cloned(),
            Err(error) => crate::policy::counted_in(&**error),
        }
    }

    fn note(&self, response: &mut Response<R>, attempts: &Attempts) {
        response.extensions_mut().insert(attempts.clone());
    }
}
