use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::Body;
use pin_project_lite::pin_project;

/// Read at most this many bytes, unless told otherwise: 16 KiB.
const AT_MOST: u64 = 16 * 1024;

/// Frames read in one poll; then the task lets others run.
const FRAMES_A_POLL: usize = 64;

pin_project! {
    /// Reads what is left of a response nobody wants and throws it away, up to a cap.
    ///
    /// An HTTP/1.1 connection can be used again only when its response was read to the end. A failed
    /// response is short as a rule, and reading it costs less than a new connection; a long one is not
    /// worth it. The body is dropped as soon as it is known how it went, and before anything is read if
    /// the body says that it is longer than the cap.
    ///
    /// It has no timer: poll it beside what else is waited for, such as the backoff, and drop it then.
    pub struct Drain<B> {
        #[pin]
        body: Option<B>,
        left: u64,
    }
}

/// How a [`Drain`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drained {
    /// The body was read to its end: the connection can be used again.
    Ended,
    /// The body failed.
    Failed,
    /// The body is longer than the cap.
    TooLong,
}

impl<B: Body> Drain<B> {
    /// Reads at most 16 KiB.
    #[must_use]
    pub fn new(body: B) -> Self {
        Self::at_most(body, AT_MOST)
    }

    /// Reads at most this many bytes.
    #[must_use]
    pub fn at_most(body: B, bytes: u64) -> Self {
        let too_long = body.size_hint().lower() > bytes;
        Self { body: (!too_long).then_some(body), left: bytes }
    }
}

impl<B: Body> Future for Drain<B> {
    type Output = Drained;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Drained> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(Drained::TooLong);
        };
        let drained = ready!(poll_body(body, this.left, cx));
        this.body.set(None);
        Poll::Ready(drained)
    }
}

fn poll_body<B: Body>(
    mut body: Pin<&mut B>,
    left: &mut u64,
    cx: &mut Context<'_>,
) -> Poll<Drained> {
    for _ in 0..FRAMES_A_POLL {
        if body.is_end_stream() {
            return Poll::Ready(Drained::Ended);
        }
        let frame = match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return Poll::Ready(Drained::Failed),
            None => return Poll::Ready(Drained::Ended),
        };
        let bytes = frame.data_ref().map_or(0, Buf::remaining);
        match u64::try_from(bytes).ok().and_then(|bytes| left.checked_sub(bytes)) {
            Some(rest) => *left = rest,
            None => return Poll::Ready(Drained::TooLong),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl<B> fmt::Debug for Drain<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("left", &self.left).finish_non_exhaustive()
    }
}
