//! What the layer tells those who watch it.

use crate::{CacheOutcome, StoreError, rfc::Refusal};

/// Is told what the layer does. Every method does nothing unless it is written; `()` is the
/// observer that watches nothing and costs nothing.
///
/// The methods run inside the call, so they should be short.
pub trait Observer: Clone + Send + Sync + 'static {
    /// A request is answered.
    fn answered(&self, _outcome: &CacheOutcome) {}

    /// A response was stored, with so many bytes.
    fn stored(&self, _bytes: u64) {}

    /// A response to a request that could have been answered from the store was not stored.
    fn refused(&self, _why: Refusal) {}

    /// The origin did not answer when a stored response was to be revalidated, or with an error.
    fn revalidation_failed(&self) {}

    /// The store failed. The request goes on without it.
    fn store_failed(&self, _error: &StoreError) {}
}

impl Observer for () {}
