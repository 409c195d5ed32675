//! Quotas that hold, in front of a server and in front of a provider.
//!
//! In front of a server: five in an hour for each client, and a 429 that says when to come back.
//!
//! ```
//! use buttress_limit::{Local, Quota, RateLimitLayer};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! # use std::convert::Infallible;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let handler = service_fn(|_: Request<Full<Bytes>>| async {
//! #     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
//! # });
//! // Made once, outside of the layer: its clones count together.
//! let limiter = Local::new(Quota::per_hour(5)?)?;
//! let mut server =
//!     ServiceBuilder::new().layer(RateLimitLayer::inbound(limiter)).service(handler);
//!
//! for _ in 0..5 {
//!     let response = server.ready().await?.call(Request::default()).await?;
//!     assert_eq!(response.status(), 200);
//! }
//! let response = server.ready().await?.call(Request::default()).await?;
//! assert_eq!(response.status(), 429);
//! assert_eq!(response.headers()["retry-after"], "720");
//! assert_eq!(response.headers()["ratelimit"], r#""per-hour";r=0;t=720"#);
//! # Ok(())
//! # }
//! ```
//!
//! In front of a provider with a limit on requests and on tokens: calls wait in line until they fit
//! into both, the tokens are estimated first and put right by the `usage` in the answer, and a 429
//! pauses everyone. What a request allows its answer to come to is in its body, which an [`EstimateLayer`]
//! reads; without that one it is taken to be 500 tokens.
//!
//! ```
//! use buttress_limit::{
//!     Estimate, EstimateLayer, Local, Policy, Quota, RateLimitLayer, UsageSettle,
//! };
//! use std::time::Duration;
//! use tower::ServiceBuilder;
//!
//! # fn main() -> Result<(), buttress_limit::SettingError> {
//! let policy = Policy::new([
//!     Quota::per_minute(500)?.strict()?,
//!     Quota::tokens_per_minute(200_000)?.strict()?,
//! ])?;
//! let (most, estimate) = (policy.most(), Estimate::new());
//! let layer = RateLimitLayer::outbound(Local::new(policy)?)
//!     .cost(move |head| estimate.cost(head))
//!     .max_cost(most)
//!     .settle(UsageSettle::new())
//!     .wait(Duration::from_secs(60));
//! // A retry layer goes in between, so that each attempt is counted and the body is read once.
//! let stack = ServiceBuilder::new().layer(EstimateLayer::new(estimate)).layer(layer);
//! # drop(stack);
//! # Ok(())
//! # }
//! ```
//!
//! Two servers to be run and hit with `curl` or a client are among the examples of the repository:
//! axum (`cargo run -p examples --bin limited_axum -- --serve 127.0.0.1:8080`) and tonic
//! (`cargo run -p examples --bin limited_tonic`). The axum one comes down to this; with
//! `into_make_service_with_connect_info` the layer knows the peer:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use buttress_limit::{ClientIp, Local, Quota, RateLimitLayer};
//! use std::net::SocketAddr;
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let limiter = Local::new(Quota::per_minute(60)?.burst(10)?)?;
//! let layer = RateLimitLayer::inbound(limiter).key(ClientIp::behind(["10.0.0.0/8"])?);
//! let app = Router::new().route("/", get(|| async { "hello" })).layer(layer);
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! And the tonic one to this; what is refused has the status `RESOURCE_EXHAUSTED`:
//!
//! ```text
//! let peer = ClientIp::peer().peer_from(|extensions| {
//!     Some(extensions.get::<TcpConnectInfo>()?.remote_addr()?.ip())
//! });
//! Server::builder().layer(RateLimitLayer::inbound(limiter).key(peer)).add_service(service)
//! ```
//!
//! # What it does
//!
//! - **Counts** requests, tokens, bytes or what you like ([`Unit`]) in up to eight windows ([`Quota`],
//!   [`Policy`]), with a burst, or [strictly](Quota::strict): no window, wherever it begins, sees more
//!   than its amount. All windows are decided together, and a denial charges none.
//! - **Tells callers apart** by what they cannot choose: the [peer's address](ClientIp), through
//!   proxies that you name, a [credential](Credential), a [route](PathTemplate), or
//!   [anything of yours](RequestKey). The number of keys is bounded, and one that has spent something
//!   is never forgotten early ([`Local`]).
//! - **Refuses** at once, lets [wait](RateLimitLayer::wait) in line, [sheds](RateLimitLayer::shed), or
//!   [only watches](RateLimitLayer::enforce). Whoever waits is served first come, first served; a
//!   wait that would be too long is refused at once.
//! - **Settles**: what a request came to is known when its answer ends ([`Settle`], [`Bill`]). Too
//!   high an estimate is refunded, too low a one is a debt.
//! - **Answers** by the book ([`Standard`]), to gRPC clients by theirs, or
//!   [as you say](RateLimitLayer::respond_with).
//! - **Learns** from an upstream ([`Learn`]): a pause when it says so, less when it says that less is
//!   left or that it allows less, never more.
//!
//! Two more layers have a module each: [`concurrency`] limits how many calls are under way, and
//! [`throttle`] spares a side that mostly says that it is busy.
//!
//! # Where it stands
//!
//! In front of a provider inside of retries, since every attempt is counted there; those who wait hold
//! no readiness of what is inside. In front of a server outside of whatever costs something, and once
//! more by credential behind what checks credentials.
//!
//! # Errors
//!
//! The layer adds none: what is not admitted is answered. Outbound the answer has a [`Denied`] in its
//! extensions. Wrong settings are refused where they are made ([`SettingError`]).
//!
//! # Features
//!
//! - `openai` (default): [`Estimate`], [`EstimateLayer`] and [`UsageSettle`];
//! - `axum`: the peer and the route of a request to an axum server.

mod acquire;
mod answer;
mod body;
mod clock;
pub mod concurrency;
mod cost;
mod fields;
mod follow;
mod future;
mod head;
mod key;
mod keys;
mod layer;
mod learn;
mod limiter;
mod local;
mod meter;
mod observer;
#[cfg(feature = "openai")]
mod openai;
pub mod overload;
mod policies;
mod policy;
mod prepared;
mod problem;
mod quota;
mod rules;
mod service;
mod settle;
mod snapshot;
mod store;
pub mod throttle;

pub use buttress_core::{ReadAhead, SettingError};

#[cfg(feature = "openai")]
pub use self::openai::{
    Ahead, Estimate, EstimateFuture, EstimateLayer, EstimateTokens, Estimated, UsageSettle,
};
pub use self::{
    acquire::Acquire,
    answer::{Answer, Respond, RespondWith, Standard},
    body::ResponseBody,
    concurrency::{Concurrency, ConcurrencyLimitLayer, Overloaded},
    cost::{Cost, Unit},
    future::ResponseFuture,
    head::Head,
    key::Key,
    keys::{
        ClientIp, Credential, Global, HeaderKey, PathTemplate, PeerAddr, RequestKey, RouteTemplate,
    },
    layer::RateLimitLayer,
    learn::Learn,
    limiter::{Allowance, Ask, Denied, DeniedKind, Lesson, Limiter, Ticket, Tier, Wait},
    local::Local,
    observer::Observer,
    policy::{IntoPolicy, Policy},
    prepared::PreparedAnswer,
    quota::Quota,
    rules::MissingKey,
    service::RateLimit,
    settle::{Bill, Settle, Settlement, Watch},
    snapshot::{Snapshot, Standing},
    throttle::{ThrottleLayer, Throttled, Throttling},
};
