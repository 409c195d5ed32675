//! Tower layers that keep HTTP calls standing when the other side stalls, and a pooled client made
//! of them.
//!
//! Each layer stands alone on any [`tower::Service`](https://docs.rs/tower-service):
//!
//! ```
//! # #[cfg(feature = "client")] {
//! use buttress::{Body, BoxError, RetryLayer};
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! # use std::{convert::Infallible, sync::atomic::{AtomicU32, Ordering}};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! # static CALLS: AtomicU32 = AtomicU32::new(0);
//! # let busy_once = service_fn(|_: Request<Body>| async {
//! #     let mut response = Response::new(Body::from("hello"));
//! #     if CALLS.fetch_add(1, Ordering::SeqCst) == 0 {
//! #         *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//! #     }
//! #     Ok::<_, Infallible>(response)
//! # });
//! let service = ServiceBuilder::new().layer(RetryLayer::http()).service(busy_once);
//!
//! let request = Request::get("http://api.example/").body(Body::empty())?;
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! [`Client`] is the stack for calling out, ready made: pooled connections, HTTP/1.1 and HTTP/2,
//! TLS, a time limit wherever something can stall, and retries that are safe. This one calls an
//! LLM API:
//!
//! ```no_run
//! # #[cfg(feature = "client")] {
//! use buttress::{BoxError, Client};
//! use http::{Request, header::CONTENT_TYPE};
//! use std::time::Duration;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let client = Client::builder()
//!         .llm()
//!         .first_byte_timeout(Duration::from_secs(120))
//!         .idle_read_timeout(Duration::from_secs(60))
//!         .build()?;
//!     let request = Request::post("https://api.example/v1/chat/completions")
//!         .header(CONTENT_TYPE, "application/json")
//!         .body(r#"{"model":"small","messages":[{"role":"user","content":"Hello"}]}"#)?;
//!     let response = client.send(request).await?;
//!     println!("{}", response.into_body().text(1024 * 1024).await?);
//!     Ok(())
//! }
//! # }
//! ```
//!
//! # The order of the layers
//!
//! From the caller inwards: retry, balance, then the [transport] with its first-byte
//! timeout, its pool, its connect timeout and the name lookup. Retry is outside, so that each
//! attempt may go to another endpoint or take another connection. The same order holds for a stack of your own; what signs
//! or dates requests belongs inside of retry.
//!
//! # Errors
//!
//! Errors are boxed ([`BoxError`]). [`cause`] finds a type in one, such as [`TimedOut`], and
//! [`Outcome::of_error`] says what it means: whether anything was sent, who is to blame. A
//! [`Client`] answers with whatever response came; a status of 500 is a response.
//!
//! # Features
//!
//! - `client` (default): [`Client`] and its [transport];
//! - `balance`: `BalanceLayer`, endpoint sets and the policies that choose; with `client`,
//!   `Setup::endpoints`;
//! - `cache`: `CacheLayer`, its stores and its keys;
//! - `dns` (default): `DnsLayer` and the rest of `dns`; with `client`, names are cached, refreshed
//!   ahead and served stale, and connections to addresses that left are retired;
//! - `limit`: `RateLimitLayer`, `ConcurrencyLimitLayer` and `ThrottleLayer`;
//! - `retry` (default): [`RetryLayer`] and the rest of [`retry`];
//! - `tls` (default): `https` for the client, by rustls with the certificates that the platform
//!   trusts. Nothing without `client`.
//!
//! Whoever wants a layer on a service that exists takes `default-features = false` and the layer's
//! feature: no hyper and no TLS come along.

#[cfg(feature = "client")]
mod body;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
pub mod transport;

#[cfg(feature = "client")]
pub use body::{Body, TooLarge};
#[cfg(feature = "balance")]
pub use buttress_balance as balance;
#[cfg(feature = "balance")]
pub use buttress_balance::{BalanceLayer, Endpoint, EndpointSet};
#[cfg(feature = "cache")]
pub use buttress_cache as cache;
#[cfg(feature = "cache")]
pub use buttress_cache::{CacheLayer, MemoryStore};
pub use buttress_core::{
    Attempts, AttemptsFailed, BoxError, Deadline, InvalidRequest, Outcome, Phase, ReadAhead,
    SettingError, TimedOut, cause, causes,
};
#[cfg(feature = "dns")]
pub use buttress_dns as dns;
#[cfg(feature = "dns")]
pub use buttress_dns::DnsLayer;
#[cfg(feature = "limit")]
pub use buttress_limit as limit;
#[cfg(feature = "limit")]
pub use buttress_limit::{ConcurrencyLimitLayer, RateLimitLayer, ThrottleLayer};
#[cfg(feature = "retry")]
pub use buttress_retry as retry;
#[cfg(feature = "retry")]
pub use buttress_retry::RetryLayer;
#[cfg(feature = "client")]
pub use client::{Client, Setup};
