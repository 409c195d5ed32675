//! What a caller reads.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{Reader, source::Source};
use crate::Chunks;

pin_project! {
    /// The body of a response: out of the store, read along while it arrives, or the inner service's
    /// own.
    ///
    /// The pieces of a stored body are those that are stored, not copies. The inner body's errors are
    /// passed on as they are, or, where several read it, inside of a [`FillError`](crate::FillError).
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Stored { chunks: Chunks, next: usize, left: u64 },
        Follow { reader: Reader },
        Pass { #[pin] body: Source<B> },
    }
}

impl<B> ResponseBody<B> {
    pub(crate) const fn stored(chunks: Chunks) -> Self {
        let left = chunks.length();
        Self { kind: Kind::Stored { chunks, next: 0, left } }
    }

    pub(crate) fn empty() -> Self {
        Self::stored(Chunks::default())
    }

    pub(crate) const fn follow(reader: Reader) -> Self {
        Self { kind: Kind::Follow { reader } }
    }

    pub(crate) const fn pass(body: B) -> Self {
        Self::source(Source::new(body))
    }

    pub(crate) const fn source(body: Source<B>) -> Self {
        Self { kind: Kind::Pass { body } }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            KindProj::Stored { chunks, next, left } => {
                let Some(piece) = chunks.as_slice().get(*next) else { return Poll::Ready(None) };
                *next += 1;
                *left -= piece.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(piece.clone()))))
            }
            KindProj::Follow { reader } => {
                reader.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            KindProj::Pass { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Stored { left, .. } => *left == 0,
            Kind::Follow { reader } => reader.is_end_stream(),
            Kind::Pass { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Stored { left, .. } => SizeHint::with_exact(*left),
            Kind::Follow { reader } => reader.size_hint(),
            Kind::Pass { body } => body.size_hint(),
        }
    }
}

impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, left) = match &self.kind {
            Kind::Stored { left, .. } => ("stored", Some(*left)),
            Kind::Follow { reader } => ("follow", reader.size_hint().exact()),
            Kind::Pass { .. } => ("pass", None),
        };
        f.debug_struct("ResponseBody").field("kind", &kind).field("left", &left).finish()
    }
}
