//! The resolver of a reqwest client.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{Dns, Observer};

/// For `reqwest::ClientBuilder::dns_resolver`.
impl<S, O> Resolve for Dns<S, O>
where
    S: Send + Sync,
    O: Observer,
{
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = Self::resolve(self, name.as_str());
        Box::pin(async move {
            let found: Addrs = Box::new(lookup.await?);
            Ok(found)
        })
    }
}
