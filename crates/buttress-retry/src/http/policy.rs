//! The policy for HTTP and gRPC: its settings. What they lead to is in `judge`.

use std::{error::Error, sync::Arc, time::Duration};

use buttress_core::Outcome;
use http::{Method, StatusCode, request::Parts};

use super::{
    bodies::{CloneBodies, ReplayBodies, ReplayInto},
    look::{Held, Unheld},
    rules::{AttemptHeader, Nested, Protocol, Rules},
};
use crate::ReplayLimits;

/// Decides which HTTP and gRPC requests may go again.
///
/// What is retried, unless said otherwise:
///
/// | failure | goes again |
/// |---|---|
/// | nothing was sent: no connection, a refused stream, a GOAWAY | any request |
/// | 408, 425, 429, 500, 502, 503, 504 | an idempotent request |
/// | the connection broke, no answer in time | an idempotent request |
/// | a certificate that does not fit, another status | no request |
///
/// Idempotent are the methods of RFC 9110 section 9.2.2, requests with an `Idempotency-Key`, and
/// what [`treat_as_idempotent`](Self::treat_as_idempotent) names. `CONNECT` and upgrades never go
/// again.
///
/// `M` is the way of the request body ([`CloneBodies`], [`ReplayBodies`]), `L` what is seen of the
/// response body ([`Unheld`], [`Held`]).
#[must_use]
#[derive(Clone, Debug)]
pub struct HttpPolicy<M = CloneBodies, L = Unheld> {
    pub(super) rules: Rules,
    pub(super) bodies: M,
    look: L,
}

impl HttpPolicy {
    /// The rules in the table above.
    pub fn http() -> Self {
        Self { rules: Rules::http(), bodies: CloneBodies, look: Unheld }
    }

    /// gRPC: the status is `grpc-status`, in headers or in trailers that come first; `UNAVAILABLE`
    /// goes again, whatever the method; `grpc-timeout` is a deadline; the retries are counted in
    /// `grpc-previous-rpc-attempts`.
    pub fn grpc() -> Self {
        let rules = Rules {
            protocol: Protocol::Grpc,
            codes: vec![14],
            attempt_header: Some(AttemptHeader::Grpc),
            ..Rules::http()
        };
        Self { rules, ..Self::http() }
    }

    /// The conventions of LLM APIs: 429, 503 and 529 say that nothing was processed, so that a
    /// `POST` goes again as well; so does one whose answer broke off before it began.
    pub fn llm() -> Self {
        let refusals = [429, 503, 529];
        let rules = Rules {
            refusals: refusals.into_iter().filter_map(|s| StatusCode::from_u16(s).ok()).collect(),
            unanswered: true,
            ..Rules::http()
        };
        Self { rules, ..Self::http() }
    }
}

impl<M, L> HttpPolicy<M, L> {
    /// The statuses after which an idempotent request goes again. Default: 408, 425, 429, 500,
    /// 502, 503, 504.
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.rules.statuses = statuses.into_iter().collect();
        self
    }

    /// The statuses that say nothing was processed, so that any request goes again. Default: none;
    /// for [`llm`](HttpPolicy::llm) 429, 503, 529.
    pub fn refusals(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.rules.refusals = statuses.into_iter().collect();
        self
    }

    /// The gRPC codes after which any request goes again. Default for
    /// [`grpc`](HttpPolicy::grpc): 14, `UNAVAILABLE`.
    pub fn grpc_codes(mut self, codes: impl IntoIterator<Item = u32>) -> Self {
        self.rules.codes = codes.into_iter().collect();
        self
    }

    /// The methods that count as idempotent. Default: those of RFC 9110 section 9.2.2.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.rules.methods = Some(methods.into_iter().collect());
        self
    }

    /// Counts more requests as idempotent: those for which `judge` says yes.
    pub fn treat_as_idempotent(
        mut self,
        judge: impl Fn(&Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.rules.idempotent = Some(Arc::new(judge));
        self
    }

    /// Judges errors before the standard rules do; `None` leaves an error to them.
    pub fn classify_error(
        mut self,
        judge: impl Fn(&(dyn Error + 'static)) -> Option<Outcome> + Send + Sync + 'static,
    ) -> Self {
        self.rules.errors = Some(Arc::new(judge));
        self
    }

    /// Gives each request that is not idempotent, and could be sent again, an `Idempotency-Key` of its
    /// own, the same for all attempts, and so makes it idempotent. For servers that honour the header only. Default: off.
    pub fn make_idempotency_keys(mut self) -> Self {
        self.rules.make_key = true;
        self
    }

    /// Takes no notice of what the server says about when to come back. Default: it is heeded.
    pub fn ignore_server_hints(mut self) -> Self {
        self.rules.heed_server = false;
        self
    }

    /// The longest wait that a server may ask for; when it asks for more, its response is
    /// returned. Default: 60 s.
    pub fn max_server_delay(mut self, most: Duration) -> Self {
        self.rules.max_server_delay = most;
        self
    }

    /// A header that counts the attempts. Default: none; for [`grpc`](HttpPolicy::grpc)
    /// [`AttemptHeader::Grpc`].
    pub fn attempt_header(mut self, header: AttemptHeader) -> Self {
        self.rules.attempt_header = Some(header);
        self
    }

    /// Changes the head of a request before each attempt, which is counted from 1. The changes do
    /// not add up: each attempt starts from the request as it came.
    pub fn before_attempt(
        mut self,
        prepare: impl Fn(&mut Parts, u32) + Send + Sync + 'static,
    ) -> Self {
        self.rules.before_attempt = Some(Arc::new(prepare));
        self
    }

    /// How many bytes of a failed response are read and thrown away during the wait, so that its
    /// connection can be used again. Default: 16 KiB; 0 drops it at once.
    pub fn drain(mut self, bytes: u64) -> Self {
        self.rules.drain = bytes;
        self
    }

    /// What happens to a request that a layer further out already retries. Default:
    /// [`Nested::Refuse`].
    pub fn nested(mut self, nested: Nested) -> Self {
        self.rules.nested = nested;
        self
    }

    /// Records streaming bodies within `limits`, in place of cloning bodies. The inner service
    /// then receives a [`ReplayBody`](crate::ReplayBody).
    pub fn replay(self, limits: ReplayLimits) -> HttpPolicy<ReplayBodies, L> {
        self.bodies(ReplayBodies::new(limits))
    }

    /// Records streaming bodies, for an inner service that takes no other type of body than `B`:
    /// `wrap` makes one out of the [`ReplayBody`](crate::ReplayBody), such as
    /// `axum::body::Body::new` or `tonic::body::Body::new`.
    pub fn replay_into<F>(self, limits: ReplayLimits, wrap: F) -> HttpPolicy<ReplayInto<F>, L> {
        self.bodies(ReplayInto::new(limits, wrap))
    }

    /// Another way for request bodies.
    pub fn bodies<M2>(self, bodies: M2) -> HttpPolicy<M2, L> {
        HttpPolicy { rules: self.rules, bodies, look: self.look }
    }

    /// Expects responses that [`Commit`](crate::Commit) has held.
    pub fn held(self) -> HttpPolicy<M, Held> {
        HttpPolicy { rules: self.rules, bodies: self.bodies, look: Held }
    }
}
