//! Who served a call.

use http::Uri;

use crate::{Endpoint, EndpointId, Lease};

/// Which endpoint answered, as a response extension: the endpoint as it was when it was added.
#[derive(Clone, Debug)]
pub struct Served {
    endpoint: Endpoint,
    id: EndpointId,
    attempt: u32,
}

impl Served {
    pub(crate) fn of(lease: &Lease, attempt: u32) -> Self {
        Self { endpoint: lease.endpoint().clone(), id: lease.id(), attempt }
    }

    /// The name the endpoint is shown by.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.endpoint.shown_as()
    }

    /// The endpoint's URI.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        self.endpoint.uri()
    }

    /// The endpoint's number in its set.
    #[must_use]
    pub const fn id(&self) -> EndpointId {
        self.id
    }

    /// How many endpoints the balancer sent the call to, this one included.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }
}
