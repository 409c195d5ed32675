//! What the RFCs leave to a cache.

use std::time::Duration;

use http::{HeaderName, StatusCode, header};

/// Whom a cache serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Audience {
    /// Many: `private` is not stored, `s-maxage` counts.
    Shared,
    /// One user, in whose process or on whose machine it is.
    Private,
}

/// What becomes of a response that sets cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SetCookie {
    /// It is stored and reused like any other, which RFC 9111 section 7.3 allows.
    Store,
    /// It is not stored.
    Refuse,
}

/// What the RFCs leave to a cache: the two named profiles, and each choice.
#[derive(Clone, Debug)]
#[must_use]
pub struct Profile {
    pub(crate) audience: Audience,
    pub(crate) set_cookie: SetCookie,
    pub(crate) heuristic: Option<Heuristic>,
    pub(crate) on_disconnect: Duration,
    pub(crate) targeted: Vec<HeaderName>,
    pub(crate) vary_bytes: usize,
}

/// How a lifetime is guessed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heuristic {
    pub(crate) percent: u64,
    pub(crate) most: u64,
}

impl Profile {
    /// All that the RFCs allow a cache for many: cookies are reused, and a stale response is served
    /// when the origin cannot be reached, unless the response forbids it.
    pub fn rfc() -> Self {
        Self {
            audience: Audience::Shared,
            set_cookie: SetCookie::Store,
            heuristic: Some(Heuristic { percent: 10, most: 7 * 24 * 60 * 60 }),
            on_disconnect: Duration::from_secs(24 * 60 * 60),
            targeted: vec![HeaderName::from_static("cdn-cache-control")],
            vary_bytes: 8192,
        }
    }

    /// The same with two differences, and the default: what sets cookies is not stored, and nothing
    /// stale is served unless the response or the request says for how long.
    pub fn safe() -> Self {
        Self { set_cookie: SetCookie::Refuse, on_disconnect: Duration::ZERO, ..Self::rfc() }
    }

    /// For one user: nobody else is answered from the cache.
    pub fn private() -> Self {
        Self {
            audience: Audience::Private,
            set_cookie: SetCookie::Store,
            targeted: Vec::new(),
            ..Self::safe()
        }
    }

    /// Whom the cache serves.
    pub fn audience(mut self, audience: Audience) -> Self {
        self.audience = audience;
        self
    }

    /// What becomes of responses that set cookies.
    pub fn set_cookie(mut self, choice: SetCookie) -> Self {
        self.set_cookie = choice;
        self
    }

    /// Guesses the lifetime of what has a `Last-Modified` and does not say: so many percent of its
    /// age, at most `most`. Default: 10 percent, at most a week.
    pub fn heuristic(mut self, percent: u8, most: Duration) -> Self {
        self.heuristic = Some(Heuristic { percent: u64::from(percent), most: most.as_secs() });
        self
    }

    /// Guesses no lifetimes.
    pub fn no_heuristic(mut self) -> Self {
        self.heuristic = None;
        self
    }

    /// How stale a response may be that is served because the origin cannot be reached, where the
    /// response forbids nothing and says nothing (RFC 9111 section 4.2.4).
    pub fn stale_on_disconnect(mut self, most: Duration) -> Self {
        self.on_disconnect = most;
        self
    }

    /// The fields that replace `Cache-Control` for this cache, the most specific first (RFC 9213).
    /// Default: `CDN-Cache-Control`; none for a private cache.
    pub fn targeted(mut self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        self.targeted = fields.into_iter().collect();
        self
    }

    /// How many bytes of names and values a `Vary` may select by; a response with more is not
    /// stored. Default: 8 KiB.
    pub fn vary_bytes(mut self, most: usize) -> Self {
        self.vary_bytes = most;
        self
    }

    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self.audience, Audience::Shared)
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::safe()
    }
}

/// Statuses whose lifetime may be guessed (RFC 9110 section 15.1).
pub(crate) const fn is_heuristic(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Statuses that no cache may store, whatever they say (RFC 6585).
pub(crate) const fn is_never_stored(status: StatusCode) -> bool {
    matches!(status.as_u16(), 428 | 429 | 431 | 511)
}

/// Statuses that this cache knows the rules of (RFC 9110 section 15), for `must-understand`.
pub(crate) const fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

/// Fields that belong to one connection or one hop (RFC 9111 section 3.1, RFC 9110 section 7.6.1).
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TE
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
        || *name == header::PROXY_AUTHENTICATE
        || *name == header::PROXY_AUTHORIZATION
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "proxy-authentication-info")
}
