//! What an HTTP policy goes by, apart from bodies.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use buttress_core::Outcome;
use http::{HeaderName, Method, Request, StatusCode, request::Parts};

/// Switches retries off for one request, as a request extension.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoRetry;

impl NoRetry {
    /// The switch.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

/// What a retry layer does with a request that a layer further out already retries.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nested {
    /// It sends the request once, so that three attempts within three stay three.
    #[default]
    Refuse,
    /// It retries as if it were alone: attempts multiply.
    Multiply,
}

/// A header that tells the server which attempt it sees.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptHeader {
    /// `x-envoy-attempt-count`: the attempt, counted from 1, in every request.
    Envoy,
    /// `grpc-previous-rpc-attempts`: how many came before, absent from the first (gRFC A6).
    Grpc,
    /// A header of one's own: the attempt, counted from 1, in every request.
    Custom(HeaderName),
}

impl AttemptHeader {
    fn value(&self, attempt: u32) -> Option<(HeaderName, u32)> {
        match self {
            Self::Envoy => Some((HeaderName::from_static("x-envoy-attempt-count"), attempt)),
            Self::Custom(name) => Some((name.clone(), attempt)),
            Self::Grpc if attempt < 2 => None,
            Self::Grpc => {
                Some((HeaderName::from_static("grpc-previous-rpc-attempts"), attempt - 1))
            }
        }
    }
}

type Judge = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;
type JudgeError = Arc<dyn Fn(&(dyn Error + 'static)) -> Option<Outcome> + Send + Sync>;
type Prepare = Arc<dyn Fn(&mut Parts, u32) + Send + Sync>;

/// Which protocol tells success from failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Grpc,
}

#[derive(Clone)]
pub(super) struct Rules {
    pub(super) protocol: Protocol,
    /// Statuses after which an idempotent request goes again.
    pub(super) statuses: Vec<StatusCode>,
    /// Statuses that say nothing was processed, so that any request goes again.
    pub(super) refusals: Vec<StatusCode>,
    /// gRPC codes after which any request goes again.
    pub(super) codes: Vec<u32>,
    /// The methods that count as idempotent; `None` for those of RFC 9110.
    pub(super) methods: Option<Vec<Method>>,
    pub(super) idempotent: Option<Judge>,
    pub(super) errors: Option<JudgeError>,
    /// Whether a response that fails before its first frame proves that nothing was delivered.
    pub(super) unanswered: bool,
    pub(super) make_key: bool,
    pub(super) heed_server: bool,
    pub(super) max_server_delay: Duration,
    pub(super) attempt_header: Option<AttemptHeader>,
    pub(super) before_attempt: Option<Prepare>,
    pub(super) drain: u64,
    pub(super) nested: Nested,
}

impl Rules {
    pub(super) fn http() -> Self {
        let statuses = [408, 425, 429, 500, 502, 503, 504];
        Self {
            protocol: Protocol::Http,
            statuses: statuses.into_iter().filter_map(|s| StatusCode::from_u16(s).ok()).collect(),
            refusals: Vec::new(),
            codes: Vec::new(),
            methods: None,
            idempotent: None,
            errors: None,
            unanswered: false,
            make_key: false,
            heed_server: true,
            max_server_delay: Duration::from_secs(60),
            attempt_header: None,
            before_attempt: None,
            drain: 16 * 1024,
            nested: Nested::Refuse,
        }
    }

    /// Makes a request ready that goes only once; taking it apart for nothing would cost.
    pub(super) fn prepare_first<B>(&self, request: Request<B>) -> Request<B> {
        if self.attempt_header.is_none() && self.before_attempt.is_none() {
            return request;
        }
        let (mut parts, body) = request.into_parts();
        self.prepare(&mut parts, 1);
        Request::from_parts(parts, body)
    }

    /// Makes a request ready for its `attempt`: the header that counts, and the user's own word.
    pub(super) fn prepare(&self, parts: &mut Parts, attempt: u32) {
        if let Some((name, value)) = self.attempt_header.as_ref().and_then(|h| h.value(attempt)) {
            parts.headers.insert(name, value.into());
        }
        if let Some(prepare) = &self.before_attempt {
            prepare(parts, attempt);
        }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("protocol", &self.protocol)
            .field("statuses", &self.statuses)
            .field("refusals", &self.refusals)
            .field("codes", &self.codes)
            .field("methods", &self.methods)
            .field("heed_server", &self.heed_server)
            .field("max_server_delay", &self.max_server_delay)
            .field("nested", &self.nested)
            .finish_non_exhaustive()
    }
}
