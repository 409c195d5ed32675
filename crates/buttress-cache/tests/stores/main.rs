//! Stores: what they keep, for how long, and what a purge leaves of it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod doubles;
mod memory;
mod model;
mod purging;
mod races;
mod support;
mod tiered;
mod tiered_faults;
mod variants;
