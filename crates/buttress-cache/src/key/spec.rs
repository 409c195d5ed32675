//! What tells one request from another.

use std::{borrow::Cow, fmt, sync::Arc};

use buttress_core::SettingError;
use http::{HeaderMap, HeaderName, Uri, request::Parts, uri::Scheme};

use super::{
    Identity, Unkeyed, authority,
    guard::ForwardingGuard,
    identity::CanonicalUri,
    material::{Label, Material},
    percent,
    query::QueryRules,
    scope::Scope,
};

/// What tells one request from another: the settings of the keys.
///
/// A key is a digest of 256 bits over the method's class (`GET` and `HEAD` share theirs), the scheme,
/// the authority, the path and the query, and of what is added here. Each part goes in with its
/// length, so that nothing that stands in one can be read as another.
///
/// Spellings of one URI meet: `HTTP://A.example:80` is `http://a.example/`. Nothing else meets: the
/// order of parameters, the case of a path and a `..` in it are kept.
///
/// ```
/// use buttress_cache::KeySpec;
/// use http::{HeaderName, Request};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = KeySpec::new()
///     .ignore_query(["utm_*", "fbclid"])?
///     .header(HeaderName::from_static("x-tenant"));
///
/// let key = |uri: &str| {
///     let (parts, ()) = Request::get(uri).body(())?.into_parts();
///     Ok::<_, Box<dyn std::error::Error>>(*keys.identify(&parts, None)?.key())
/// };
/// assert_eq!(key("http://A.example:80/x?a=1&utm_source=mail")?, key("http://a.example/x?a=1")?);
/// assert_ne!(key("http://a.example/x?a=1")?, key("http://b.example/x?a=1")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeySpec {
    scheme: Scheme,
    query: QueryRules,
    headers: Vec<HeaderName>,
    parts: Vec<CustomPart>,
    scope: Option<Scope>,
    guard: Option<ForwardingGuard>,
}

type CustomPart = Arc<dyn Fn(&Parts, &mut Material) + Send + Sync>;

/// Requests that can share an answer are of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Get,
    Post,
}

impl KeySpec {
    /// For clients, who make their own requests: no header is guarded against.
    #[must_use]
    pub fn new() -> Self {
        Self {
            scheme: Scheme::HTTP,
            query: QueryRules::default(),
            headers: Vec::new(),
            parts: Vec::new(),
            scope: None,
            guard: None,
        }
    }

    /// For servers and proxies, whose requests come from strangers:
    /// [`ForwardingGuard::bypass`] is on.
    #[must_use]
    pub fn server() -> Self {
        Self::new().guard(ForwardingGuard::bypass())
    }

    /// Sets the scheme of requests whose URI names none, as those that a server receives; the
    /// default is `http`. Nothing that a client sends decides it.
    #[must_use]
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// Leaves query parameters out of the key: by name, or by the start of it and a `*`.
    ///
    /// Only for those that do not change the answer; the inner service still sees them.
    ///
    /// # Errors
    ///
    /// Returns an error if a pattern is empty or has a `*`, `&` or `=` before its end.
    pub fn ignore_query<I>(mut self, patterns: I) -> Result<Self, SettingError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        for pattern in patterns {
            self.query.ignore(pattern.as_ref())?;
        }
        Ok(self)
    }

    /// Lets the order of query parameters not matter, save that of those with one name; by default
    /// it does.
    #[must_use]
    pub fn sort_query(mut self) -> Self {
        self.query.sort();
        self
    }

    /// Adds the values of a header. One that is absent differs from one that is empty.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.headers.push(name);
        self
    }

    /// Adds whatever `part` returns of a request.
    #[must_use]
    pub fn part<F, T>(mut self, part: F) -> Self
    where
        F: Fn(&Parts) -> Option<T> + Send + Sync + 'static,
        T: AsRef<[u8]>,
    {
        self.parts.push(Arc::new(move |parts, material| {
            let part = part(parts);
            material.optional(Label::Custom, part.as_ref().map(AsRef::as_ref));
        }));
        self
    }

    /// Shares answers within a scope only; by default among all who ask for the same.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Sets what is done with headers that change answers and are no part of the key.
    #[must_use]
    pub fn guard(mut self, guard: ForwardingGuard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Guards against no header: for what stands behind a proxy that sets or removes all of them.
    #[must_use]
    pub fn unguarded(mut self) -> Self {
        self.guard = None;
        self
    }

    /// Takes the headers off a request that [`ForwardingGuard::strip`] keeps from the origin.
    pub fn clean(&self, headers: &mut HeaderMap) {
        if let Some(guard) = &self.guard {
            guard.clean(headers);
        }
    }

    /// The key of a `GET` with this head, and its canonical URI. `scope` is what the request itself
    /// adds.
    ///
    /// # Errors
    ///
    /// Returns why the request has no key.
    pub fn identify(&self, parts: &Parts, scope: Option<&[u8]>) -> Result<Identity, Unkeyed> {
        self.of(parts, None, scope)
    }

    /// The settings by which to find what a request changes. Headers that are guarded against do not
    /// matter then: the change is made whoever forwarded it, and to all partitions.
    pub(crate) fn for_changes(&self, headers: &HeaderMap) -> Cow<'_, Self> {
        match &self.guard {
            Some(guard) if guard.guards_any(headers) => {
                Cow::Owned(Self { guard: None, ..self.clone() })
            }
            _ => Cow::Borrowed(self),
        }
    }

    /// The key of a `GET` of another URI with this head, such as one that a response names in its
    /// `Location`. Where the URI names no server, it is the one of the `Host` header.
    ///
    /// # Errors
    ///
    /// Returns why the request has no key.
    pub fn identify_at(
        &self,
        parts: &Parts,
        uri: &Uri,
        scope: Option<&[u8]>,
    ) -> Result<Identity, Unkeyed> {
        self.of(parts, Some(uri), scope)
    }

    fn of(
        &self,
        parts: &Parts,
        elsewhere: Option<&Uri>,
        scope: Option<&[u8]>,
    ) -> Result<Identity, Unkeyed> {
        let (material, uri) = self.material(Class::Get, parts, elsewhere, scope)?;
        // Apart from the rest of the key, so that a change finds all partitions.
        let partition = self.partition(&parts.headers, uri.scheme())?;
        let identity = Identity::new(material.digest(), uri);
        Ok(match partition {
            Some(partition) => identity.partition(&partition),
            None => identity,
        })
    }

    /// What the guard adds to the key of a request for a URI with this scheme.
    pub(crate) fn partition(
        &self,
        headers: &HeaderMap,
        scheme: &str,
    ) -> Result<Option<Material>, Unkeyed> {
        self.guard.as_ref().map_or(Ok(None), |guard| guard.partition(headers, scheme))
    }

    /// Whether one resource may have several keys, by the headers that are guarded against.
    pub(crate) fn has_partitions(&self) -> bool {
        self.guard.as_ref().is_some_and(ForwardingGuard::keys)
    }

    /// Everything but what a body and the guard add; of the request's own URI unless it is `elsewhere`.
    pub(crate) fn material(
        &self,
        class: Class,
        parts: &Parts,
        elsewhere: Option<&Uri>,
        scope: Option<&[u8]>,
    ) -> Result<(Material, CanonicalUri), Unkeyed> {
        let uri = match elsewhere {
            // Another server's URI has nothing to do with the `Host` of this request.
            Some(uri) if uri.authority().is_some() => self.canonical(uri, None)?,
            _ => {
                let host = authority::host(&parts.headers)?;
                self.canonical(elsewhere.unwrap_or(&parts.uri), host)?
            }
        };
        let mut material = Material::new();
        material.part(Label::Class, &[class as u8]);
        uri.write(&mut material);
        for name in &self.headers {
            material.part(Label::HeaderName, name.as_str().as_bytes());
            let lines = parts.headers.get_all(name);
            material.lines(Label::HeaderValue, lines.iter().map(|line| line.as_bytes()));
        }
        for part in &self.parts {
            part(parts, &mut material);
        }
        if let Some(own) = &self.scope {
            own.write(parts, &mut material)?;
        }
        if let Some(scope) = scope {
            material.part(Label::RequestScope, scope);
        }
        Ok((material, uri))
    }

    fn canonical(&self, uri: &Uri, host: Option<&[u8]>) -> Result<CanonicalUri, Unkeyed> {
        if !uri.path().starts_with('/') {
            return Err(Unkeyed::NoPath);
        }
        let scheme = uri.scheme().unwrap_or(&self.scheme).as_str();
        let own = uri.authority().map(|own| own.as_str().as_bytes());
        let path = uri.path_and_query().map_or(1, |path| path.as_str().len());
        let room = scheme.len() + "://".len() + own.or(host).map_or(0, <[u8]>::len) + path;
        let mut text = String::with_capacity(room);
        text.extend(scheme.chars().map(|letter| letter.to_ascii_lowercase()));
        let scheme_end = text.len();
        text.push_str("://");
        authority::write_agreed(own, host, scheme, &mut text)?;
        let authority_end = text.len();
        percent::write_path(uri.path(), &mut text);
        let path_end = text.len();
        if let Some(query) = uri.query() {
            self.query.write(query, &mut text);
        }
        Ok(CanonicalUri { text, scheme_end, authority_end, path_end })
    }
}

impl Default for KeySpec {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySpec")
            .field("scheme", &self.scheme)
            .field("query", &self.query)
            .field("headers", &self.headers)
            .field("parts", &self.parts.len())
            .field("scope", &self.scope)
            .field("guard", &self.guard)
            .finish()
    }
}
