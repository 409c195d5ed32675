//! `RetryLayer`: makes a failed call again, when that helps and when it is safe.
//!
//! ```
//! use buttress_retry::RetryLayer;
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! # use std::{convert::Infallible, sync::atomic::{AtomicU32, Ordering}};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), buttress_retry::BoxError> {
//! # static CALLS: AtomicU32 = AtomicU32::new(0);
//! # let busy_once = service_fn(|_: Request<Full<Bytes>>| async {
//! #     let mut response = Response::new(Full::<Bytes>::from("hello"));
//! #     if CALLS.fetch_add(1, Ordering::SeqCst) == 0 {
//! #         *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//! #     }
//! #     Ok::<_, Infallible>(response)
//! # });
//! let mut client = ServiceBuilder::new().layer(RetryLayer::http()).service(busy_once);
//!
//! let request = Request::get("http://api.example/").body(Full::default())?;
//! let response = client.ready().await?.call(request).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! Three attempts, full jitter, a budget, and only what is safe to repeat: that is
//! [`RetryLayer::http`]. [`RetryLayer::llm`] knows the conventions of LLM APIs,
//! [`RetryLayer::grpc`] those of gRPC, [`RetryLayer::busy`] is the script that many clients carry
//! around today; and each setting can be changed:
//!
//! ```
//! use buttress_retry::{Backoff, Budget, Jitter, ReplayLimits, RetryLayer};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let backoff = Backoff::exponential(Duration::from_millis(200), Duration::from_secs(5))?;
//! let layer = RetryLayer::http()
//!     .max_attempts(4)?
//!     .backoff(backoff.jitter(Jitter::Decorrelated))
//!     .budget(Budget::percent(10.0)?.floor_per_sec(2)?)
//!     .attempt_timeout(Duration::from_secs(2))
//!     .total_timeout(Duration::from_secs(10))
//!     // Streaming uploads: recorded while they are sent, at most 256 KiB of each.
//!     .replay(ReplayLimits::new().per_request(256 * 1024));
//! # drop(layer);
//! # Ok(())
//! # }
//! ```
//!
//! # Why another retry layer
//!
//! Retries that know nothing of the server make an outage worse: they come at once, all together,
//! and multiply the load. This layer spreads them (full jitter, from a generator per thread), pays
//! for them out of a [`Budget`] that successes fill, and takes the server at its word
//! (`Retry-After` and its relatives, gRPC pushback): never earlier than asked, and not at all where
//! the wait would outlast the deadline. The failed response is gone before the wait begins, so a
//! waiting call holds no connection and no permit.
//!
//! # Where it stands
//!
//! Outside of whatever chooses an endpoint or limits a single attempt, inside of a cache:
//! `Cache -> Retry -> RateLimit -> Balance -> client`. Layers that sign requests or date them
//! belong inside, so that each attempt is signed anew.
//!
//! # Errors
//!
//! The error is a [`BoxError`]. After one attempt it is the inner
//! service's own; after several it is an [`AttemptsFailed`] around
//! the last one, found with [`cause`](fn@cause) like the time limits'
//! [`TimedOut`]. A response that came after several attempts carries
//! [`Attempts`] as an extension; [`Attempts::made_in`] reads it.
//!
//! # Features
//!
//! - `http` (default): the policies for HTTP and gRPC, [`ReplayBody`], [`CommitLayer`];
//! - `hyper` (default): recognises hyper's errors, so that requests which were never sent go again
//!   whatever their method.
//!
//! Without both, what is left is the layer, [`Backoff`], [`Budget`] and [`Repeat`] for any request
//! that is `Clone`.

mod backoff;
#[cfg(feature = "http")]
mod body;
mod budget;
mod call;
mod error;
mod future;
#[cfg(feature = "http")]
mod http;
mod layer;
mod observer;
mod policy;
mod progress;
mod repeat;
mod service;
mod settings;
mod timer;
mod watch;

pub use buttress_core::{
    Attempts, AttemptsFailed, BoxError, Deadline, Outcome, Phase, SettingError, TimedOut, cause,
};

pub use self::{
    backoff::{Backoff, Jitter},
    budget::{Acquire, Budget, Budgets, Cost, Reservation},
    error::QueueFull,
    future::ResponseFuture,
    layer::RetryLayer,
    observer::{Cancelled, Done, Observer, Retrying},
    policy::{Delay, Ending, Next, Policy, Resend, Resent, Retired, Verdict},
    repeat::{Judge, OnError, Repeat},
    service::Retry,
    settings::EmptyBudget,
};
#[cfg(feature = "http")]
pub use self::{
    body::{
        BeforeFirstFrame, CloneBody, Commit, CommitFuture, CommitLayer, Drain, Drained, FirstFrame,
        HeldBody, Hold, NotReplayable, Replay, ReplayBody, ReplayLimits, ReplayMemory,
        SourceFailed, Superseded,
    },
    http::{
        AttemptHeader, Backup, BodyMode, CloneBodies, Held, HttpPolicy, Look, Nested, NoRetry,
        ReplayBodies, ReplayInto, Unheld,
    },
};
