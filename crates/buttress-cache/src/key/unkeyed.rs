//! Why a request has no key.

use std::{error::Error, fmt};

/// Why a request has no key, so that it is neither answered from a store nor kept in one.
///
/// It goes on to the inner service as it is.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unkeyed {
    /// The URI and the `Host` header name different servers.
    AuthorityMismatch,
    /// The host is none that RFC 3986 knows, or there are several `Host` headers.
    InvalidHost,
    /// The authority holds a user name, which RFC 9110, section 4.2.4, tells us to distrust.
    UserInfo,
    /// The target is not a path: `CONNECT`, or `OPTIONS *`.
    NoPath,
    /// A header that is not part of the key may change the answer: see
    /// [`ForwardingGuard`](super::ForwardingGuard).
    ForwardingHeader,
    /// The [`Scope`](super::Scope) knows nobody to whom the request belongs.
    NoScope,
}

impl Unkeyed {
    /// One word for logs and for the `detail` of a `Cache-Status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorityMismatch => "authority-mismatch",
            Self::InvalidHost => "invalid-host",
            Self::UserInfo => "user-info",
            Self::NoPath => "no-path",
            Self::ForwardingHeader => "forwarding-header",
            Self::NoScope => "no-scope",
        }
    }
}

impl fmt::Display for Unkeyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AuthorityMismatch => "the URI and the `Host` header name different servers",
            Self::InvalidHost => "the host is not valid",
            Self::UserInfo => "the authority holds a user name",
            Self::NoPath => "the target is not a path",
            Self::ForwardingHeader => "a forwarding header is not part of the key",
            Self::NoScope => "the request belongs to no scope",
        })
    }
}

impl Error for Unkeyed {}
