//! Keys out of headers. What is kept of them is a hash.

use http::{HeaderName, header::AUTHORIZATION};

use super::RequestKey;
use crate::{head::Head, key::Key};

static API_KEYS: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// A quota for each value of a header.
///
/// Whoever sends the request chooses the value. Before it is known to be genuine, a made-up one is
/// a fresh quota each time, so limit by [`ClientIp`](crate::ClientIp) as well.
#[derive(Clone, Debug)]
pub struct HeaderKey {
    name: HeaderName,
}

impl HeaderKey {
    /// By the header of this name. Of several lines the first counts.
    #[must_use]
    pub const fn new(name: HeaderName) -> Self {
        Self { name }
    }
}

impl RequestKey for HeaderKey {
    fn key(&self, head: &Head<'_>) -> Option<Key> {
        let value = head.headers.get(&self.name)?;
        (!value.is_empty()).then(|| Key::hash(value.as_bytes()))
    }
}

/// A quota for each credential: the `Authorization` of the request, or its `X-API-Key`, `API-Key` or
/// `X-Goog-API-Key`.
///
/// Before a credential is known to be genuine, a made-up one is a fresh quota each time, so limit by
/// [`ClientIp`](crate::ClientIp) as well.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Credential;

impl Credential {
    /// By whatever credential there is.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl RequestKey for Credential {
    fn key(&self, head: &Head<'_>) -> Option<Key> {
        let named = |name: &HeaderName| head.headers.get(name).filter(|value| !value.is_empty());
        if let Some(value) = named(&AUTHORIZATION) {
            // A scheme has no case, and a client may write it either way.
            let value = value.as_bytes();
            let scheme = value.iter().position(|byte| *byte == b' ').unwrap_or(0);
            return Some(Key::hash(&value[scheme..]));
        }
        API_KEYS.iter().find_map(named).map(|value| Key::hash(value.as_bytes()))
    }
}
