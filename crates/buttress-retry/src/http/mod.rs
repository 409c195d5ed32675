//! Retrying HTTP and gRPC.

mod bodies;
mod clock;
mod grpc;
mod idempotency;
mod judge;
mod look;
mod policy;
mod presets;
mod rules;
mod snapshot;

pub use self::{
    bodies::{BodyMode, CloneBodies, ReplayBodies, ReplayInto},
    judge::Backup,
    look::{Held, Look, Unheld},
    policy::HttpPolicy,
    rules::{AttemptHeader, Nested, NoRetry},
};
