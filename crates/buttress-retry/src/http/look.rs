//! What can be seen of a response beyond its head.

use http::HeaderMap;

use crate::HeldBody;

/// What can be seen of a response body before it is read.
///
/// A policy looks at plain bodies ([`Unheld`]) or at those that [`Commit`](crate::Commit) has held
/// ([`Held`]).
pub trait Look<B> {
    /// The trailers, if the body is known to consist of nothing else.
    fn trailers(body: &B) -> Option<&HeaderMap>;

    /// Whether the whole body is in memory, so that keeping it holds no connection.
    fn is_whole(body: &B) -> bool;
}

/// The body is as the inner service gave it: nothing can be seen.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct Unheld;

impl<B> Look<B> for Unheld {
    fn trailers(_: &B) -> Option<&HeaderMap> {
        None
    }

    fn is_whole(_: &B) -> bool {
        false
    }
}

/// The body was held until its first significant frame.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct Held;

impl<B: http_body::Body> Look<HeldBody<B>> for Held {
    fn trailers(body: &HeldBody<B>) -> Option<&HeaderMap> {
        body.trailers()
    }

    fn is_whole(body: &HeldBody<B>) -> bool {
        body.is_whole()
    }
}
