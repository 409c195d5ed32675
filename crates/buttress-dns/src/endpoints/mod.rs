//! The addresses of a name or a service as a stream, for a balancer.

mod glance;
mod roster;
mod services;
mod stream;

pub use self::{roster::Place, stream::Endpoints};
