//! Sends fewer calls to a side that mostly says that it is busy.
//!
//! ```
//! use buttress_core::cause;
//! use buttress_limit::throttle::{Rule, ThrottleLayer, Throttled, Throttling};
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! // A side that has too much to do.
//! let busy = service_fn(|_: Request<()>| async {
//!     let mut response = Response::new(Full::<Bytes>::default());
//!     *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//!     Ok::<_, Infallible>(response)
//! });
//! // Made once, and shared by all that is made from it.
//! let throttling = Throttling::new(Rule::new());
//! let client = ServiceBuilder::new().layer(ThrottleLayer::new(throttling.clone())).service(busy);
//!
//! let mut refused = 0;
//! for _ in 0..1_000 {
//!     if let Err(error) = client.clone().oneshot(Request::new(())).await {
//!         assert!(cause::<Throttled>(&*error).is_some());
//!         refused += 1;
//!     }
//! }
//! assert!(refused > 900, "most were never sent");
//! # Ok(())
//! # }
//! ```
//!
//! # What it does
//!
//! Turning a call away costs a service some of what it lacks, so one that has far too much to do may
//! spend itself on saying so. This layer refuses calls where they are made, by the [`Rule`] of accepts
//! and requests, as long as the other side mostly says that it is busy: 429, 503, 529, gRPC status 8.
//! Timeouts count [if told so](ThrottleLayer::timeouts). Other answers count as accepts, other
//! failures not at all.
//!
//! Until the first busy answer it is dormant, and costs a few loads and no look at the clock; so it is
//! again after a [window](Rule::window) without one. A call each second goes through whatever the
//! rule says, so that a service that has recovered is found out, and has its calls back within
//! seconds.
//!
//! # Where it stands
//!
//! Inside of retries, so that each attempt is judged, and outside of what chooses an endpoint:
//! `Retry -> RateLimit -> Throttle -> Balance -> client`; with
//! [keys](ThrottleLayer::keyed) also for each endpoint or model. A call that it refuses was not sent,
//! and says so ([`Outcome::NotSent`](buttress_core::Outcome::NotSent)), so that it is no failure of
//! the service in the books of a retry budget.
//!
//! # Errors
//!
//! The error is a [`BoxError`](buttress_core::BoxError), in which [`cause`](buttress_core::cause)
//! finds [`Throttled`] and when to come back; or, with [`answer`](ThrottleLayer::answer), the inner
//! service's own.

mod error;
mod future;
mod handle;
mod judge;
mod layer;
mod meter;
mod observer;
mod rule;
mod service;
mod window;

pub use self::{
    error::Throttled,
    future::ResponseFuture,
    handle::Throttling,
    judge::{Judge, ResponseBody},
    layer::ThrottleLayer,
    observer::Observer,
    rule::Rule,
    service::Throttle,
};
