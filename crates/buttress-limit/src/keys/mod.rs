//! The keys that come with the crate.

mod client_ip;
mod field;
mod template;

pub use self::{
    client_ip::{ClientIp, PeerAddr},
    field::{Credential, HeaderKey},
    template::{PathTemplate, RouteTemplate},
};

use crate::{head::Head, key::Key};

/// Says whose quota a request counts against.
///
/// Closures fit: `|head: &Head<'_>| head.headers.get("x-tenant").map(|t| Key::hash(t.as_bytes()))`.
/// A tuple is a quota for each combination:
///
/// ```
/// use buttress_limit::{ClientIp, Local, PathTemplate, Quota, RateLimitLayer};
///
/// # fn main() -> Result<(), buttress_limit::SettingError> {
/// let limiter = Local::new(Quota::per_minute(60)?)?;
/// let layer = RateLimitLayer::inbound(limiter).key((ClientIp::peer(), PathTemplate::new()));
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
pub trait RequestKey {
    /// The key; `None` if the request has none, see [`MissingKey`](crate::MissingKey).
    fn key(&self, head: &Head<'_>) -> Option<Key>;

    /// The key, if it is at hand. Where it is not, [`key`](Self::key) is asked, which has the last
    /// word; what takes longer to find belongs there, out of the way of what most requests take.
    #[inline]
    fn at_hand(&self, head: &Head<'_>) -> Option<Key> {
        self.key(head)
    }
}

impl<F: Fn(&Head<'_>) -> Option<Key>> RequestKey for F {
    fn key(&self, head: &Head<'_>) -> Option<Key> {
        self(head)
    }
}

/// One quota for all.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Global;

impl Global {
    /// One for all.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl RequestKey for Global {
    fn key(&self, _: &Head<'_>) -> Option<Key> {
        Some(Key::GLOBAL)
    }
}

/// A quota for each combination. A request that lacks one of the keys has none.
impl<A: RequestKey, B: RequestKey> RequestKey for (A, B) {
    fn key(&self, head: &Head<'_>) -> Option<Key> {
        Some(self.0.key(head)?.and(self.1.key(head)?))
    }
}

/// A quota for each combination. A request that lacks one of the keys has none.
impl<A: RequestKey, B: RequestKey, C: RequestKey> RequestKey for (A, B, C) {
    fn key(&self, head: &Head<'_>) -> Option<Key> {
        Some(self.0.key(head)?.and(self.1.key(head)?).and(self.2.key(head)?))
    }
}
