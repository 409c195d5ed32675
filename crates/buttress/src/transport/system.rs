//! What stands in for the cache of names when the feature `dns` is off: the system's resolver.

use hyper_util::client::legacy::connect::dns::GaiResolver;

use super::resolve::Resolver;

/// The resolver of a transport for which none was chosen.
pub(super) fn default() -> Resolver {
    Resolver::new(GaiResolver::new())
}
