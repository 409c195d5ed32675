//! What the layer tells those who watch it.

use std::time::Duration;

use super::Overloaded;

/// Is told what the layer does. Every method does nothing unless it is written; `()` is the
/// observer that watches nothing and costs nothing.
///
/// The methods run inside the call, so they should be short.
pub trait Observer: Clone {
    /// A call was let in, after it waited for so long.
    fn admitted(&self, _waited: Duration) {}

    /// A call waits in line.
    fn queued(&self) {}

    /// A call was refused.
    fn refused(&self, _refused: &Overloaded) {}

    /// The limit was found anew.
    fn limit(&self, _before: u32, _after: u32) {}
}

impl Observer for () {}
