//! `CacheLayer`: an HTTP cache by RFC 9111 that never delays a byte, and that knows prompts.
//!
//! ```
//! use buttress_cache::{CacheLayer, CacheOutcome, CacheResult, MemoryStore};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Empty, Full};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! # use std::convert::Infallible;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), buttress_cache::BoxError> {
//! # let origin = service_fn(|_: Request<Empty<Bytes>>| async {
//! #     let response = Response::builder().header("cache-control", "max-age=60");
//! #     Ok::<_, Infallible>(response.body(Full::<Bytes>::from("hello")).unwrap())
//! # });
//! let store = MemoryStore::new(64 << 20)?;
//! let mut service = ServiceBuilder::new().layer(CacheLayer::new(store)).service(origin);
//!
//! for result in [CacheResult::Miss, CacheResult::Hit] {
//!     let request = Request::get("http://site.example/").body(Empty::new())?;
//!     let response = service.ready().await?.call(request).await?;
//!     assert_eq!(response.extensions().get::<CacheOutcome>().unwrap().result, result);
//!     assert_eq!(response.into_body().collect().await?.to_bytes(), "hello");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! That is a shared cache with [`Profile::safe`], for a server or a proxy; [`CacheLayer::private`] is
//! one for a client. What the RFCs leave open is a [`Profile`], what tells requests apart is a
//! [`KeySpec`], and answers to prompts are kept where [`Prompts`] say so:
//!
//! ```
//! use buttress_cache::{CacheLayer, KeySpec, MemoryStore, Profile, PromptRoute, Prompts, Scope};
//! use http::HeaderName;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), buttress_cache::SettingError> {
//! let chat = PromptRoute::exact("/v1/chat/completions")?.ttl(Duration::from_secs(600))?;
//! let cache = CacheLayer::new(MemoryStore::new(256 << 20)?)
//!     .profile(Profile::rfc().stale_on_disconnect(Duration::from_secs(300)))
//!     .keys(KeySpec::server().ignore_query(["utm_*"])?)
//!     .max_body(16 << 20)
//!     .tags(HeaderName::from_static("surrogate-key"))
//!     .cache_status("edge")?
//!     // Never shared between two credentials.
//!     .prompts(Prompts::new(Scope::credential()).route(chat));
//! let handle = cache.handle();
//! assert_eq!(handle.statistics().requests(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! A program can ask for more, request by request, with a [`CacheDirective`] among the extensions of
//! the request; what was done is a [`CacheOutcome`] among those of the response, and stands in
//! `Cache-Status` for everybody else.
//!
//! # What it does, and why another
//!
//! - **All of RFC 9111**, in [`rfc`], which does no I/O and reads no clock: freshness, validation,
//!   `Vary` with many variants, invalidation, ranges out of what is stored, `HEAD`, `must-understand`;
//!   parts of one response are put together, and who wants more of it waits for what is missing;
//!   RFC 5861 (stale while revalidating, stale if there is an error), RFC 9211 (`Cache-Status`) and
//!   RFC 9213 (`CDN-Cache-Control`).
//! - **Bodies stream.** A response that is stored reaches its reader as it arrives. Who asks for the
//!   same meanwhile reads along from the first byte on, and there is one fetch for all. Whoever leaves
//!   takes nothing from the others. What cannot be shared releases all who wait at once, and is
//!   remembered for a while. A body that breaks off is never stored, not even as a part.
//! - **A hit copies no body** and waits for nothing. The layer is always ready: what is stored is
//!   served while the inner service is saturated, or gone.
//! - **Keys that cannot be confused**: 256 bits over parts with lengths, with the URI compared on a
//!   hit, and no header that moves an origin to another answer left out.
//! - **Bounds**: bytes in the store, bytes on their way to it, variants, tags, waiters.
//! - **A purge wins** over whatever was asked for before it.
//!
//! # Where it stands
//!
//! Outside of whatever costs something: `Cache -> Retry -> RateLimit -> Balance -> client`. On a server
//! inside of what admits and authenticates, outside of the handler.
//!
//! # Errors
//!
//! The layer adds none: the error is that of the inner service, unchanged, and a store that fails is a
//! miss. The error of a body is a [`BoxError`]: the inner body's own, or a [`FillError`] around it
//! where several read the same.
//!
//! # Cancellation
//!
//! A call that is dropped while others wait for its response hands the fetch on to one of them. A body
//! that all its readers have dropped is dropped too, and nothing of it is stored. Revalidations in the
//! background end with the last clone of the layer and its services.

mod body;
mod clock;
mod core;
mod directive;
mod entry;
mod fetch;
mod flight;
mod future;
mod handle;
mod keep;
mod key;
mod layer;
mod look;
mod observer;
mod outcome;
mod posts;
mod prompt;
pub mod rfc;
mod serve;
mod service;
mod settings;
mod statistics;
pub mod store;
mod tasks;
mod time;

pub use buttress_core::{BoxError, ReadAhead, SettingError};

pub use self::{
    body::{FillError, ResponseBody},
    directive::CacheDirective,
    entry::{Chunks, Entry, EntryId, Slot, Tag, Variant},
    fetch::{Answer, Fetches},
    future::ResponseFuture,
    handle::CacheHandle,
    key::{ForwardingGuard, Identity, Key, KeySpec, Scope, Unkeyed},
    layer::CacheLayer,
    observer::Observer,
    outcome::{CacheOutcome, CacheResult},
    posts::{PromptCache, PromptFuture, PromptLayer},
    prompt::{PromptRoute, Prompts, VOLATILE_FIELDS},
    rfc::{Audience, Flags, Policy, Profile, SetCookie, Vary},
    service::Cache,
    statistics::Statistics,
    store::{
        Generation, Lease, Lookup, MemoryStatistics, MemoryStore, Purge, Removal, SharedStore,
        Store, StoreError, Tiered, TieredStatistics, Usage,
    },
    time::Time,
};
