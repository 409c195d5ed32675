//! The routes, and the key of a prompt.

use std::borrow::Cow;

use buttress_core::is_json;
use http::{HeaderMap, Method, header, request::Parts};

use super::{json, route::PromptRoute};
use crate::key::{Class, Identity, KeySpec, Label, Material, Scope, Unkeyed, normal_path};

/// Which `POST` requests have answers that are kept, and among whom these are shared.
///
/// Nothing is kept of a `POST` unless a route names its path. The scope has no default: an answer to
/// one tenant's prompt is not for another, and only you know who is who.
///
/// ```
/// use buttress_cache::{KeySpec, PromptRoute, Prompts, Scope, VOLATILE_FIELDS};
/// use http::Request;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let chat = PromptRoute::exact("/v1/chat/completions")?
///     .ttl(Duration::from_secs(600))?
///     .leave_out(VOLATILE_FIELDS)?;
/// let prompts = Prompts::new(Scope::credential()).route(chat);
///
/// let (parts, ()) = Request::post("http://api.example/v1/chat/completions")
///     .header("authorization", "Bearer one")
///     .header("content-type", "application/json")
///     .body(())?
///     .into_parts();
/// let route = prompts.find(&parts).ok_or("a route")?;
/// let key = |body: &str| {
///     prompts.identify(route, &KeySpec::new(), &parts, body.as_bytes(), None)
/// };
/// let one = key(r#"{"model":"m","messages":[],"user":"ada"}"#)?;
/// assert_eq!(key(r#"{ "messages": [], "model": "m" }"#)?, one);
/// assert_ne!(key(r#"{ "messages": [], "model": "m", "stream": true }"#)?, one);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Prompts {
    scope: Scope,
    routes: Vec<PromptRoute>,
}

impl Prompts {
    /// Shares answers within `scope`. Without routes nothing is kept.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self { scope, routes: Vec::new() }
    }

    /// Adds a route. Where several match, the first decides.
    #[must_use]
    pub fn route(mut self, route: PromptRoute) -> Self {
        self.routes.push(route);
        self
    }

    /// The route of a request, if it is a `POST` and one matches.
    #[must_use]
    pub fn find(&self, parts: &Parts) -> Option<&PromptRoute> {
        if parts.method != Method::POST {
            return None;
        }
        let path = parts.uri.path();
        let path =
            if path.contains('%') { Cow::Owned(normal_path(path)) } else { Cow::Borrowed(path) };
        self.routes.iter().find(|route| route.matches(&path))
    }

    /// The key of a `POST` on a route, with its whole body. `scope` is what the request itself adds.
    ///
    /// # Errors
    ///
    /// Returns why the request has no key.
    pub fn identify(
        &self,
        route: &PromptRoute,
        keys: &KeySpec,
        parts: &Parts,
        body: &[u8],
        scope: Option<&[u8]>,
    ) -> Result<Identity, Unkeyed> {
        let (mut material, uri) = keys.material(Class::Post, parts, None, scope)?;
        if let Some(partition) = keys.partition(&parts.headers, uri.scheme())? {
            material.part(Label::Custom, partition.digest().as_bytes());
        }
        self.scope.write(parts, &mut material)?;
        let headers = &parts.headers;
        lines(&mut material, Label::ContentType, headers, &header::CONTENT_TYPE);
        lines(&mut material, Label::ContentEncoding, headers, &header::CONTENT_ENCODING);
        for name in route.headers() {
            material.part(Label::HeaderName, name.as_str().as_bytes());
            lines(&mut material, Label::HeaderValue, headers, name);
        }
        let canonical = (route.is_canonical() && is_json(headers))
            .then(|| json::canonical(body, route.left_out()))
            .flatten();
        match canonical {
            Some(canonical) => {
                for field in route.left_out() {
                    material.part(Label::LeftOut, field.as_bytes());
                }
                material.part(Label::Json, blake3::hash(&canonical).as_bytes());
            }
            None => material.part(Label::Bytes, blake3::hash(body).as_bytes()),
        }
        Ok(Identity::new(material.digest(), uri))
    }
}

fn lines(material: &mut Material, label: Label, headers: &HeaderMap, name: &http::HeaderName) {
    let lines = headers.get_all(name);
    material.lines(label, lines.iter().map(http::HeaderValue::as_bytes));
}
