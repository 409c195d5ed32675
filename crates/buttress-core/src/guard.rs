//! A body that holds something until it ends.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// How a body ended.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyEnd {
    /// It was read to its end.
    Complete,
    /// It failed before its end.
    Failed,
    /// It was dropped before its end.
    Dropped,
}

/// What is done when a body ends. Closures fit: `|end: BodyEnd| …`.
///
/// Whatever the guard owns (a permit, an in-flight count) is released when it has run.
pub trait BodyGuard {
    /// Runs once, at the end of the body, at its first error, or when it is dropped unread.
    fn end(self, end: BodyEnd);
}

impl BodyGuard for () {
    fn end(self, _: BodyEnd) {}
}

impl<F: FnOnce(BodyEnd)> BodyGuard for F {
    fn end(self, end: BodyEnd) {
        self(end);
    }
}

pin_project! {
    /// Runs its guard as soon as the last byte is known to be read, not first when it is dropped.
    ///
    /// The end is seen with the last frame where the inner body can tell (`is_end_stream`), so a
    /// caller that stops polling there still releases the guard in time.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use buttress_core::{BodyEnd, GuardBody};
    /// use http_body_util::{BodyExt, Full};
    /// use std::sync::{Arc, Mutex};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let ended = Arc::new(Mutex::new(None));
    /// let seen = ended.clone();
    /// let body = GuardBody::new(Full::<Bytes>::from("hello"), move |end: BodyEnd| {
    ///     *seen.lock().unwrap() = Some(end);
    /// });
    ///
    /// body.collect().await.unwrap();
    /// assert_eq!(*ended.lock().unwrap(), Some(BodyEnd::Complete));
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct GuardBody<B, G: BodyGuard> {
        #[pin]
        body: B,
        guard: Armed<G>,
    }
}

impl<B: Body, G: BodyGuard> GuardBody<B, G> {
    /// Ties `guard` to the end of `body`. An empty body has ended already.
    pub fn new(body: B, guard: G) -> Self {
        let mut guard = Armed(Some(guard));
        if body.is_end_stream() {
            guard.disarm(BodyEnd::Complete);
        }
        Self { body, guard }
    }
}

/// A guard that still has to run; being dropped is one of the ends.
#[derive(Debug)]
struct Armed<G: BodyGuard>(Option<G>);

impl<G: BodyGuard> Armed<G> {
    fn disarm(&mut self, end: BodyEnd) {
        if let Some(guard) = self.0.take() {
            guard.end(end);
        }
    }
}

impl<G: BodyGuard> Drop for Armed<G> {
    fn drop(&mut self) {
        self.disarm(BodyEnd::Dropped);
    }
}

impl<B: Body, G: BodyGuard> Body for GuardBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        match &frame {
            None => this.guard.disarm(BodyEnd::Complete),
            Some(Err(_)) => this.guard.disarm(BodyEnd::Failed),
            Some(Ok(_)) if this.body.is_end_stream() => this.guard.disarm(BodyEnd::Complete),
            Some(Ok(_)) => {}
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Full, StreamBody, channel::Channel};

    use super::*;

    fn watched<B: Body>(body: B) -> (GuardBody<B, impl BodyGuard>, Receiver<BodyEnd>) {
        let (send, ends) = channel();
        let guard = move |end| send.send(end).expect("the test still listens");
        (GuardBody::new(body, guard), ends)
    }

    #[tokio::test]
    async fn the_guard_runs_with_the_last_frame() {
        let (mut body, ends) = watched(Full::<Bytes>::from("x"));
        assert!(body.frame().await.is_some());
        assert_eq!(ends.try_recv(), Ok(BodyEnd::Complete));
        drop(body);
        assert!(ends.try_recv().is_err(), "a guard runs once");
    }

    #[test]
    fn an_empty_body_has_ended_at_once() {
        let (_body, ends) = watched(Empty::<Bytes>::new());
        assert_eq!(ends.try_recv(), Ok(BodyEnd::Complete));
    }

    #[tokio::test]
    async fn a_failed_body_is_told_apart_from_a_complete_one() {
        let frames = vec![Ok(Frame::data(Bytes::from("x"))), Err("reset")];
        let (body, ends) = watched(StreamBody::new(Frames(frames.into_iter())));
        assert!(body.collect().await.is_err());
        assert_eq!(ends.try_recv(), Ok(BodyEnd::Failed));
    }

    #[test]
    fn a_body_dropped_before_its_end_releases_the_guard() {
        let (_sender, open) = Channel::<Bytes>::new(1);
        let (body, ends) = watched(open);
        assert!(ends.try_recv().is_err());
        drop(body);
        assert_eq!(ends.try_recv(), Ok(BodyEnd::Dropped));
    }

    struct Frames<I>(I);

    impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
        type Item = I::Item;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
            Poll::Ready(self.0.next())
        }
    }
}
