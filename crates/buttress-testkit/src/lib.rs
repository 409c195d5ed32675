//! What the Buttress layers are tested with: a strict inner service, the contract suite, bodies
//! that stall or fail, and a small benchmark harness.
//!
//! ```
//! use buttress_testkit::Contract;
//! use std::time::Duration;
//! use tower::timeout::TimeoutLayer;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread()
//! #     .enable_time().start_paused(true).build().unwrap();
//! # runtime.block_on(async {
//! // In a test: #[tokio::test(start_paused = true)].
//! let layer = TimeoutLayer::new(Duration::from_secs(3600));
//! Contract::plain(layer.clone()).run().await;
//! Contract::http(layer).run().await;
//! # });
//! ```
//!
//! A service under the eye of a test, which minds its readiness and can be steered:
//!
//! ```
//! use buttress_testkit::{Planted, Replies, Strict};
//! use tower_service::Service;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let replies = Replies::queue([Err(Planted::new(1)), Ok("busy"), Ok("fine")]);
//! let (mut service, handle) = Strict::new(replies);
//!
//! let mut answers = Vec::new();
//! for request in ["a", "b", "c"] {
//!     std::future::poll_fn(|cx| Service::<&str>::poll_ready(&mut service, cx)).await.unwrap();
//!     answers.push(service.call(request).await);
//! }
//!
//! assert_eq!(answers, [Err(Planted::new(1)), Ok("busy"), Ok("fine")]);
//! assert_eq!(handle.calls(), 3);
//! handle.assert_clean();
//! # });
//! ```
//!
//! # What is where
//!
//! - [`strict`]: [`Strict`] wraps any service and fails the test when `call` is not preceded by
//!   `poll_ready` on that very instance; its [`Handle`] delays, holds and fails, and counts.
//! - [`contract`]: [`Contract`] puts a layer through the checks that every layer here must pass,
//!   and names those that it failed.
//! - [`bodies`]: [`Script`] is an `http_body::Body` that does what it was told, frame by frame.
//! - [`mod@bench`]: [`Bench`] runs cases in turn and prints times, allocations and ratios.
//!
//! Nothing here is random, and nothing waits on the wall clock unless the runtime's own clock
//! does: run the tests with tokio's paused time, on a current-thread runtime.
//!
//! Linking this crate installs the counting allocator of `allocation-counter`, so a test or a bench
//! that uses it can count allocations, and cannot set a global allocator of its own.

pub mod bench;
pub mod bodies;
pub mod contract;
pub mod strict;

pub use self::bench::Bench;
pub use self::bodies::{BodyFailure, BodyHandle, Script};
pub use self::contract::{Check, Contract, Report};
pub use self::strict::{Handle, Planted, Replies, Strict, Violation};
