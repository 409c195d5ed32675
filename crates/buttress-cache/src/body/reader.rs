//! One of those who read a body while it arrives.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{Fill, FillError};

/// A place in a body that arrives; it keeps what it has not read.
pub(crate) struct Reader {
    fill: Arc<Fill>,
    slot: usize,
    left: Option<u64>,
    trailers: bool,
    over: bool,
}

impl Reader {
    /// Reads from the first byte; `None` if that is gone.
    pub(crate) fn new(fill: Arc<Fill>) -> Option<Self> {
        let slot = fill.enter()?;
        let left = fill.expected();
        Some(Self { fill, slot, left, trailers: true, over: false })
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FillError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let frame = self.fill.poll(self.slot, cx, self.trailers);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) => {
                    let length = data.len() as u64;
                    self.left = self.left.map(|left| left.saturating_sub(length));
                }
                None => self.trailers = false,
            },
            Poll::Ready(_) => self.over = true,
            Poll::Pending => {}
        }
        frame
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.over || self.fill.is_at_end(self.slot, self.trailers)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.fill.leave(self.slot);
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("slot", &self.slot).field("left", &self.left).finish()
    }
}
