//! The part of a request that keys and priorities are made of.

use http::{Extensions, HeaderMap, Method, Request, Uri, header::CONTENT_TYPE};

/// The head of a request, whatever its body is.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The extensions, such as the address of the peer.
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

    /// Whether the caller speaks gRPC: its content type says so.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        const GRPC: &[u8] = b"application/grpc";
        let Some(value) = self.headers.get(CONTENT_TYPE).map(|value| value.as_bytes()) else {
            return false;
        };
        let Some((start, rest)) = value.split_at_checked(GRPC.len()) else { return false };
        // `application/grpc-web` is answered in bodies, not in a head like this.
        start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grpc(content_type: &str) -> bool {
        let request = Request::builder().header(CONTENT_TYPE, content_type).body(()).unwrap();
        Head::of(&request).is_grpc()
    }

    #[test]
    fn a_grpc_caller_is_known_by_its_content_type() {
        assert!(grpc("application/grpc"));
        assert!(grpc("Application/gRPC+proto"));
        assert!(grpc("application/grpc; charset=utf-8"));
        assert!(!grpc("application/grpc-web+proto"));
        assert!(!grpc("application/json"));
        assert!(!grpc("application/grp"));
    }
}
