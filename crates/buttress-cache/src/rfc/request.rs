//! What a request asks of a cache (RFC 9111 section 5.2.1).

use http::{HeaderMap, Method, header};

use super::{Directives, storing::says_no_cache};

/// A request as the engine sees it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Ask {
    /// Its directives.
    pub directives: Directives,
    /// It wants a response that the origin has confirmed, for this request.
    pub end_to_end: bool,
    /// It has preconditions that only the origin can judge.
    pub origin_only: bool,
    /// It asks whether what it has is still good.
    pub conditional: bool,
    /// It asks for a part.
    pub range: bool,
}

impl Ask {
    /// Reads the fields that mean something to a cache.
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let has = |name| headers.contains_key(name);
        let control = has(header::CACHE_CONTROL);
        let directives = if control { Directives::of(headers) } else { Directives::default() };
        // RFC 9111 section 5.4: `Pragma` counts where there is no `Cache-Control`.
        let pragma = !control && has(header::PRAGMA) && says_no_cache(headers);
        Self {
            end_to_end: pragma || directives.no_cache.is_present(),
            directives,
            origin_only: has(header::IF_MATCH) || has(header::IF_UNMODIFIED_SINCE),
            conditional: has(header::IF_NONE_MATCH) || has(header::IF_MODIFIED_SINCE),
            range: *method == Method::GET && has(header::RANGE),
        }
    }
}
