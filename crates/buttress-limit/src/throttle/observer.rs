//! What the layer tells those who watch it.

use super::Throttled;

/// Is told what the layer does. Every method does nothing unless it is written; `()` is the
/// observer that watches nothing and costs nothing.
///
/// The methods run inside the call, so they should be short.
pub trait Observer: Clone {
    /// A call was not sent.
    fn refused(&self, _refused: &Throttled) {}

    /// The other side said that it is busy, the first time after a while if it `woke` the throttle.
    fn busy(&self, _woke: bool) {}
}

impl Observer for () {}
