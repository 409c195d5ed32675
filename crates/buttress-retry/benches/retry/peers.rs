//! What a good user of `tower::retry` writes: at most three attempts with jittered backoff, on
//! errors (and, for HTTP, on 503 to what may be repeated), with or without its budget.
//!
//! They are written to cost as little as they can: the timer is boxed, so that the future stays
//! small, and made when first needed; the jitter comes from a generator per thread.

use std::{pin::Pin, sync::Arc, time::Duration};

use buttress_core::BoxError;
use http::{Method, Request, Response, StatusCode};
use tokio::time::{Sleep, sleep};
use tower::retry::{
    Policy,
    budget::{Budget, TpsBudget},
};

/// Tower's policies are cloned for every call.
#[derive(Clone)]
pub(crate) struct Peer {
    attempt: u32,
    budget: Option<Arc<TpsBudget>>,
}

impl Peer {
    pub(crate) fn free() -> Self {
        Self { attempt: 1, budget: None }
    }

    pub(crate) fn budgeted() -> Self {
        Self { attempt: 1, budget: Some(Arc::new(TpsBudget::default())) }
    }

    fn next(&mut self, failed: bool) -> Option<Pin<Box<Sleep>>> {
        if !failed {
            if let Some(budget) = &self.budget {
                budget.deposit();
            }
            return None;
        }
        let paid = || self.budget.as_ref().is_none_or(|budget| budget.withdraw());
        if self.attempt >= 3 || !paid() {
            return None;
        }
        let ceiling = Duration::from_millis(50) * 2_u32.pow(self.attempt - 1);
        self.attempt += 1;
        Some(Box::pin(sleep(ceiling.mul_f64(fastrand::f64()))))
    }
}

impl<Res> Policy<u64, Res, BoxError> for Peer {
    type Future = Pin<Box<Sleep>>;

    fn retry(&mut self, _: &mut u64, result: &mut Result<Res, BoxError>) -> Option<Self::Future> {
        self.next(result.is_err())
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

/// The same for HTTP. Whether a request may be repeated must be known before it is sent, since what
/// is not cloned then is gone: `clones_all` decides for those that may be only if nothing was sent.
#[derive(Clone)]
pub(crate) struct HttpPeer {
    peer: Peer,
    clones_all: bool,
}

impl HttpPeer {
    pub(crate) fn new(peer: Peer) -> Self {
        Self { peer, clones_all: true }
    }

    /// Lets requests that are not idempotent go without a copy, and without any retry.
    pub(crate) fn careless(peer: Peer) -> Self {
        Self { peer, clones_all: false }
    }
}

fn is_idempotent<B>(request: &Request<B>) -> bool {
    request.method().is_idempotent() || request.headers().contains_key("idempotency-key")
}

fn is_upgrade<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT || request.headers().contains_key(http::header::UPGRADE)
}

impl<B: Clone, R> Policy<Request<B>, Response<R>, BoxError> for HttpPeer {
    type Future = Pin<Box<Sleep>>;

    fn retry(
        &mut self,
        request: &mut Request<B>,
        result: &mut Result<Response<R>, BoxError>,
    ) -> Option<Self::Future> {
        let failed = match result {
            Ok(response) => {
                response.status() == StatusCode::SERVICE_UNAVAILABLE && is_idempotent(request)
            }
            Err(_) => is_idempotent(request),
        };
        self.peer.next(failed)
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        if is_upgrade(request) {
            return None;
        }
        (self.clones_all || is_idempotent(request)).then(|| request.clone())
    }
}
