//! What is kept of answers, and given again.
//!
//! The cache stands outside of the other layers, so that what it has costs no attempt and no place at
//! an upstream. To it a resource is what the client named, by its `Host`. What the upstream is told in
//! `X-Forwarded-Host`, and in every other header by which a client might move it to another answer,
//! is part of the key too.

use std::{
    future::Future,
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use buttress::cache::{
    CacheDirective, CacheLayer, ForwardingGuard, KeySpec, MemoryStore, Observer, Profile,
    PromptCache, PromptRoute, Prompts, ResponseBody, Scope, StoreError,
};
use buttress_core::{BoxError, ReadAhead};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{
    HeaderName, Method, Request, Response,
    header::{CONTENT_LENGTH, HOST},
};
use http_body::Body;
use http_body_util::Either;
use tower::{Layer as _, Service, ServiceExt as _};

use super::{
    Arguments, Error, Size,
    exchange::Chain,
    stack::{Stack, UpstreamBody},
    upload::RequestBody,
    values::duration,
};

/// How long a caller waits for another's answer to begin, where that may be the whole of a long text.
const PROMPT: Duration = Duration::from_secs(120);

/// What is kept of answers.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct CacheArguments {
    /// Keep answers in this much memory, and give them again where HTTP allows it [default: none]
    #[arg(long = "cache", value_name = "SIZE", env = "BUTTRESS_CACHE")]
    pub cache_memory: Option<Size>,

    /// How much of what HTTP leaves to a cache is done
    #[arg(
        long,
        value_enum,
        default_value_t,
        env = "BUTTRESS_CACHE_PROFILE",
        requires = "cache_memory"
    )]
    pub cache_profile: CacheProfile,

    /// Longest body of an answer that is kept
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "8MiB",
        env = "BUTTRESS_CACHE_MAX_BODY",
        requires = "cache_memory"
    )]
    pub cache_max_body: Size,

    /// Path of POST requests whose answers are kept as well, by the whole of the request; `/path/*`
    /// is all below it. More than one, here or divided by spaces
    #[arg(
        long,
        value_name = "PATH",
        value_delimiter = ' ',
        env = "BUTTRESS_CACHE_POSTS",
        requires = "cache_memory"
    )]
    pub cache_posts: Vec<String>,

    /// Time for which an answer to such a POST is given again, or `forever`
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "1h",
        env = "BUTTRESS_CACHE_TTL",
        requires = "cache_memory"
    )]
    pub cache_ttl: CacheTtl,

    /// Among whom answers to such a POST are shared: those with the same `credential`, `everyone`, or
    /// those with the same value of a header, `header:NAME`
    #[arg(
        long,
        value_name = "SCOPE",
        default_value = "credential",
        env = "BUTTRESS_CACHE_SCOPE",
        requires = "cache_memory"
    )]
    pub cache_scope: CacheScope,
}

impl CacheArguments {
    /// Whether anything is kept.
    pub(crate) const fn is_on(&self) -> bool {
        self.cache_memory.is_some()
    }
}

/// How much of what HTTP leaves to a cache is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum CacheProfile {
    /// Answers that set cookies are not kept, and nothing stale is given unasked
    #[default]
    Safe,
    /// All that the RFCs allow
    Rfc,
}

/// For how long the answer to a POST is given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheTtl(Option<Duration>);

impl FromStr for CacheTtl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("forever") {
            return Ok(Self(None));
        }
        duration(text).map(Some).map(Self)
    }
}

/// Among whom the answer to a POST is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheScope {
    /// Those with the same credential.
    Credential,
    /// Everyone.
    Everyone,
    /// Those with the same value of a header.
    Header(HeaderName),
}

impl FromStr for CacheScope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().split_once(':') {
            None if text.eq_ignore_ascii_case("credential") => Ok(Self::Credential),
            None if text.eq_ignore_ascii_case("everyone") => Ok(Self::Everyone),
            Some(("header", name)) => {
                let name = HeaderName::from_str(name.trim());
                name.map(Self::Header).map_err(|_| "its header has no name that HTTP allows")
            }
            _ => Err("neither credential, everyone nor header:NAME"),
        }
    }
}

impl CacheScope {
    fn scope(&self) -> Scope {
        match self {
            Self::Credential => Scope::credential(),
            Self::Everyone => Scope::everyone(),
            Self::Header(name) => Scope::header(name.clone()),
        }
    }
}

/// A body that the layers can send.
pub(crate) trait Sends:
    Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + Unpin + 'static
{
}

impl<B> Sends for B where
    B: Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + Unpin + 'static
{
}

/// What comes out of the cache.
pub(crate) type CachedBody = Either<ResponseBody<UpstreamBody>, UpstreamBody>;

/// The layers, behind a cache if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Cached {
    stack: Arc<Stack>,
    cache: Option<PromptCache<Behind, Log>>,
}

/// The layers, as the cache sees them.
#[derive(Clone, Debug)]
pub(crate) struct Behind {
    stack: Arc<Stack>,
    /// The `Host` of the client is for the upstream too.
    preserve_host: bool,
}

impl Cached {
    /// Puts the cache that the flags ask for before the layers.
    ///
    /// # Errors
    ///
    /// If a setting cannot be used; the error names the flag.
    pub(crate) fn new(stack: Arc<Stack>, arguments: &Arguments) -> Result<Self, Error> {
        let settings = &arguments.cache;
        let Some(memory) = settings.cache_memory else { return Ok(Self { stack, cache: None }) };
        let bytes = u64::try_from(memory.bytes()).unwrap_or(u64::MAX);
        let store = MemoryStore::new(bytes)
            .map_err(|error| Error::setting("--cache", error.reason().to_owned()))?;
        let profile = match settings.cache_profile {
            CacheProfile::Safe => Profile::safe(),
            CacheProfile::Rfc => Profile::rfc(),
        };
        let keys = KeySpec::new().guard(ForwardingGuard::keyed());
        let mut layer = CacheLayer::new(store)
            .profile(profile)
            .keys(keys)
            .max_body(u64::try_from(settings.cache_max_body.bytes()).unwrap_or(u64::MAX));
        for upstream in &arguments.upstreams {
            layer = layer.alias(upstream.authority().clone());
        }
        if !settings.cache_posts.is_empty() {
            layer = layer.max_wait(PROMPT);
        }
        let behind = Behind { stack: Arc::clone(&stack), preserve_host: arguments.preserve_host };
        let layer = layer.observer(Log).prompts(prompts(settings)?);
        Ok(Self { stack, cache: Some(layer.layer(behind)) })
    }

    /// Whether anything is kept.
    pub(crate) const fn is_on(&self) -> bool {
        self.cache.is_some()
    }

    /// Answers a request from the cache, or sends it on.
    pub(crate) async fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<CachedBody>, BoxError> {
        let Some(cache) = &self.cache else {
            return Ok(self.stack.send(request).await?.map(Either::Right));
        };
        // Content whose length is not told has no field left to tell of it, and the answer to a GET
        // that has some is for nobody else (RFC 9110 section 9.3.1).
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let told = request.headers().contains_key(CONTENT_LENGTH);
        if reads && !told && !request.body().is_end_stream() {
            request.extensions_mut().insert(CacheDirective::bypass());
        }
        Ok(cache.clone().oneshot(request).await?.map(Either::Left))
    }
}

fn prompts(settings: &CacheArguments) -> Result<Prompts, Error> {
    let refused =
        |error: buttress::SettingError| Error::setting("--cache-posts", error.reason().to_owned());
    let mut prompts = Prompts::new(settings.cache_scope.scope());
    for path in &settings.cache_posts {
        let route = match path.strip_suffix("/*") {
            Some(path) => PromptRoute::prefix(path),
            None => PromptRoute::exact(path),
        };
        let route = route.map_err(refused)?;
        prompts = prompts.route(match settings.cache_ttl.0 {
            Some(ttl) => route.ttl(ttl).map_err(refused)?,
            None => route.forever(),
        });
    }
    Ok(prompts)
}

impl Service<Request<ReadAhead<RequestBody>>> for Behind {
    type Response = Response<UpstreamBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    /// Always ready, as the layers are.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<ReadAhead<RequestBody>>) -> Self::Future {
        if !self.preserve_host {
            request.headers_mut().remove(HOST);
        }
        let stack = Arc::clone(&self.stack);
        Box::pin(async move { stack.send(request).await })
    }
}

/// Writes what the cache does to the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log;

impl Observer for Log {
    fn answered(&self, outcome: &buttress::cache::CacheOutcome) {
        tracing::debug!(result = outcome.result.as_str(), age = ?outcome.age, "cache");
    }

    fn revalidation_failed(&self) {
        tracing::info!("what is kept could not be renewed");
    }

    fn store_failed(&self, error: &StoreError) {
        tracing::warn!(error = %Chain(error), "the cache goes on without its store");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_named() {
        assert_eq!("credential".parse(), Ok(CacheScope::Credential));
        assert_eq!("everyone".parse(), Ok(CacheScope::Everyone));
        let tenant = HeaderName::from_static("x-tenant");
        assert_eq!("header:X-Tenant".parse(), Ok(CacheScope::Header(tenant)));
        for bad in ["", "all", "header", "header:", "header:a b", "x-tenant"] {
            assert!(bad.parse::<CacheScope>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_lifetime_is_a_time_or_forever() {
        assert_eq!("1h".parse(), Ok(CacheTtl(Some(Duration::from_secs(3600)))));
        assert_eq!("Forever".parse(), Ok(CacheTtl(None)));
        for bad in ["", "0s", "5", "off"] {
            assert!(bad.parse::<CacheTtl>().is_err(), "{bad}");
        }
    }
}
