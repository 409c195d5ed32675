//! A request as it was before its first attempt.

use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request::Parts,
};

/// Everything of a request but its body.
///
/// The headers are kept as a list: one allocation, half the time of cloning the map. The map is
/// built again only for a request that really is repeated.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    method: Method,
    uri: Uri,
    version: Version,
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: Extensions,
}

impl Snapshot {
    pub(super) fn take(parts: &Parts) -> Self {
        // `collect` would reserve one too many and go through the map's slower iterator.
        let mut headers = Vec::with_capacity(parts.headers.len());
        for (name, value) in &parts.headers {
            headers.push((name.clone(), value.clone()));
        }
        Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            headers,
            extensions: parts.extensions.clone(),
        }
    }

    pub(super) fn has(&self, name: &HeaderName) -> bool {
        self.headers.iter().any(|(own, _)| own == name)
    }

    pub(super) fn restore(self) -> Parts {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.method;
        parts.uri = self.uri;
        parts.version = self.version;
        parts.headers = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in self.headers {
            parts.headers.append(name, value);
        }
        parts.extensions = self.extensions;
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_request_is_the_one_that_was_taken() {
        let request = Request::builder()
            .method(Method::PUT)
            .uri("http://example/a?b")
            .version(Version::HTTP_2)
            .header("accept", "text/html")
            .header("x-many", "one")
            .header("x-many", "two")
            .extension(7_u8)
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        let restored = Snapshot::take(&parts).restore();
        assert_eq!(restored.method, parts.method);
        assert_eq!(restored.uri, parts.uri);
        assert_eq!(restored.version, parts.version);
        assert_eq!(restored.headers, parts.headers);
        let many: Vec<_> = restored.headers.get_all("x-many").iter().collect();
        assert_eq!(many, ["one", "two"]);
        assert_eq!(restored.extensions.get::<u8>(), Some(&7));
    }
}
