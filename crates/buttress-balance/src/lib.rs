//! Spreads calls over endpoints, leaves out those that fail, and goes on to another one where that
//! is safe.
//!
//! ```
//! use buttress_balance::{BalanceLayer, Endpoint, EndpointSet, Served};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! # use std::{convert::Infallible, io};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), buttress_core::BoxError> {
//! # // Any client that can be cloned; here one that cannot reach the first endpoint.
//! # let client = service_fn(|request: Request<Full<Bytes>>| async move {
//! #     match request.uri().host() {
//! #         Some("10.0.0.1") => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
//! #         _ => Ok(Response::new(Full::<Bytes>::from("hello"))),
//! #     }
//! # });
//! let set = EndpointSet::new([
//!     Endpoint::new("http://10.0.0.1:8080")?,
//!     Endpoint::new("http://10.0.0.2:8080")?,
//! ])?;
//! let mut client = ServiceBuilder::new().layer(BalanceLayer::new(set.clone())).service(client);
//!
//! // Nobody listens at the first one; no call fails for that.
//! for _ in 0..10 {
//!     let request = Request::post("/v1/chat").body(Full::from("hi"))?;
//!     let response = client.ready().await?.call(request).await?;
//!     let served = response.extensions().get::<Served>().map(Served::endpoint);
//!     assert_eq!(served, Some("http://10.0.0.2:8080"));
//! }
//! assert_eq!(set.snapshot()[1].picks, 10);
//! # Ok(())
//! # }
//! ```
//!
//! The same in nginx's words, with weights and a backup:
//!
//! ```
//! use buttress_balance::{BalanceLayer, Endpoint, EndpointSet, NextUpstream, On};
//! use http::StatusCode;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), buttress_balance::SettingError> {
//! let set = EndpointSet::new([
//!     Endpoint::new("http://10.0.0.1:8080")?.weight(5)?,
//!     Endpoint::new("http://10.0.0.2:8080")?,
//!     Endpoint::new("http://10.9.0.1:8080")?.backup(),
//! ])?;
//! let layer = BalanceLayer::new(set)
//!     .least_request()
//!     .max_fails(3)
//!     .fail_timeout(Duration::from_secs(30))?
//!     .next_upstream(NextUpstream::on([
//!         On::Error,
//!         On::Timeout,
//!         On::Status(StatusCode::BAD_GATEWAY),
//!         On::Status(StatusCode::SERVICE_UNAVAILABLE),
//!         On::Status(StatusCode::GATEWAY_TIMEOUT),
//!     ]));
//! # drop(layer);
//! # Ok(())
//! # }
//! ```
//!
//! # What it does
//!
//! - **Chooses** among the endpoints that are fit, by a [policy](Pick): [`Adaptive`] (the default;
//!   latency, calls in flight and failures), [`LeastRequest`], [`PeakEwma`], [`RoundRobin`],
//!   [`Random`], [`RingHash`] and [`Rendezvous`].
//! - **Counts** a call as in flight until its response body has ended, failed or been dropped.
//! - **Judges** endpoints by their answers ([`Health`]) and, if asked to, by checks
//!   (`HealthCheck`). The number of failures that ejects one follows the errors of the others,
//!   so that background errors eject nobody; only a share of the set can be out; exactly one call
//!   tries whether an endpoint is back; and when all are out, calls go on unless that is not wanted.
//! - **Goes on** to an endpoint that was not tried where nothing was sent, or where the request is
//!   idempotent and its body can be had again ([`NextUpstream`]).
//! - **Waits**, first come, first served, for a place at an endpoint whose calls in flight are
//!   limited, by a [setting](Endpoint::max_in_flight) or by what is [learned](LearnedLimit).
//!
//! The set can be [edited](EndpointSet) while calls go on, follow a [stream](EndpointSet::watch),
//! be [looked at](EndpointSet::snapshot) and [listened to](EndpointSet::subscribe). One that does
//! not change needs no runtime. `cargo run -p examples --bin balance`, in the repository, shows a set
//! from inside while one of its servers goes and comes back.
//!
//! # Where it stands
//!
//! Inside of retries, so that each attempt may go to another endpoint, and outside of the time limit
//! for one attempt, so that an endpoint which does not answer is found out:
//! `Retry -> RateLimit -> Balance -> AttemptTimeout -> client`. A time limit outside shows up as a
//! call that was dropped: see [`BalanceLayer::cancel_after`]. Attempts are counted together with a
//! retry outside ([`Attempts`](buttress_core::Attempts)), and what it sends again waits in line in the
//! [turn](buttress_core::Turn) that the call has kept.
//!
//! The service is always ready. It asks the inner service, or that of the chosen endpoint, once it
//! knows where the call goes, and holds no readiness of others.
//!
//! # Errors
//!
//! The error is a [`BoxError`](buttress_core::BoxError). A call that went to no endpoint fails with a
//! [`BalanceError`], found with [`cause`](buttress_core::cause); an attempt that failed is an
//! [`AttemptsFailed`](buttress_core::AttemptsFailed) around the inner service's error.
//!
//! # Features
//!
//! - `check` (default): active health checks;
//! - `hyper` (default): recognises hyper's errors, so that requests which were never sent go on
//!   whatever their method;
//! - `discover`: feeds a set from any `tower::discover::Discover`.

mod ask;
mod balancer;
mod body;
mod call;
mod care;
mod choose;
mod clock;
mod endpoint;
mod error;
mod ewma;
mod failover;
mod future;
mod health;
mod judge;
mod layer;
mod lease;
mod limit;
mod load;
mod next;
mod node;
mod observe;
mod observer;
mod pick;
mod queue;
mod served;
mod service;
mod set;
mod sync;
mod table;
mod target;
mod turn;
mod wait;

pub use buttress_core::{CloneBody, SettingError};

#[cfg(feature = "check")]
pub use self::health::{Checking, HealthCheck};
pub use self::{
    ask::{Ask, Unavailable},
    balancer::Balancer,
    body::ResponseBody,
    clock::Moment,
    endpoint::{Endpoint, EndpointId, MAX_WEIGHT},
    error::{BalanceError, BalanceErrorKind},
    ewma::Ewma,
    failover::{Bodies, CloneBodies, NextUpstream, On, Once},
    future::ResponseFuture,
    health::{Health, Panic},
    layer::BalanceLayer,
    lease::{Lease, Observation, Verdict},
    limit::LearnedLimit,
    observer::{Answered, Observer, Picked},
    pick::{
        Adaptive, Candidate, HashKey, LeastRequest, PeakEwma, Pick, PickContext, Random,
        Rendezvous, RingHash, RoundRobin, key,
    },
    served::Served,
    service::Balance,
    set::{EndpointSet, EndpointStatus, Event, Events, State, Watching},
    target::{Link, PerEndpoint, Rewrite, Routed, Shared, SharedClient, Target},
};
