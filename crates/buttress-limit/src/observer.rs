//! What the layer tells those who watch it.

use std::time::Duration;

use crate::{
    cost::Cost,
    key::Key,
    limiter::{Denied, Lesson},
};

/// Is told what the layer does. Every method does nothing unless it is written; `()` is the
/// observer that watches nothing and costs nothing.
///
/// The methods run inside the call, so they should be short.
pub trait Observer: Clone {
    /// A request was admitted, after a wait in line if `waited` is not zero.
    fn admitted(&self, _key: Key, _cost: &Cost, _waited: Duration) {}

    /// A request has to wait in line.
    fn queued(&self, _key: Key, _cost: &Cost) {}

    /// A request was not admitted. If not `enforced` it passes all the same: a shadow.
    fn denied(&self, _key: Key, _denied: &Denied, _enforced: bool) {}

    /// What an admitted request was charged, and what it came to.
    fn settled(&self, _key: Key, _charged: &Cost, _actual: &Cost) {}

    /// An upstream said something about the quota of a key.
    fn learned(&self, _key: Key, _lesson: Lesson) {}
}

impl Observer for () {}
