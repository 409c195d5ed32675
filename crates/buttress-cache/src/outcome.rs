//! What the cache did, as a response extension.

use std::{fmt, time::Duration};

/// What the cache did for a response, as a response extension.
///
/// A layer outside that counts tokens or cost finds here that nothing was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheOutcome {
    /// Where the response came from.
    pub result: CacheResult,
    /// How old it is; nothing if it came from the inner service just now.
    pub age: Duration,
}

/// Where a response came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheResult {
    /// From the store, fresh.
    Hit,
    /// From the store, stale, where that is allowed.
    Stale,
    /// From the store, after the inner service confirmed it.
    Revalidated,
    /// From the fetch of another request that was under way.
    Collapsed,
    /// From the inner service.
    Miss,
    /// From the inner service, past the cache.
    Bypass,
    /// From nowhere: the request wanted what is stored, or nothing, and nothing is (504).
    Unsatisfied,
}

impl CacheResult {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 7] = [
        Self::Hit,
        Self::Stale,
        Self::Revalidated,
        Self::Collapsed,
        Self::Miss,
        Self::Bypass,
        Self::Unsatisfied,
    ];

    /// A short name for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Collapsed => "collapsed",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Unsatisfied => "unsatisfied",
        }
    }

    /// Whether the request cost the inner service no body.
    #[must_use]
    pub const fn is_saved(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::Revalidated | Self::Collapsed)
    }
}

impl CacheOutcome {
    pub(crate) const fn new(result: CacheResult, age: Duration) -> Self {
        Self { result, age }
    }
}

impl fmt::Display for CacheResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
