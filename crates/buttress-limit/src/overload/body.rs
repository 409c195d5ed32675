//! A response body that is watched: its trailers, and its end.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// Is told of the trailers of a body, and dropped when the body has ended.
pub trait Watch {
    /// The trailers have come.
    fn trailers(&mut self, trailers: &HeaderMap);
}

pin_project! {
    /// A response body that keeps its watch until it ends, fails or is dropped, and shows it the
    /// trailers.
    ///
    /// What the watch holds is let go with the last frame where the body can tell that it is the
    /// last, and not first when the body is dropped. (`GuardBody` of the core crate does that too,
    /// but does not look at frames.)
    #[derive(Debug)]
    pub struct WatchedBody<B, W> {
        #[pin]
        body: B,
        watch: Option<W>,
    }
}

impl<B: Body, W: Watch> WatchedBody<B, W> {
    /// An empty body has ended already, and lets go of `watch` at once.
    pub(crate) fn new(body: B, watch: Option<W>) -> Self {
        let watch = watch.filter(|_| !body.is_end_stream());
        Self { body, watch }
    }
}

impl<B: Body, W: Watch> Body for WatchedBody<B, W> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
            && let Some(watch) = this.watch.as_mut()
        {
            watch.trailers(trailers);
        }
        if !matches!(&frame, Some(Ok(_))) || this.body.is_end_stream() {
            *this.watch = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Default, W> Default for WatchedBody<B, W> {
    /// A body that nobody watches.
    fn default() -> Self {
        Self { body: B::default(), watch: None }
    }
}
