//! The primitives that the in-flight count and the health word stand on; the loom test puts loom's
//! in their place.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
