//! Among whom answers are shared.

use std::{fmt, sync::Arc};

use http::{HeaderName, header, request::Parts};

use super::{
    Unkeyed,
    material::{Label, Material},
};

/// Where clients put what they prove themselves with.
const CREDENTIALS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// Among whom answers are shared: requests of different scopes never meet.
///
/// A request of no scope is neither answered from a store nor kept in one.
///
/// ```
/// use buttress_cache::Scope;
/// use http::request::Parts;
///
/// #[derive(Clone)]
/// struct Tenant(String);
///
/// // By the caller's credential, whatever header it stands in.
/// let credential = Scope::credential();
/// // By what a layer outside has found out.
/// let tenant = Scope::by(|parts: &Parts| parts.extensions.get::<Tenant>().map(|t| t.0.clone()));
/// # drop((credential, tenant));
/// ```
#[derive(Clone)]
pub struct Scope(Kind);

#[derive(Clone)]
enum Kind {
    Everyone,
    Headers(Arc<[HeaderName]>),
    By(Arc<Write>),
}

/// Writes the scope of a request, if it has one.
type Write = dyn Fn(&Parts, &mut Material) -> bool + Send + Sync;

impl Scope {
    /// Everyone with the same credential: what stands in `Authorization`, `X-Api-Key`, `Api-Key` or
    /// `X-Goog-Api-Key`. A request without any has no scope.
    ///
    /// The credential enters the digest and is not kept.
    #[must_use]
    pub fn credential() -> Self {
        Self(Kind::Headers(Arc::new(CREDENTIALS)))
    }

    /// Everyone with the same values of the header `name`. A request without it has no scope.
    #[must_use]
    pub fn header(name: HeaderName) -> Self {
        Self(Kind::Headers(Arc::new([name])))
    }

    /// Everyone for whom `scope` returns the same bytes. `None` is no scope.
    #[must_use]
    pub fn by<F, T>(scope: F) -> Self
    where
        F: Fn(&Parts) -> Option<T> + Send + Sync + 'static,
        T: AsRef<[u8]>,
    {
        Self(Kind::By(Arc::new(move |parts, material| {
            let scope = scope(parts);
            if let Some(scope) = &scope {
                material.part(Label::Scope, scope.as_ref());
            }
            scope.is_some()
        })))
    }

    /// Everyone: whoever can send the request may have an answer that was made for another.
    #[must_use]
    pub fn everyone() -> Self {
        Self(Kind::Everyone)
    }

    pub(crate) fn write(&self, parts: &Parts, material: &mut Material) -> Result<(), Unkeyed> {
        let known = match &self.0 {
            Kind::Everyone => {
                material.absent(Label::Scope);
                true
            }
            Kind::By(scope) => scope(parts, material),
            Kind::Headers(names) => {
                for name in &**names {
                    let lines = parts.headers.get_all(name);
                    material.lines(Label::Scope, lines.iter().map(|line| line.as_bytes()));
                }
                names.iter().any(|name| parts.headers.contains_key(name))
            }
        };
        known.then_some(()).ok_or(Unkeyed::NoScope)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Everyone => f.write_str("Scope::Everyone"),
            Kind::Headers(names) => f.debug_tuple("Scope::Headers").field(names).finish(),
            Kind::By(_) => f.debug_tuple("Scope::By").finish_non_exhaustive(),
        }
    }
}
