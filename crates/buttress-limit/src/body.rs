//! The bodies of answers: the inner service's, read along if asked to, or one of the layer's own.

use std::{
    fmt,
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::BodyEnd;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{answer::Answer, cost::Cost, settle::Watch};

pin_project! {
    /// The body of an answer. What passes through is not changed.
    pub struct ResponseBody<B> {
        #[pin]
        inner: Inner<B>,
        reader: Option<Box<Reader>>,
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner<B> {
        Text { text: Option<Bytes> },
        Body { #[pin] body: B },
    }
}

impl<B> ResponseBody<B> {
    #[inline]
    pub(crate) fn plain(body: B) -> Self {
        Self { inner: Inner::Body { body }, reader: None }
    }

    pub(crate) fn answer(answer: Answer<B>) -> Self {
        match answer {
            Answer::Text(text) => {
                let text = Some(text).filter(|text| !text.is_empty());
                Self { inner: Inner::Text { text }, reader: None }
            }
            Answer::Body(body) => Self::plain(body),
        }
    }
}

impl<B: Body> ResponseBody<B> {
    pub(crate) fn read_along(body: B, mut reader: Reader) -> Self {
        if body.is_end_stream() {
            reader.end(BodyEnd::Complete);
        }
        Self { inner: Inner::Body { body }, reader: Some(Box::new(reader)) }
    }
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
        let this = self.project();
        let mut body = match this.inner.project() {
            InnerProj::Text { text } => {
                return Poll::Ready(text.take().map(|text| Ok(Frame::data(text.into()))));
            }
            InnerProj::Body { body } => body,
        };
        let frame = ready!(body.as_mut().poll_frame(cx));
        let Some(reader) = this.reader else { return Poll::Ready(frame) };
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
            Inner::Text { text } => text.is_none(),
            Inner::Body { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Text { text } => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Inner::Body { body } => body.size_hint(),
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner {
            Inner::Text { text } => f.debug_tuple("Text").field(text).finish(),
            Inner::Body { body } => f.debug_tuple("Body").field(body).finish(),
        }
    }
}
