//! Why a body that several read ended early.

use std::{error::Error, fmt, sync::Arc};

use buttress_core::BoxError;

/// A body that several requests read at once ended before its end.
///
/// The source is what the inner service's body failed with, the same for all who read it.
#[derive(Clone, Debug)]
pub struct FillError(Cause);

#[derive(Clone, Debug)]
enum Cause {
    /// The inner body failed.
    Failed(Arc<BoxError>),
    /// It ended after fewer or more bytes than its `Content-Length` said.
    Length { expected: u64, received: u64 },
}

impl FillError {
    pub(super) fn failed(source: BoxError) -> Self {
        Self(Cause::Failed(Arc::new(source)))
    }

    pub(super) const fn length(expected: u64, received: u64) -> Self {
        Self(Cause::Length { expected, received })
    }
}

impl fmt::Display for FillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Failed(_) => f.write_str("the body of a shared response failed"),
            Cause::Length { expected, received } => {
                write!(f, "the body has {received} bytes, and {expected} were announced")
            }
        }
    }
}

impl Error for FillError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Cause::Failed(source) => Some(&***source),
            Cause::Length { .. } => None,
        }
    }
}
