//! Stores: what they keep, for how long, and what a purge leaves of it.

mod bounds;
mod memory;
mod model;
mod purging;
mod races;
mod support;
mod variants;
