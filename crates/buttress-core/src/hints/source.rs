//! Where a hint came from.

use std::fmt;

/// The header, or the family of headers, that a hint came from.
///
/// The set is small and fixed whatever a server sends, so it is fit for a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HintSource {
    /// `x-should-retry`.
    ShouldRetry,
    /// `grpc-retry-pushback-ms`, in the headers or in the trailers.
    Pushback,
    /// `retry-after-ms`.
    RetryAfterMs,
    /// `x-ms-retry-after-ms`.
    XMsRetryAfterMs,
    /// `retry-after`.
    RetryAfter,
    /// `x-amz-retry-after`.
    XAmzRetryAfter,
    /// `x-ratelimit-reset` and its relatives: with a suffix such as `-tokens`, with `rate-limit` in
    /// two words, with another prefix.
    XRateLimitReset,
    /// `anthropic-ratelimit-requests-reset` and its relatives.
    AnthropicRateLimitReset,
    /// `ratelimit`, the field of the httpapi draft.
    RateLimit,
    /// `ratelimit-reset`, the field of its earlier drafts.
    RateLimitReset,
}

impl HintSource {
    /// The name of the header in lower case; of a family, the name that stands for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ShouldRetry => "x-should-retry",
            Self::Pushback => "grpc-retry-pushback-ms",
            Self::RetryAfterMs => "retry-after-ms",
            Self::XMsRetryAfterMs => "x-ms-retry-after-ms",
            Self::RetryAfter => "retry-after",
            Self::XAmzRetryAfter => "x-amz-retry-after",
            Self::XRateLimitReset => "x-ratelimit-reset",
            Self::AnthropicRateLimitReset => "anthropic-ratelimit-reset",
            Self::RateLimit => "ratelimit",
            Self::RateLimitReset => "ratelimit-reset",
        }
    }
}

impl fmt::Display for HintSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
