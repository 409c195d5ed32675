//! The vocabulary that the Buttress layers share.
//!
//! A layer crate depends on this crate and on no other layer, so whatever two layers must agree
//! on lives here:
//!
//! - [`BoxError`] and [`cause`]: the error type, and the way to find one's own type inside it;
//!   [`SettingError`]: what is wrong with a setting;
//! - [`Outcome`] and [`Classify`]: what an attempt came to, by HTTP status, transport error or gRPC
//!   status;
//! - [`Hints`]: what a server says about when to come back (`Retry-After` and its relatives);
//! - [`Attempts`] and [`Deadline`]: one count of attempts and one end of time for all the layers
//!   that a call passes through;
//! - [`GuardBody`]: a body that holds a permit or a count until it ends; [`CloneBody`]: one that can
//!   be had a second time; [`ReadAhead`]: one that was read to see what is asked.
//!
//! ```
//! use buttress_core::Outcome;
//! use http::StatusCode;
//!
//! let outcome = Outcome::of_status(StatusCode::SERVICE_UNAVAILABLE);
//! assert_eq!(outcome, Outcome::Overloaded);
//! assert!(outcome.is_service_failure());
//! ```
//!
//! Nothing here does I/O, starts a task or asks for the time.
//!
//! # Features
//!
//! - `hyper`: [`Outcome::of_error`] knows the errors of hyper, hyper-util and h2, which is how it
//!   tells a request that was never sent from one that may have been processed.

mod ahead;
mod attempts;
mod clone;
mod error;
mod guard;
mod hints;
#[cfg(feature = "hyper")]
mod hyper;
mod json;
mod outcome;
mod setting;

pub use ahead::{ReadAhead, Reading};
pub use attempts::{Attempts, AttemptsFailed, Deadline, Turn};
pub use clone::CloneBody;
pub use error::{BoxError, InvalidRequest, Phase, TimedOut, cause, causes};
pub use guard::{BodyEnd, BodyGuard, GuardBody};
pub use hints::{HintSource, Hints};
pub use json::is_json;
pub use outcome::{ByGrpcStatus, ByStatus, Classify, Outcome, grpc_status, is_unconnected};
pub use setting::SettingError;
