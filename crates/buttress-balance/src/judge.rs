//! What an answer says about its endpoint.

use std::{error::Error, fmt, sync::Arc, time::SystemTime};

use buttress_core::{BoxError, Hints, Outcome, grpc_status, is_unconnected};
use http::{HeaderMap, Response, StatusCode};

use crate::{Observation, Verdict};

type JudgeResponse = Arc<dyn Fn(StatusCode, &HeaderMap) -> Option<Outcome> + Send + Sync>;
type JudgeError = Arc<dyn Fn(&(dyn Error + 'static)) -> Option<Outcome> + Send + Sync>;

/// Judges responses and errors; by status and error, unless told otherwise.
#[derive(Clone, Default)]
pub(crate) struct Judge {
    pub(crate) grpc: bool,
    pub(crate) response: Option<JudgeResponse>,
    pub(crate) error: Option<JudgeError>,
}

impl Judge {
    /// What the answer came to, and what that says about the endpoint.
    pub(crate) fn result<B>(
        &self,
        result: &Result<Response<B>, BoxError>,
        heed_hints: bool,
    ) -> (Outcome, Observation) {
        match result {
            Ok(response) => self.response(response, heed_hints),
            Err(error) => self.error(&**error),
        }
    }

    fn response<B>(&self, response: &Response<B>, heed_hints: bool) -> (Outcome, Observation) {
        let (status, headers) = (response.status(), response.headers());
        let said = self.response.as_ref().and_then(|judge| judge(status, headers));
        let by_status = || Outcome::of_status(status);
        let grpc = || grpc_status(headers).filter(|_| self.grpc).map(Outcome::of_grpc);
        let outcome = said.or_else(grpc).unwrap_or_else(by_status);
        if !outcome.is_service_failure() {
            return (outcome, Observation::new(Verdict::of(outcome)));
        }
        let delay = if heed_hints { Hints::read(status, headers, wall()).delay() } else { None };
        let delay = delay.filter(|delay| !delay.is_zero());
        // A limit that is reached is no fault; 503 alone may be anything.
        let one_caller = status == StatusCode::TOO_MANY_REQUESTS;
        let asks = outcome == Outcome::Overloaded
            && (delay.is_some() || one_caller || status.is_success());
        let verdict = if asks { Verdict::Soft } else { Verdict::Failure };
        let observation = Observation::new(verdict);
        let observation = match delay {
            // A quota is its caller's own: others need not wait for it.
            Some(delay) if one_caller => observation.spare(delay),
            Some(delay) => observation.hold(delay),
            None => observation,
        };
        (outcome, observation)
    }

    /// No error is an answer, so none is good for its endpoint.
    fn error(&self, error: &(dyn Error + 'static)) -> (Outcome, Observation) {
        let said = self.error.as_ref().and_then(|judge| judge(error));
        let outcome = said.unwrap_or_else(|| Outcome::of_error(error));
        let (outcome, verdict) = match outcome {
            // A peer that cannot be spoken to, by its certificate or its protocol. Another one may be.
            Outcome::Rejected if is_unconnected(error) => (Outcome::NotSent, Verdict::Failure),
            // The request could not be sent, or the client broke off its upload.
            Outcome::Rejected | Outcome::Success => (outcome, Verdict::Neutral),
            // Turned away before it was looked at: a stream or a place in a bulkhead that was refused.
            Outcome::NotSent if !is_unconnected(error) => (outcome, Verdict::Soft),
            _ => (outcome, Verdict::Failure),
        };
        (outcome, Observation::new(verdict))
    }
}

/// Whether the trailers say that the call failed after all, by the endpoint's fault.
pub(crate) fn failed_in_trailers(trailers: &HeaderMap) -> bool {
    let outcome = grpc_status(trailers).map(Outcome::of_grpc);
    outcome.is_some_and(|outcome| outcome.is_service_failure() && outcome != Outcome::Overloaded)
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("grpc", &self.grpc).finish_non_exhaustive()
    }
}

/// The wall clock, for HTTP dates; where the response has a `Date`, it is not looked at.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall() -> SystemTime {
    SystemTime::now()
}
