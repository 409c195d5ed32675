//! The layer and the service.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::ReadAhead;
use http::{Request, Response, request::Parts};
use http_body::Body;
use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;

use super::PromptFuture;
use crate::{
    Cache, CacheDirective, CacheLayer, Fetches, KeySpec, Observer, Prompts, ResponseBody,
    core::PromptKey,
};

/// How long a prompt may take to come. Whoever takes longer may wait for an answer first.
const PATIENCE: Duration = Duration::from_secs(10);

/// A [`CacheLayer`] that also keeps the answers to prompts: `POST` requests on the routes of
/// [`Prompts`], keyed by their body.
///
/// The body of such a request is read up to the route's limit before it goes anywhere, for up to ten
/// seconds; one that is longer or slower streams on from where it was read, and nothing of it is kept.
/// All other requests pass as they are. Only an answer with a status of success that ended as it should
/// is kept, streamed ones included, which are played back byte by byte as they came.
///
/// What a client says in `Cache-Control` is honoured: `no-store` passes the cache by, `no-cache` asks
/// the origin. An answer that says `no-store` is not kept. Such a `POST` invalidates nothing.
#[derive(Clone, Debug)]
#[must_use]
pub struct PromptLayer<O = ()> {
    cache: CacheLayer<O>,
    prompts: Arc<Prompts>,
}

impl<O> CacheLayer<O> {
    /// Also keeps the answers to prompts.
    pub fn prompts(self, prompts: Prompts) -> PromptLayer<O> {
        PromptLayer { cache: self, prompts: Arc::new(prompts) }
    }
}

impl<O> PromptLayer<O> {
    /// A handle to purge with and to read statistics from.
    #[must_use]
    pub fn handle(&self) -> crate::CacheHandle {
        self.cache.handle()
    }
}

impl<S: Clone, O: Clone> Layer<S> for PromptLayer<O> {
    type Service = PromptCache<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        let keys = Arc::new(self.cache.settings().keys.clone());
        PromptCache { cache: self.cache.layer(inner), prompts: Arc::clone(&self.prompts), keys }
    }
}

/// Answers prompts and other requests from a store; see [`PromptLayer`].
#[derive(Clone)]
pub struct PromptCache<S, O = ()> {
    cache: Cache<S, O>,
    prompts: Arc<Prompts>,
    keys: Arc<KeySpec>,
}

impl<S, O> PromptCache<S, O> {
    /// Makes the request of what was read of its body.
    fn keyed<B: Body>(
        prompts: &Prompts,
        keys: &KeySpec,
        mut parts: Parts,
        body: ReadAhead<B>,
    ) -> Request<ReadAhead<B>> {
        let key = body.bytes().and_then(|bytes| {
            let directive = parts.extensions.get::<CacheDirective>();
            let scope = directive.and_then(|directive| directive.scope.as_deref());
            let route = prompts.find(&parts)?;
            let identity = prompts.identify(route, keys, &parts, bytes, scope).ok()?;
            Some(PromptKey { identity, ttl: route.lifetime() })
        });
        match key {
            Some(key) => drop(parts.extensions.insert(key)),
            None => drop(parts.extensions.insert(CacheDirective::bypass())),
        }
        Request::from_parts(parts, body)
    }
}

impl<S, B, O> Service<Request<B>> for PromptCache<S, O>
where
    S: Fetches<ReadAhead<B>> + Clone,
    B: Body<Error: Send> + Send + Unpin + 'static,
    O: Observer,
{
    type Response = Response<ResponseBody<S::Body>>;
    type Error = S::Error;
    type Future = PromptFuture<S, B, O>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let Some(route) = self.prompts.find(&parts) else {
            let request = Request::from_parts(parts, ReadAhead::unread(body));
            return PromptFuture::plain(self.cache.answer(request, Some(ReadAhead::again)));
        };
        let most = route.request_limit();
        let Self { cache, prompts, keys } = self.clone();
        PromptFuture::prompt(async move {
            let mut reading = ReadAhead::read(body, most);
            let read = timeout(PATIENCE, &mut reading).await;
            let body = read.unwrap_or_else(|_| reading.stop());
            let request = Self::keyed(&prompts, &keys, parts, body);
            cache.answer(request, Some(ReadAhead::again)).await
        })
    }
}

impl<S: fmt::Debug, O: fmt::Debug> fmt::Debug for PromptCache<S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromptCache")
            .field("cache", &self.cache)
            .field("prompts", &self.prompts)
            .finish_non_exhaustive()
    }
}
