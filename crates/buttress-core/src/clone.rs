//! A body that can be had a second time.

/// A body that can be had a second time without reading it.
///
/// Every `Clone` body is one: `http_body_util::Full`, `http_body_util::Empty`, `String`, and what you
/// derive `Clone` for. Implement it by hand for a body that can be cloned only sometimes, such as one
/// that is either in memory or a stream:
///
/// ```
/// use buttress_core::CloneBody;
/// use bytes::Bytes;
///
/// enum Upload {
///     Memory(Bytes),
///     File(std::fs::File),
/// }
///
/// impl CloneBody for Upload {
///     fn try_clone(&self) -> Option<Self> {
///         match self {
///             Self::Memory(bytes) => Some(Self::Memory(bytes.clone())),
///             Self::File(_) => None,
///         }
///     }
/// }
///
/// assert!(Upload::Memory(Bytes::from_static(b"ping")).try_clone().is_some());
/// assert!(String::from("ping").try_clone().is_some());
/// ```
///
/// A clone must yield what the body yields from here on: the same frames, size and end.
#[diagnostic::on_unimplemented(
    message = "a body of type `{Self}` cannot be cloned for another attempt",
    note = "a streaming body can only be read once: send it through a `ReplayBody`, or without failover"
)]
pub trait CloneBody: Sized {
    /// The same body again, or `None` if it can only be read once.
    #[must_use]
    fn try_clone(&self) -> Option<Self>;
}

impl<B: Clone> CloneBody for B {
    fn try_clone(&self) -> Option<Self> {
        Some(self.clone())
    }
}
