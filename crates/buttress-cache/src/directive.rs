//! What the program that makes a request asks of the cache, as a request extension.

use std::{sync::Arc, time::Duration};

use crate::Tag;

/// What the program asks of the cache for one request, as a request extension.
///
/// It is for the program; what a client may ask stands in `Cache-Control`.
///
/// ```
/// use buttress_cache::CacheDirective;
/// use http::Request;
/// use std::time::Duration;
///
/// let directive = CacheDirective::new().ttl(Duration::from_secs(60)).tag("prices");
/// let request = Request::get("http://shop.example/prices").extension(directive);
/// # drop(request);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct CacheDirective {
    pub(crate) way: Way,
    pub(crate) ttl: Option<Duration>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) scope: Option<Arc<[u8]>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    #[default]
    Through,
    Bypass,
    Refresh,
    OnlyIfCached,
}

impl CacheDirective {
    /// Asks for nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Neither answers from the store nor stores the answer. What an unsafe request changes is
    /// invalid all the same.
    pub fn bypass() -> Self {
        Self { way: Way::Bypass, ..Self::default() }
    }

    /// Asks the origin in any case, and stores the answer.
    pub fn refresh() -> Self {
        Self { way: Way::Refresh, ..Self::default() }
    }

    /// Answers from the store or not at all, which is a 504.
    pub fn only_if_cached() -> Self {
        Self { way: Way::OnlyIfCached, ..Self::default() }
    }

    /// The answer is fresh for so long from now, whatever it says itself. What it forbids stays
    /// forbidden: `no-store`, `private` in a shared cache, `Vary: *`.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Gives the answer a tag, by which it can be purged.
    pub fn tag(mut self, tag: impl Into<Tag>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Shares the answer only with requests of the same scope: a tenant, a role.
    pub fn scope(mut self, scope: impl AsRef<[u8]>) -> Self {
        self.scope = Some(scope.as_ref().into());
        self
    }
}
