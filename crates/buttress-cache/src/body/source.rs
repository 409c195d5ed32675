//! Any body, as bytes and boxed errors.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::BoxError;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// Turns data into [`Bytes`], which copies nothing if it is, and errors into [`BoxError`].
    #[derive(Debug)]
    pub(crate) struct Source<B> {
        #[pin]
        body: B,
    }
}

impl<B> Source<B> {
    pub(crate) const fn new(body: B) -> Self {
        Self { body }
    }
}

impl<B> Body for Source<B>
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
        let frame = ready!(self.project().body.poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(Into::into)?;
            Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
