//! The primitives that the gate stands on; the loom test puts loom's in their place.

pub(super) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
