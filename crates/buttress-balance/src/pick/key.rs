//! Which requests belong together: keys for [`RingHash`](crate::RingHash) and
//! [`Rendezvous`](crate::Rendezvous).
//!
//! Text is hashed with XXH3 (64 bits, seed 0), which is the same on every platform and in every
//! process, so that clients of one configuration choose alike. A key of one's own ([`with`],
//! [`Affinity::new`]) may be any number that is equal for equal requests: the policies spread it.
//!
//! ```
//! use buttress_balance::{HashKey, key};
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::Full;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A prompt that begins like another one goes where that one's prefix is cached.
//! let prefix = key::body_prefix(1024)?;
//! let request = Request::post("/v1/chat/completions").body(Full::<Bytes>::from("{\"model\":…"))?;
//! assert!(prefix.hash_key(&request).is_some());
//!
//! let tenant = key::with(|request: &Request<Full<Bytes>>| {
//!     request.uri().query().map(|query| key::of(query.as_bytes()))
//! });
//! assert_eq!(tenant.hash_key(&request), None);
//! # Ok(())
//! # }
//! ```

use std::{
    fmt,
    pin::pin,
    task::{Context, Poll, Waker},
};

use buttress_core::SettingError;
use bytes::Buf;
use http::{HeaderName, Request, header};
use http_body::Body;
use twox_hash::XxHash3_64;

use super::HashKey;

/// The key of some bytes.
#[must_use]
pub fn of(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// The value of a header, the first one if there are several. A request without it, or with an empty
/// one, has no key.
///
/// # Errors
///
/// If it is no name of a header.
pub fn header(name: impl AsRef<str>) -> Result<Header, SettingError> {
    let name = name.as_ref();
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let refused = |_| SettingError::new("key.header", format!("`{name}`, no name of a header"));
    Ok(Header(parsed.map_err(refused)?))
}

/// The value of a cookie (RFC 6265, section 5.4), the first one of that name. A request without it,
/// or with an empty one, has no key.
///
/// # Errors
///
/// If it is no name of a cookie.
pub fn cookie(name: impl Into<String>) -> Result<Cookie, SettingError> {
    let name = name.into();
    let token = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(SettingError::new("key.cookie", format!("`{name}`, no name of a cookie")));
    }
    Ok(Cookie(name))
}

/// The path, without the query.
#[must_use]
pub const fn path() -> Path {
    Path
}

/// The first `bytes` of the body, or all of a shorter one: requests to a language model whose prompts
/// begin alike go to the server that has that beginning in its cache.
///
/// The body must be in memory, and cheap to clone, like `Full<Bytes>`: a clone of it is read. One
/// that is not there at once, and an empty one, gives no key.
///
/// # Errors
///
/// If it is 0.
pub fn body_prefix(bytes: usize) -> Result<BodyPrefix, SettingError> {
    if bytes == 0 {
        return Err(SettingError::new("key.body_prefix", "0 bytes, but a key needs at least 1"));
    }
    Ok(BodyPrefix(bytes))
}

/// The [`Affinity`] that someone put into the request's extensions.
#[must_use]
pub const fn extension() -> Extension {
    Extension
}

/// What `key` makes of a request: a number that is equal for those that belong together.
pub const fn with<Req, F: Fn(&Req) -> Option<u64>>(key: F) -> With<F> {
    With(key)
}

/// A request's key, as an extension of it: for whoever knows it before the balancer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Affinity(u64);

impl Affinity {
    /// This number.
    #[must_use]
    pub const fn new(key: u64) -> Self {
        Self(key)
    }

    /// The key of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(of(bytes))
    }
}

/// See [`header`](fn@header).
#[derive(Clone, Debug)]
pub struct Header(HeaderName);

/// See [`cookie`].
#[derive(Clone, Debug)]
pub struct Cookie(String);

/// See [`path`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct Path;

/// See [`body_prefix`].
#[derive(Clone, Copy, Debug)]
pub struct BodyPrefix(usize);

/// See [`extension`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct Extension;

/// See [`with`].
#[must_use]
#[derive(Clone, Copy)]
pub struct With<F>(F);

impl<F> fmt::Debug for With<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("With").finish_non_exhaustive()
    }
}

impl<B> HashKey<Request<B>> for Header {
    fn hash_key(&self, request: &Request<B>) -> Option<u64> {
        let value = request.headers().get(&self.0)?;
        (!value.is_empty()).then(|| of(value.as_bytes()))
    }
}

impl<B> HashKey<Request<B>> for Cookie {
    fn hash_key(&self, request: &Request<B>) -> Option<u64> {
        let lines = request.headers().get_all(header::COOKIE).into_iter();
        let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let value = pairs.find_map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&pair[..equals], &pair[equals + 1..]);
            (name.trim_ascii() == self.0.as_bytes()).then(|| value.trim_ascii())
        })?;
        (!value.is_empty()).then(|| of(value))
    }
}

impl<B> HashKey<Request<B>> for Path {
    fn hash_key(&self, request: &Request<B>) -> Option<u64> {
        Some(of(request.uri().path().as_bytes()))
    }
}

/// Frames that a prefix may be spread over.
const FRAMES: usize = 64;

impl<B: Body + Clone> HashKey<Request<B>> for BodyPrefix {
    fn hash_key(&self, request: &Request<B>) -> Option<u64> {
        let mut body = pin!(request.body().clone());
        let mut waker = Context::from_waker(Waker::noop());
        let mut gathered = Vec::new();
        for _ in 0..FRAMES {
            let mut data = match body.as_mut().poll_frame(&mut waker) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => data,
                    // Trailers are the end.
                    Err(_) => break,
                },
                Poll::Ready(None) => break,
                Poll::Ready(Some(Err(_))) | Poll::Pending => return None,
            };
            let whole = data.chunk().len() == data.remaining() && body.is_end_stream();
            if gathered.is_empty() && (data.chunk().len() >= self.0 || whole) {
                // Nothing needs to be copied.
                let prefix = &data.chunk()[..data.chunk().len().min(self.0)];
                return (!prefix.is_empty()).then(|| of(prefix));
            }
            while data.has_remaining() && gathered.len() < self.0 {
                let length = data.chunk().len().min(self.0 - gathered.len());
                gathered.extend_from_slice(&data.chunk()[..length]);
                data.advance(length);
            }
            if gathered.len() == self.0 {
                break;
            }
        }
        (!gathered.is_empty()).then(|| of(&gathered))
    }
}

impl<B> HashKey<Request<B>> for Extension {
    fn hash_key(&self, request: &Request<B>) -> Option<u64> {
        request.extensions().get().map(|Affinity(key)| *key)
    }
}

impl<Req, F: Fn(&Req) -> Option<u64>> HashKey<Req> for With<F> {
    fn hash_key(&self, request: &Req) -> Option<u64> {
        (self.0)(request)
    }
}

/// One number of two, each bit of which depends on all of theirs (the finish of splitmix64).
pub(super) const fn mixed(one: u64, other: u64) -> u64 {
    let state = one ^ other.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// Where the `nth` point of one stands.
pub(super) const fn point(identity: u64, nth: u64) -> u64 {
    mixed(identity, nth.wrapping_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // XXH3_64bits of nothing, as its specification lists it.
        assert_eq!(of(b""), 0x2d06_8005_38d3_94c2);
    }
}
