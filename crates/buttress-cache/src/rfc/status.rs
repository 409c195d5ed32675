//! `Cache-Status`: what the cache did, for whoever reads the response (RFC 9211).

use std::{
    fmt,
    io::{Cursor, Write as _},
};

use http::HeaderValue;

/// Why a request was forwarded (RFC 9211 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Forwarded {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Partial,
    Request,
    Stale,
}

impl fmt::Display for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Partial => "partial",
            Self::Request => "request",
            Self::Stale => "stale",
        })
    }
}

/// One member of the field, before it is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CacheStatus {
    pub(crate) hit: bool,
    /// Seconds of freshness left; negative when stale.
    pub(crate) ttl: Option<i64>,
    pub(crate) forwarded: Option<Forwarded>,
    pub(crate) forwarded_status: Option<u16>,
    pub(crate) stored: bool,
    pub(crate) collapsed: bool,
    pub(crate) detail: Option<&'static str>,
}

impl CacheStatus {
    const ROOM: usize = 256;
    /// How long the name may be.
    pub(crate) const NAME: usize = Self::ROOM / 2;

    /// Writes it under the name of this cache, which is a token.
    pub(crate) fn write(&self, name: &str) -> HeaderValue {
        let mut text = Cursor::new([0; Self::ROOM]);
        // There is room: the name is at most half of it.
        let _ = self.write_to(&mut text, name);
        let end = usize::try_from(text.position()).unwrap_or_default();
        let text = text.get_ref().get(..end).unwrap_or_default();
        HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static("cache"))
    }

    fn write_to(&self, text: &mut Cursor<[u8; Self::ROOM]>, name: &str) -> std::io::Result<()> {
        text.write_all(name.as_bytes())?;
        if self.hit {
            text.write_all(b"; hit")?;
        }
        if let Some(forwarded) = self.forwarded {
            write!(text, "; fwd={forwarded}")?;
        }
        if let Some(status) = self.forwarded_status {
            write!(text, "; fwd-status={status}")?;
        }
        if let Some(ttl) = self.ttl {
            write!(text, "; ttl={ttl}")?;
        }
        if self.stored {
            text.write_all(b"; stored")?;
        }
        if self.collapsed {
            text.write_all(b"; collapsed")?;
        }
        if let Some(detail) = self.detail {
            write!(text, "; detail={detail}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_the_parameters_that_apply() {
        let hit = CacheStatus { hit: true, ttl: Some(-3), ..CacheStatus::default() };
        assert_eq!(hit.write("buttress"), "buttress; hit; ttl=-3");
        let miss = CacheStatus {
            forwarded: Some(Forwarded::UriMiss),
            forwarded_status: Some(200),
            stored: true,
            collapsed: true,
            detail: Some("hit-for-miss"),
            ..CacheStatus::default()
        };
        let written = "a; fwd=uri-miss; fwd-status=200; stored; collapsed; detail=hit-for-miss";
        assert_eq!(miss.write("a"), written);
    }
}
