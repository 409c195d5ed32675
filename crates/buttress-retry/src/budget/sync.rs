//! The primitives the bucket and its queue stand on; the loom test puts loom's in their place.

pub(super) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
