//! Limits how many calls are under way.
//!
//! See [`ConcurrencyLimitLayer`].

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
