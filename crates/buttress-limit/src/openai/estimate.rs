//! How many tokens a request will come to, before anybody knows.

use std::time::Duration;

use http::{Request, header::CONTENT_LENGTH};
use serde::Deserialize;

use crate::{
    cost::{Cost, Unit},
    head::Head,
};

/// What a request is taken to cost, as an extension that [`Estimate::cost`] prefers to its own
/// guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Estimated(pub Cost);

impl Estimated {
    /// Takes a request to cost this.
    #[must_use]
    pub const fn new(cost: Cost) -> Self {
        Self(cost)
    }
}

/// Estimates what a request to an OpenAI-compatible API will come to: its input by its length, its
/// output by the most that it allows. [`UsageSettle`](crate::UsageSettle) puts it right afterwards.
///
/// ```
/// use buttress_limit::{Estimate, Unit};
///
/// let estimate = Estimate::new();
/// let body = br#"{"model": "m", "max_tokens": 100,
///     "messages": [{"role": "user", "content": "Why does a tall wall stand?"}]}"#;
/// let cost = estimate.of_body(body);
/// assert_eq!((cost.of(Unit::Requests), cost.of(Unit::OutputTokens)), (1, 100));
/// assert!((100..150).contains(&cost.of(Unit::Tokens)));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    bytes_per_token: u32,
    output: u32,
    most: u64,
    wait: Duration,
}

impl Default for Estimate {
    fn default() -> Self {
        Self::new()
    }
}

/// What of a request says how long its answer may get.
#[derive(Default, Deserialize)]
struct Limits {
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    n: Option<u64>,
}

impl Estimate {
    /// With four bytes to a token, and 500 tokens of output where a request does not say. Bodies are
    /// read up to 1 MiB, for up to 5 seconds.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes_per_token: 4, output: 500, most: 1 << 20, wait: Duration::from_secs(5) }
    }

    /// Tokens of output where a request does not say how many it allows. Default: 500.
    #[must_use]
    pub const fn output(mut self, tokens: u32) -> Self {
        self.output = tokens;
        self
    }

    /// Bytes of a request to a token. Default: 4; with 0, what is not output costs nothing.
    #[must_use]
    pub const fn bytes_per_token(mut self, bytes: u32) -> Self {
        self.bytes_per_token = bytes;
        self
    }

    /// Bytes of a body that an [`EstimateLayer`](super::EstimateLayer) reads before it sends any. A longer
    /// one is judged by its length. Default: 1 MiB.
    #[must_use]
    pub const fn max_body(mut self, bytes: u64) -> Self {
        self.most = bytes;
        self
    }

    /// How long an [`EstimateLayer`](super::EstimateLayer) reads a body, from the first time that it
    /// cannot go on. Then the body streams on from where it was read, since its client may wait for an answer
    /// first, and is judged by its length. Default: 5 seconds.
    #[must_use]
    pub const fn max_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    pub(super) const fn most(&self) -> u64 {
        self.most
    }

    pub(super) const fn wait(&self) -> Duration {
        self.wait
    }

    /// The cost of a request with this body. What is not JSON is judged by its length; nothing at all costs
    /// no tokens.
    #[must_use]
    pub fn of_body(&self, body: &[u8]) -> Cost {
        if body.is_empty() {
            return Cost::request();
        }
        let limits: Limits = serde_json::from_slice(body).unwrap_or_default();
        let most = limits.max_completion_tokens.or(limits.max_output_tokens);
        let most = most.or(limits.max_tokens).unwrap_or(u64::from(self.output));
        let output = most.saturating_mul(limits.n.unwrap_or(1).max(1));
        self.sum(body.len() as u64, output)
    }

    /// The cost of a request whose body has this length.
    #[must_use]
    pub fn of_length(&self, bytes: u64) -> Cost {
        self.sum(bytes, u64::from(self.output))
    }

    /// The cost of a request by its head: that of the [`Estimated`] in its extensions, else by its
    /// `Content-Length`. One that has no body, such as a list of models, costs no tokens.
    #[must_use]
    pub fn cost(&self, head: &Head<'_>) -> Cost {
        if let Some(Estimated(cost)) = head.extensions.get() {
            return *cost;
        }
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        match length.and_then(|length| length.parse().ok()) {
            Some(0) => Cost::request(),
            Some(length) => self.of_length(length),
            None if head.headers.contains_key(http::header::TRANSFER_ENCODING) => self.of_length(0),
            None => Cost::request(),
        }
    }

    /// Notes what a request with this body will come to, for [`cost`](Self::cost) to find.
    pub fn mark<B>(&self, request: &mut Request<B>, body: &[u8]) {
        request.extensions_mut().insert(Estimated(self.of_body(body)));
    }

    fn sum(&self, bytes: u64, output: u64) -> Cost {
        let input = bytes.checked_div(u64::from(self.bytes_per_token)).unwrap_or(0);
        Cost::request()
            .tokens(input.saturating_add(output))
            .with(Unit::InputTokens, input)
            .with(Unit::OutputTokens, output)
    }
}
