//! Layers that are ready to use.

use std::{num::NonZeroU32, time::Duration};

use http::StatusCode;

use super::{look::Held, policy::HttpPolicy};
use crate::{
    Backoff, CloneBodies, CommitLayer, EmptyBudget, FirstFrame, ReplayBodies, ReplayInto,
    ReplayLimits, RetryLayer,
};

const FIVE: NonZeroU32 = NonZeroU32::new(5).expect("five is not zero");
const SIX: NonZeroU32 = NonZeroU32::new(6).expect("six is not zero");

impl RetryLayer<HttpPolicy> {
    /// Safe for any HTTP client: see [`HttpPolicy`] for what goes again. At most 3 attempts,
    /// exponential backoff from 50 ms to 10 s with full jitter, a budget of a fifth of the
    /// successful calls.
    pub fn http() -> Self {
        Self::new(HttpPolicy::http())
    }

    /// What scripts around busy APIs do today, made safe: at most 5 attempts, 2 s of backoff that
    /// doubles up to 32 s, 10 s for each attempt; of the statuses 503 only, and that for any method.
    ///
    /// What those scripts leave out is here: full jitter, the server's `Retry-After`, a budget.
    pub fn busy() -> Self {
        let policy = HttpPolicy::http().statuses([]).refusals([StatusCode::SERVICE_UNAVAILABLE]);
        let mut layer = Self::new(policy).attempt_timeout(Duration::from_secs(10));
        layer.settings.limits.max_attempts = FIVE;
        layer.backoff(Backoff::doubling(Duration::from_secs(2), Duration::from_secs(32)))
    }
}

impl RetryLayer<HttpPolicy<CloneBodies, Held>, (), CommitLayer> {
    /// gRPC, for tonic and others: see [`HttpPolicy::grpc`]. At most 3 attempts.
    ///
    /// A response is held for at most 50 ms until its first message or its trailers are there: a
    /// failure mostly comes as trailers right behind the head, and a stream whose first message
    /// takes longer should not wait for its head.
    ///
    /// Around a `tonic::transport::Channel`, whose bodies are streams of one type:
    /// `RetryLayer::grpc().replay_into(ReplayLimits::new(), tonic::body::Body::new)`.
    pub fn grpc() -> Self {
        let first = FirstFrame::new().within(Duration::from_millis(50));
        RetryLayer::new(HttpPolicy::grpc().held()).commit(first)
    }

    /// LLM APIs: see [`HttpPolicy::llm`]. At most 6 attempts, backoff from 500 ms to 8 s, 10
    /// minutes in all; a call that needs a retry while the budget is empty waits in line.
    ///
    /// A response is held until its first significant byte, for at most 5 s: one that breaks off
    /// before goes again, and blank lines and comments that keep a connection open are not taken for a
    /// beginning.
    pub fn llm() -> Self {
        let mut layer = RetryLayer::new(HttpPolicy::llm().held()).commit(FirstFrame::new());
        layer.settings.limits.max_attempts = SIX;
        layer
            .backoff(Backoff::doubling(Duration::from_millis(500), Duration::from_secs(8)))
            .on_empty_budget(EmptyBudget::Wait)
            .total_timeout(Duration::from_secs(600))
    }
}

impl<M, L, O, C> RetryLayer<HttpPolicy<M, L>, O, C> {
    /// Records streaming uploads within `limits`, so that they can be sent again: see
    /// [`HttpPolicy::replay`].
    pub fn replay(self, limits: ReplayLimits) -> RetryLayer<HttpPolicy<ReplayBodies, L>, O, C> {
        self.map_policy(|policy| policy.replay(limits))
    }

    /// The same for a service that takes one type of body only: see [`HttpPolicy::replay_into`].
    pub fn replay_into<F>(
        self,
        limits: ReplayLimits,
        wrap: F,
    ) -> RetryLayer<HttpPolicy<ReplayInto<F>, L>, O, C> {
        self.map_policy(|policy| policy.replay_into(limits, wrap))
    }
}
