//! Purging, and counts.

use std::sync::Arc;

use http::{Request, Uri, request::Parts};

use crate::{
    Purge, Removal, Statistics, Store, StoreError, Tag, Unkeyed, body::InFlight, core::State,
    settings::Settings,
};

/// Purges what is stored, and tells what the layer did. Clones are the same.
#[derive(Clone, Debug)]
pub struct CacheHandle {
    settings: Arc<Settings>,
    state: Arc<State>,
    in_flight: InFlight,
}

impl CacheHandle {
    pub(crate) const fn new(
        settings: Arc<Settings>,
        state: Arc<State>,
        in_flight: InFlight,
    ) -> Self {
        Self { settings, state, in_flight }
    }

    /// Purges what is stored for GET requests of a URI, in all variants and whatever headers that
    /// are guarded against its requests had, and says how much that was.
    ///
    /// Keys that are made of more than the URI are those of a request without that; see
    /// [`purge_request`](Self::purge_request).
    ///
    /// # Errors
    ///
    /// If the store fails. A URI that has no key has nothing stored either.
    pub async fn purge_uri(&self, uri: &Uri, removal: Removal) -> Result<u64, StoreError> {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.uri = uri.clone();
        self.purge_request(&parts, removal).await
    }

    /// Purges what would answer a GET request with this head.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn purge_request(&self, parts: &Parts, removal: Removal) -> Result<u64, StoreError> {
        let directive = parts.extensions.get::<crate::CacheDirective>();
        let scope = directive.and_then(|directive| directive.scope.as_deref());
        let keys = &self.settings.keys;
        let identity: Result<_, Unkeyed> = keys.for_changes(&parts.headers).identify(parts, scope);
        let Ok(identity) = identity else { return Ok(0) };
        self.state.purge_resource(keys, &identity, removal).await
    }

    /// Purges everything that has a tag.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn purge_tag(&self, tag: &Tag, removal: Removal) -> Result<u64, StoreError> {
        self.state.purge(&Purge::Tag(tag.clone()), removal).await
    }

    /// Purges everything.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn purge_all(&self, removal: Removal) -> Result<u64, StoreError> {
        self.state.purge(&Purge::All, removal).await
    }

    /// What the layer and its clones did so far, and what is stored.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.state.counters.read(self.state.store.usage(), self.in_flight.held())
    }
}
