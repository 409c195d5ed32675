//! What the inner service gets to read.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A request body of which a part, or all, may have been read already to find its key.
    ///
    /// It yields the same frames as the body that it was made of, and fails with the same error.
    pub struct PromptBody<B>
    where
        B: Body,
    {
        read: VecDeque<Frame<Bytes>>,
        left: u64,
        failed: Option<B::Error>,
        #[pin]
        rest: Option<B>,
    }
}

impl<B: Body> PromptBody<B> {
    /// Of which nothing was read.
    pub(crate) const fn unread(body: B) -> Self {
        Self { read: VecDeque::new(), left: 0, failed: None, rest: Some(body) }
    }

    /// All of it.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let left = bytes.len() as u64;
        let read = if bytes.is_empty() { VecDeque::new() } else { [Frame::data(bytes)].into() };
        Self { read, left, failed: None, rest: None }
    }

    /// The same once more, if nothing of it is still to be read.
    pub(crate) fn again(&self) -> Option<Self> {
        if self.is_end_stream() {
            return Some(Self::whole(Bytes::new()));
        }
        let all = self.rest.is_none() && self.failed.is_none() && self.read.len() == 1;
        let data = self.read.front().filter(|_| all)?.data_ref()?;
        Some(Self::whole(data.clone()))
    }

    /// All of it, if it is in memory.
    ///
    /// # Errors
    ///
    /// The body itself, if there is more to it.
    pub fn into_bytes(mut self) -> Result<Bytes, Self> {
        if self.rest.is_some() || self.failed.is_some() || self.read.len() > 1 {
            return Err(self);
        }
        let Some(frame) = self.read.pop_front() else { return Ok(Bytes::new()) };
        frame.into_data().map_err(|frame| {
            self.read.push_front(frame);
            self
        })
    }

    /// What was read before it was found too long, or to have more to it than data, or to fail.
    pub(crate) fn begun(
        read: VecDeque<Frame<Bytes>>,
        rest: Option<B>,
        failed: Option<B::Error>,
    ) -> Self {
        let data = read.iter().filter_map(Frame::data_ref);
        let left = data.map(|data| data.len() as u64).sum();
        Self { read, left, failed, rest }
    }
}

impl<B: Body> Body for PromptBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if let Some(frame) = this.read.pop_front() {
            *this.left -= frame.data_ref().map_or(0, |data| data.len() as u64);
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(rest) = this.rest.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let frame = ready!(rest.poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
        }))
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.rest.as_ref().is_none_or(Body::is_end_stream);
        self.read.is_empty() && self.failed.is_none() && rest
    }

    fn size_hint(&self) -> SizeHint {
        if self.failed.is_some() {
            return SizeHint::default();
        }
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(self.left)) {
            hint.set_upper(upper);
        }
        hint.set_lower(rest.lower().saturating_add(self.left));
        hint
    }
}

impl<B: Body> fmt::Debug for PromptBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromptBody")
            .field("read", &self.left)
            .field("whole", &self.rest.is_none())
            .finish_non_exhaustive()
    }
}
