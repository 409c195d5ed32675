//! Sends fewer calls to a side that mostly says that it is busy.
//!
//! See [`ThrottleLayer`].

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
