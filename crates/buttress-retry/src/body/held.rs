use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Buf;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A response body whose first frames were read already; it yields them first, then the rest.
    ///
    /// Data and error types are those of `B`, and the bytes are the same. Made by [`Hold`](super::Hold);
    /// [`HeldBody::new`] makes one that holds nothing.
    pub struct HeldBody<B>
    where
        B: Body,
    {
        pub(super) filler: VecDeque<Frame<B::Data>>,
        // Apart from the filler, so that the common case, one frame and no filler, allocates nothing.
        pub(super) first: Option<Frame<B::Data>>,
        // What the body broke off with, told when the held frames were read.
        pub(super) failure: Option<B::Error>,
        pub(super) ended: bool,
        #[pin]
        pub(super) rest: B,
    }
}

impl<B: Body> HeldBody<B> {
    /// A body of which nothing was read yet.
    #[must_use]
    pub fn new(body: B) -> Self {
        Self { filler: VecDeque::new(), first: None, failure: None, ended: false, rest: body }
    }

    /// The trailers, if they came before any significant data and were not read from here yet.
    ///
    /// A gRPC call that failed without an answer ends this way: its status is in these trailers.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.first.as_ref()?.trailers_ref()
    }

    /// Whether all that is left of the body is held, so that it keeps no connection from its work.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.ended || self.rest.is_end_stream()
    }

    /// The frames that are held, oldest first.
    fn held(&self) -> impl Iterator<Item = &Frame<B::Data>> {
        self.filler.iter().chain(&self.first)
    }

    /// Bytes that are held.
    fn held_bytes(&self) -> u64 {
        self.held()
            .filter_map(Frame::data_ref)
            .map(|data| u64::try_from(data.remaining()).unwrap_or(u64::MAX))
            .fold(0, u64::saturating_add)
    }
}

impl<B: Body> Body for HeldBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        if let Some(frame) = this.filler.pop_front().or_else(|| this.first.take()) {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(failure) = this.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        if *this.ended {
            return Poll::Ready(None);
        }
        this.rest.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.filler.is_empty()
            && self.first.is_none()
            && self.failure.is_none()
            && (self.ended || self.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held_bytes();
        let rest = if self.ended { SizeHint::with_exact(0) } else { self.rest.size_hint() };
        let mut size = SizeHint::new();
        if self.failure.is_some() {
            // Never exact: whoever frames a message by it would end the broken body cleanly.
            size.set_lower(held);
            return size;
        }
        size.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(held)) {
            size.set_upper(upper);
        }
        size
    }
}

impl<B: Body> fmt::Debug for HeldBody<B> {
    /// Says how much is held, never what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldBody")
            .field("frames", &self.held().count())
            .field("bytes", &self.held_bytes())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
