//! Quotas that hold, in front of a server and in front of a provider.

pub mod concurrency;
pub mod overload;
pub mod throttle;

pub use concurrency::{Concurrency, ConcurrencyLimitLayer, Overloaded};
pub use throttle::{ThrottleLayer, Throttled, Throttling};
