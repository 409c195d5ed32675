use super::terms::TOKEN;

/// What a retry takes out of a [`Budget`](crate::Budget), in thousandths of a token.
///
/// The constants are the costs of the four kinds of failure. A timeout costs double, for the server
/// may still be at work on the attempt that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(u32);

impl Cost {
    /// Nothing was sent, so the retry adds no load: free, and granted even by an empty budget.
    pub const NOT_SENT: Self = Self(0);
    /// The server said that it is busy: one token.
    pub const THROTTLED: Self = Self(1_000);
    /// A failure that passes: one token.
    pub const TRANSIENT: Self = Self(1_000);
    /// The attempt took too long: two tokens.
    pub const TIMEOUT: Self = Self(2_000);

    /// A cost in thousandths of a token.
    #[must_use]
    pub const fn from_milli_tokens(milli: u32) -> Self {
        Self(milli)
    }

    /// The cost in thousandths of a token.
    #[must_use]
    pub const fn milli_tokens(self) -> u32 {
        self.0
    }
}

/// Whole tokens, for balances: exact, for they never pass a hundred thousand.
#[expect(clippy::cast_precision_loss, reason = "a balance has 27 bits")]
pub(super) fn tokens(milli: u64) -> f64 {
    milli as f64 / TOKEN as f64
}
