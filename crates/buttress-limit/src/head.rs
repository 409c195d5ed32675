//! What there is to know of a request before its body.

use http::{Extensions, HeaderMap, Method, Request, Uri};

/// The head of a request, as keys, costs and the like see it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The extensions.
    pub extensions: &'a Extensions,
}

impl<'a> Head<'a> {
    /// The head of `request`.
    #[must_use]
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// Whether a gRPC client sent it, which reads an answer by its `grpc-status`.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        let kind = self.headers.get(http::header::CONTENT_TYPE).map(|kind| kind.as_bytes());
        kind.is_some_and(|kind| {
            let rest = kind.strip_prefix(b"application/grpc");
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
        })
    }
}
