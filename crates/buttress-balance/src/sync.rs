//! The primitives that the in-flight count, the line and the health word stand on; the loom tests put
//! loom's in their place.

pub(crate) use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
