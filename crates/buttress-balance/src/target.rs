//! How a request reaches the endpoint that was chosen.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use http::{HeaderValue, Method, Request, Uri, header::HOST, uri::PathAndQuery};

use crate::{BalanceError, Candidate, Endpoint, EndpointId, EndpointSet};

/// What sends requests to an endpoint, made from a service `S`: [`SharedClient`] or [`PerEndpoint`].
pub trait Target<S> {
    /// What a service keeps, and each of its calls has a copy of.
    type Link: Link;

    /// Prepares an inner service.
    fn link(&self, inner: S, set: &EndpointSet) -> Self::Link;
}

/// The way from a call to the service that sends it.
pub trait Link {
    /// What sends requests.
    type Service;

    /// The service that sends requests to `endpoint`.
    fn service(&mut self, endpoint: &Candidate) -> &mut Self::Service;
}

/// Puts the endpoint's scheme, authority and base path into the request.
///
/// A base path `/v1` and a request for `/models?all` make `/v1/models?all`.
#[must_use]
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    host: Host,
}

/// Which `Host` an endpoint sees.
#[derive(Clone, Debug, Default)]
enum Host {
    #[default]
    Upstream,
    Preserved,
    Fixed(HeaderValue),
}

impl Rewrite {
    /// The endpoint sees its own authority in `Host`.
    pub fn new() -> Self {
        Self::default()
    }

    /// The endpoint sees the `Host` that the request came with, or else the authority of its URI.
    ///
    /// Over HTTP/2 the authority goes with the URI instead, and this has no effect.
    pub fn preserve_host(mut self) -> Self {
        self.host = Host::Preserved;
        self
    }

    /// The endpoint sees this `Host` (HTTP/1).
    pub fn host(mut self, host: HeaderValue) -> Self {
        self.host = Host::Fixed(host);
        self
    }

    /// Aims a request at an endpoint.
    ///
    /// # Errors
    ///
    /// For `CONNECT` and `OPTIONS *`, which name no resource of an endpoint, and if the URI would
    /// be longer than 64 KiB.
    pub(crate) fn aim<B>(
        &self,
        endpoint: &Endpoint,
        request: &mut Request<B>,
    ) -> Result<(), BalanceError> {
        if *request.method() == Method::CONNECT {
            return Err(BalanceError::bad_target("`CONNECT` asks for a tunnel, not an endpoint"));
        }
        let came_to = std::mem::take(request.uri_mut());
        let authority = came_to.authority().cloned();
        *request.uri_mut() = joined(endpoint.uri(), came_to)?;
        match &self.host {
            Host::Upstream => {
                if let Some(host) = request.headers_mut().get_mut(HOST) {
                    host.clone_from(endpoint.host());
                }
            }
            Host::Preserved => {
                if let Some(authority) = authority
                    && !request.headers().contains_key(HOST)
                    && let Ok(host) = HeaderValue::from_str(without_userinfo(authority.as_str()))
                {
                    request.headers_mut().insert(HOST, host);
                }
            }
            Host::Fixed(host) => {
                request.headers_mut().insert(HOST, host.clone());
            }
        }
        Ok(())
    }
}

pub(crate) fn without_userinfo(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// `request` under the scheme, authority and base path of `endpoint`.
fn joined(endpoint: &Uri, request: Uri) -> Result<Uri, BalanceError> {
    let asked = request.into_parts().path_and_query;
    let asked = asked.unwrap_or_else(|| PathAndQuery::from_static("/"));
    if asked.path() == "*" {
        return Err(BalanceError::bad_target("`*` names no resource of an endpoint"));
    }
    let base = endpoint.path().trim_end_matches('/');
    let path = if base.is_empty() {
        asked
    } else {
        // Displayed, a path and query begins with `/` even where it was left out.
        let path = format!("{base}{asked}");
        PathAndQuery::try_from(path)
            .map_err(|error| BalanceError::bad_target(format!("its URI is too long: {error}")))?
    };
    let mut parts = endpoint.clone().into_parts();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|error| BalanceError::bad_target(error.to_string()))
}

/// One inner service for all endpoints, such as a pooled client that keeps connections for each
/// authority: the default.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct SharedClient;

/// The one inner service.
#[derive(Clone, Debug)]
pub struct Shared<S>(S);

impl<S> Link for Shared<S> {
    type Service = S;

    fn service(&mut self, _: &Candidate) -> &mut S {
        &mut self.0
    }
}

impl<S> Target<S> for SharedClient {
    type Link = Shared<S>;

    fn link(&self, inner: S, _: &EndpointSet) -> Shared<S> {
        Shared(inner)
    }
}

/// Sends the requests for each endpoint through a service of its own, made when it is first chosen:
/// TLS to an address, a unix socket, a channel, a stack with limits of its own. That of an endpoint which
/// was removed is let go by the next call; calls that use it finish.
///
/// Made by [`BalanceLayer::per_endpoint`](crate::BalanceLayer::per_endpoint).
pub struct PerEndpoint<F>(Arc<F>);

impl<F> PerEndpoint<F> {
    pub(crate) fn new(make: F) -> Self {
        Self(Arc::new(make))
    }
}

impl<F> Clone for PerEndpoint<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> fmt::Debug for PerEndpoint<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerEndpoint").finish_non_exhaustive()
    }
}

impl<S, F, S2> Target<S> for PerEndpoint<F>
where
    F: Fn(&Endpoint, &S) -> S2,
    S2: Clone,
{
    type Link = Routed<S, F, S2>;

    fn link(&self, inner: S, set: &EndpointSet) -> Self::Link {
        let routes = Routes {
            inner: Mutex::new(inner),
            make: Arc::clone(&self.0),
            set: set.clone(),
            services: ArcSwap::from_pointee(Vec::new()),
            version: AtomicU64::new(0),
        };
        Routed { routes: Arc::new(routes), current: None }
    }
}

/// A service for each endpoint.
pub struct Routed<S, F, S2> {
    routes: Arc<Routes<S, F, S2>>,
    /// The one that this call uses.
    current: Option<(EndpointId, S2)>,
}

struct Routes<S, F, S2> {
    inner: Mutex<S>,
    make: Arc<F>,
    set: EndpointSet,
    /// Sorted by number.
    services: ArcSwap<Vec<(EndpointId, S2)>>,
    /// The set's version that they were last compared with.
    version: AtomicU64,
}

impl<S, F, S2> Clone for Routed<S, F, S2> {
    fn clone(&self) -> Self {
        Self { routes: Arc::clone(&self.routes), current: None }
    }
}

impl<S, F, S2> fmt::Debug for Routed<S, F, S2> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.routes.services.load().len();
        f.debug_struct("Routed").field("services", &made).finish_non_exhaustive()
    }
}

impl<S, F, S2> Link for Routed<S, F, S2>
where
    F: Fn(&Endpoint, &S) -> S2,
    S2: Clone,
{
    type Service = S2;

    fn service(&mut self, endpoint: &Candidate) -> &mut S2 {
        let id = endpoint.id();
        let current = self.current.take().filter(|(current, _)| *current == id);
        let current = current.unwrap_or_else(|| (id, self.routes.service(endpoint)));
        &mut self.current.insert(current).1
    }
}

impl<S, F, S2> Routes<S, F, S2>
where
    F: Fn(&Endpoint, &S) -> S2,
    S2: Clone,
{
    fn service(&self, endpoint: &Candidate) -> S2 {
        if self.version.load(Ordering::Relaxed) != self.set.pulse().version() {
            self.prune();
        }
        let id = endpoint.id();
        found(&self.services.load(), id).unwrap_or_else(|| self.make(endpoint))
    }

    /// One is made at a time, under the lock that guards what it is made from.
    #[cold]
    fn make(&self, endpoint: &Candidate) -> S2 {
        let id = endpoint.id();
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.services.load();
        if let Some(service) = found(&before, id) {
            return service;
        }
        let service = (self.make)(endpoint.endpoint(), &inner);
        // A call may have been on its way while its endpoint was removed.
        if self.set.candidates().iter().any(|member| member.id() == id) {
            let made = (id, service.clone());
            let mut services: Vec<_> = before.iter().cloned().chain([made]).collect();
            services.sort_by_key(|(id, _)| *id);
            self.services.store(Arc::new(services));
        }
        service
    }

    /// Lets go of the services whose endpoints were removed.
    #[cold]
    fn prune(&self) {
        // While one is being made, it is the next call that looks.
        let Ok(_one) = self.inner.try_lock() else { return };
        // Before the members: what changes afterwards is seen by the next call.
        self.version.store(self.set.pulse().version(), Ordering::Relaxed);
        let members: HashSet<_> = self.set.candidates().iter().map(Candidate::id).collect();
        let before = self.services.load();
        if before.iter().any(|(id, _)| !members.contains(id)) {
            let stay = before.iter().filter(|(id, _)| members.contains(id));
            self.services.store(Arc::new(stay.cloned().collect()));
        }
    }
}

fn found<S2: Clone>(services: &[(EndpointId, S2)], id: EndpointId) -> Option<S2> {
    let at = services.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    services.get(at).map(|(_, service)| service.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn aimed(endpoint: &str, uri: &str) -> Result<String, BalanceError> {
        let mut request = Request::get(uri).body(()).unwrap();
        Rewrite::new().aim(&Endpoint::new(endpoint).unwrap(), &mut request)?;
        Ok(request.uri().to_string())
    }

    #[test]
    fn the_base_path_is_kept_and_the_rest_is_the_requests_own() {
        let cases = [
            ("http://a:81", "/x?y=1", "http://a:81/x?y=1"),
            ("http://a", "https://user@other:9/x", "http://a/x"),
            ("https://a/v1", "/x", "https://a/v1/x"),
            ("https://a/v1/", "/x?q", "https://a/v1/x?q"),
            ("http://a/v1", "http://other", "http://a/v1/"),
            ("http://a/v1", "http://other?q=1", "http://a/v1/?q=1"),
            ("http://[::1]:80", "/", "http://[::1]:80/"),
        ];
        for (endpoint, uri, expected) in cases {
            assert_eq!(aimed(endpoint, uri).unwrap(), expected, "{endpoint} {uri}");
        }
    }

    #[test]
    fn what_names_no_resource_is_refused() {
        assert!(aimed("http://a", "*").is_err());
        let mut connect = Request::connect("other:443").body(()).unwrap();
        assert!(Rewrite::new().aim(&Endpoint::new("http://a").unwrap(), &mut connect).is_err());
        let long = format!("/{}", "x".repeat(65_000));
        assert!(aimed("http://a", &long).is_ok());
        let base = format!("http://a/{}", "x".repeat(1_000));
        assert!(aimed(&base, &long).is_err());
    }

    #[test]
    fn the_host_is_the_endpoints_the_requests_or_a_fixed_one() {
        let endpoint = Endpoint::new("http://a:81").unwrap();
        let host = |rewrite: &Rewrite, uri: &str, host: Option<&str>| {
            let mut request = Request::get(uri).body(()).unwrap();
            if let Some(host) = host {
                request.headers_mut().insert(HOST, HeaderValue::from_str(host).unwrap());
            }
            rewrite.aim(&endpoint, &mut request).unwrap();
            request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned())
        };
        let upstream = Rewrite::new();
        assert_eq!(host(&upstream, "/", Some("b")).as_deref(), Some("a:81"));
        assert_eq!(host(&upstream, "/", None), None, "a client adds it");
        let preserve = Rewrite::new().preserve_host();
        assert_eq!(host(&preserve, "/", Some("b")).as_deref(), Some("b"));
        assert_eq!(host(&preserve, "http://u@c:1/", None).as_deref(), Some("c:1"));
        let fixed = Rewrite::new().host(HeaderValue::from_static("d"));
        assert_eq!(host(&fixed, "/", Some("b")).as_deref(), Some("d"));
    }

    proptest! {
        #[test]
        fn no_uri_makes_it_panic(uri in "\\PC{0,40}") {
            if let Ok(uri) = uri.parse::<Uri>() {
                let mut request = Request::new(());
                *request.uri_mut() = uri;
                let endpoint = Endpoint::new("http://a/v1").unwrap();
                if Rewrite::new().aim(&endpoint, &mut request).is_ok() {
                    prop_assert!(request.uri().path().starts_with("/v1/"));
                    prop_assert_eq!(request.uri().host(), Some("a"));
                }
            }
        }
    }
}
