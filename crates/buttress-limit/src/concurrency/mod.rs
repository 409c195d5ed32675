//! Limits how many calls are under way, each until its response body has ended.
//!
//! ```
//! use buttress_limit::concurrency::{Concurrency, ConcurrencyLimitLayer, Limit};
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! # let handler = service_fn(|_: Request<()>| async {
//! #     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
//! # });
//! // Made once, and shared by all that is made from it.
//! let limit = Concurrency::new(Limit::fixed(1)?);
//! let service = ServiceBuilder::new()
//!     .layer(ConcurrencyLimitLayer::inbound(limit.clone()))
//!     .service(handler);
//!
//! let first = service.clone().oneshot(Request::new(())).await?;
//! let second = service.clone().oneshot(Request::new(())).await?;
//! assert_eq!(first.status(), StatusCode::OK);
//! assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
//! assert_eq!(second.headers()["retry-after"], "1");
//!
//! first.into_body().collect().await?;
//! assert_eq!(limit.snapshot().in_flight, 0);
//! assert_eq!(service.oneshot(Request::new(())).await?.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! In front of a client, with a line by priority and a limit that is found:
//!
//! ```
//! use buttress_limit::concurrency::{Concurrency, ConcurrencyLimitLayer, Gradient, Priority, Wait};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), buttress_core::SettingError> {
//! let limit = Concurrency::new(Gradient::new().between(4, 20, 500)?);
//! let layer = ConcurrencyLimitLayer::outbound(limit)
//!     .wait(Wait::fifo().max(Duration::from_secs(5)).max_queue(200))
//!     .priority(|head| Priority::new(u8::from(head.headers.contains_key("x-batch"))));
//! # drop(layer);
//! # Ok(())
//! # }
//! ```
//!
//! # What counts
//!
//! A call counts from the moment it is let in until its response body has been read to its last
//! frame, has failed or was dropped; until the head, if there is no body. (tower's
//! `ConcurrencyLimit` lets go with the head, so that streams are free.) After a change of protocol
//! it counts until the [`HeldPermit`] is dropped, which is in the response's extensions.
//!
//! # Where no place is free
//!
//! - [`reject`](ConcurrencyLimitLayer::reject): the call is refused at once; the default of
//!   [`inbound`](ConcurrencyLimitLayer::inbound).
//! - [`wait`](ConcurrencyLimitLayer::wait): it waits in a line with bounds, and is refused at once
//!   where the wait is known to be too long; the default of
//!   [`outbound`](ConcurrencyLimitLayer::outbound). Who waits holds nothing of the inner service,
//!   and who goes away gives its place to the next.
//! - [`shed`](ConcurrencyLimitLayer::shed): calls of lower priority are refused before the limit is
//!   reached, so that there is room for the others.
//!
//! # Which limit
//!
//! [`Limit::fixed`], to be [changed](Concurrency::set_limit) at any time, is right for an LLM that
//! streams its answers: how long those take says how long they are, not how busy the service is.
//! [`Aimd`] goes by what a service says (429, 503, 529) and by timeouts, [`Gradient`] by how much
//! longer its answers take than they need to. With keys
//! ([`inbound_keyed`](ConcurrencyLimitLayer::inbound_keyed)) there is one limit for each.
//!
//! # Where it stands
//!
//! In front of a server outermost, for what is refused should cost least. In front of a client inside
//! of retries and outside of the time limit for one attempt:
//! `Retry -> RateLimit -> Throttle -> ConcurrencyLimit -> AttemptTimeout -> client`. Only an attempt
//! timeout inside is seen by a limit that is found.
//!
//! # Errors
//!
//! [`inbound`](ConcurrencyLimitLayer::inbound) adds no failure: errors are those of the inner service.
//! With [`outbound`](ConcurrencyLimitLayer::outbound) the error is a
//! [`BoxError`](buttress_core::BoxError), in which [`cause`](buttress_core::cause) finds
//! [`Overloaded`].

mod aimd;
mod error;
mod future;
mod gate;
mod gradient;
mod handle;
mod held;
mod layer;
mod learner;
mod limit;
mod line;
mod mode;
mod observer;
mod place;
mod sample;
mod service;
mod sync;
mod word;

pub use self::{
    aimd::Aimd,
    error::{Overloaded, OverloadedKind},
    future::ResponseFuture,
    gradient::Gradient,
    handle::{Concurrency, Snapshot},
    held::{Held, HeldPermit, ResponseBody},
    layer::ConcurrencyLimitLayer,
    limit::Limit,
    mode::{Mode, Priority, Shed, Wait},
    observer::Observer,
    place::Permit,
    service::ConcurrencyLimit,
};
