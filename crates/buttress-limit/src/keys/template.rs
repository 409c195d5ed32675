//! A key out of the route, not out of the path that somebody typed.

use std::sync::Arc;

use super::RequestKey;
use crate::{head::Head, key::Key};

/// The template of the route that a request took, such as `/users/{id}`, as an extension, for
/// routers that have no such extension of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteTemplate(Arc<str>);

impl RouteTemplate {
    /// A route.
    #[must_use]
    pub fn new(template: impl Into<Arc<str>>) -> Self {
        Self(template.into())
    }
}

/// A quota for each method and route: axum's `MatchedPath` (feature `axum`; it is there for layers
/// that a router was given with `route_layer`), or a [`RouteTemplate`] in the request's extensions.
///
/// A request without either has no key: the path itself would be a fresh quota for each made-up one.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PathTemplate;

impl PathTemplate {
    /// By method and route.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl RequestKey for PathTemplate {
    fn key(&self, head: &Head<'_>) -> Option<Key> {
        let template = head.extensions.get::<RouteTemplate>().map(|template| &*template.0);
        let template = template.or_else(|| axum_route(head))?;
        Some(Key::hash(head.method.as_str().as_bytes()).and(Key::hash(template.as_bytes())))
    }
}

#[cfg(feature = "axum")]
fn axum_route<'a>(head: &Head<'a>) -> Option<&'a str> {
    head.extensions.get::<axum::extract::MatchedPath>().map(|path| path.as_str())
}

#[cfg(not(feature = "axum"))]
const fn axum_route<'a>(_: &Head<'a>) -> Option<&'a str> {
    None
}
