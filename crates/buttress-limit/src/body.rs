//! The bodies of answers: the inner service's, read along if asked to, or one of the layer's own.

use std::{
    fmt,
    io::IoSlice,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::BodyEnd;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{answer::Answer, cost::Cost, prepared::PreparedAnswer, settle::Watch};

pin_project! {
    /// The body of an answer. What passes through is not changed.
    ///
    /// Most answers pass as they are, so what else there is takes no more than a pointer beside the
    /// body of the inner service.
    pub struct ResponseBody<B> {
        #[pin]
        inner: Inner<B>,
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner<B> {
        Body { #[pin] body: B },
        // A text that is shared until somebody reads it.
        Shared { answer: Option<PreparedAnswer> },
        Other { other: Pin<Box<Other<B>>> },
    }
}

pin_project! {
    #[project = OtherProj]
    enum Other<B> {
        Text { text: Bytes },
        Read { #[pin] body: B, reader: Reader },
    }
}

impl<B> ResponseBody<B> {
    #[inline]
    pub(crate) const fn plain(body: B) -> Self {
        Self { inner: Inner::Body { body } }
    }

    #[inline]
    pub(crate) const fn shared(answer: PreparedAnswer) -> Self {
        Self { inner: Inner::Shared { answer: Some(answer) } }
    }

    fn other(other: Other<B>) -> Self {
        Self { inner: Inner::Other { other: Box::pin(other) } }
    }

    pub(crate) fn answer(answer: Answer<B>) -> Self {
        match answer {
            Answer::Text(text) => Self::other(Other::Text { text }),
            Answer::Body(body) => Self::plain(body),
        }
    }
}

impl<B: Body> ResponseBody<B> {
    pub(crate) fn read_along(body: B, mut reader: Reader) -> Self {
        if body.is_end_stream() {
            reader.end(BodyEnd::Complete);
        }
        Self::other(Other::Read { body, reader })
    }
}

/// What is left of a text to be read.
fn text(answer: Option<&PreparedAnswer>) -> &[u8] {
    answer.map_or(&[], |answer| answer.text())
}

/// Reads along, and settles at the end.
pub(crate) struct Reader {
    watch: Box<dyn Watch + Send + Sync>,
    charged: Cost,
    settle: Option<Box<dyn FnOnce(Cost) + Send + Sync>>,
}

impl Reader {
    pub(crate) fn new(
        watch: Box<dyn Watch + Send + Sync>,
        charged: Cost,
        settle: impl FnOnce(Cost) + Send + Sync + 'static,
    ) -> Self {
        Self { watch, charged, settle: Some(Box::new(settle)) }
    }

    fn data(&mut self, data: &impl Buf) {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = data.chunks_vectored(&mut slices);
        for slice in slices.iter().take(filled) {
            self.watch.data(slice);
        }
    }

    fn end(&mut self, end: BodyEnd) {
        let Some(settle) = self.settle.take() else { return };
        if let Some(actual) = self.watch.end(end, &self.charged) {
            settle(actual);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.end(BodyEnd::Dropped);
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let other = match self.project().inner.project() {
            InnerProj::Body { body } => return body.poll_frame(cx),
            InnerProj::Shared { answer } => {
                let text = answer.take().map(|answer| answer.text().clone());
                let text = text.filter(|text| !text.is_empty());
                return Poll::Ready(text.map(|text| Ok(Frame::data(text.into()))));
            }
            InnerProj::Other { other } => other,
        };
        let (mut body, reader) = match other.as_mut().project() {
            OtherProj::Text { text } if text.is_empty() => return Poll::Ready(None),
            OtherProj::Text { text } => {
                return Poll::Ready(Some(Ok(Frame::data(mem::take(text).into()))));
            }
            OtherProj::Read { body, reader } => (body, reader),
        };
        let frame = ready!(body.as_mut().poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            reader.data(data);
        }
        match &frame {
            None => reader.end(BodyEnd::Complete),
            Some(Err(_)) => reader.end(BodyEnd::Failed),
            Some(Ok(_)) if body.is_end_stream() => reader.end(BodyEnd::Complete),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Body { body } => body.is_end_stream(),
            Inner::Shared { answer } => text(answer.as_ref()).is_empty(),
            Inner::Other { other } => match &**other {
                Other::Text { text } => text.is_empty(),
                Other::Read { body, .. } => body.is_end_stream(),
            },
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Body { body } => body.size_hint(),
            Inner::Shared { answer } => SizeHint::with_exact(text(answer.as_ref()).len() as u64),
            Inner::Other { other } => match &**other {
                Other::Text { text } => SizeHint::with_exact(text.len() as u64),
                Other::Read { body, .. } => body.size_hint(),
            },
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = match &self.inner {
            Inner::Body { body } => body,
            Inner::Shared { answer } => {
                return f.debug_tuple("Text").field(&text(answer.as_ref())).finish();
            }
            Inner::Other { other } => match &**other {
                Other::Text { text } => return f.debug_tuple("Text").field(text).finish(),
                Other::Read { body, .. } => body,
            },
        };
        f.debug_tuple("Body").field(body).finish()
    }
}
