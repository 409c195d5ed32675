//! A call's place at its endpoint, and the response body that keeps it until its end.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::BoxError;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{Lease, Observation, Pick, Verdict, balancer::Core, judge::failed_in_trailers};

/// A lease with what judges it. Dropped before anything was told, it says nothing about the
/// endpoint, save that the caller may have waited too long.
pub(crate) struct Held<P: Pick> {
    pub(crate) core: Arc<Core<P>>,
    pub(crate) lease: Lease,
    cancel_after: Option<Duration>,
    /// What the head said, where the end has the last word.
    head: Option<Observation>,
}

impl<P: Pick> Held<P> {
    pub(crate) const fn new(
        core: Arc<Core<P>>,
        lease: Lease,
        cancel_after: Option<Duration>,
    ) -> Self {
        Self { core, lease, cancel_after, head: None }
    }

    /// Waits with a good word until the body has ended without a bad one, or is dropped; what is bad
    /// already is told at once.
    pub(crate) fn judge_at_end(&mut self, head: Observation) {
        if head.verdict == Verdict::Success {
            self.head = Some(head);
        } else {
            self.observe(&head);
        }
    }

    fn observe(&mut self, observation: &Observation) {
        let now = self.core.set().now();
        self.core.observe(&mut self.lease, observation, now);
    }

    fn fail(&mut self) {
        self.head = None;
        self.observe(&Observation::new(Verdict::Failure));
    }
}

impl<P: Pick> Drop for Held<P> {
    fn drop(&mut self) {
        if let Some(head) = self.head.take() {
            self.observe(&head);
        } else if let Some(limit) = self.cancel_after
            && self.lease.is_unjudged()
            && self.core.set().now().since(self.lease.started()) >= limit
        {
            self.fail();
        }
    }
}

impl<P: Pick> fmt::Debug for Held<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lease.fmt(f)
    }
}

pin_project! {
    /// A response body whose call counts as in flight until its last byte is read, it fails, or it
    /// is dropped.
    ///
    /// A body that fails before its end counts as its endpoint's failure, and so do gRPC trailers
    /// that say so, for which a good head waits; one that is dropped does not. After an upgrade (101) the count ends with this
    /// body, not with the connection.
    pub struct ResponseBody<B, P: Pick> {
        #[pin]
        body: B,
        held: Option<Held<P>>,
        // Whether gRPC trailers are judged.
        grpc: bool,
    }
}

impl<B: Body, P: Pick> ResponseBody<B, P> {
    /// The body of an answer whose call still counts, if it is `held`.
    pub(crate) fn new(body: B, held: Option<Held<P>>, grpc: bool) -> Self {
        let held = held.filter(|_| !body.is_end_stream());
        Self { body, held, grpc }
    }
}

impl<B, P> Body for ResponseBody<B, P>
where
    B: Body<Error: Into<BoxError>>,
    P: Pick,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let failed = match &frame {
            Some(Err(_)) => true,
            Some(Ok(frame)) => *this.grpc && frame.trailers_ref().is_some_and(failed_in_trailers),
            None => false,
        };
        if failed && let Some(held) = this.held {
            held.fail();
        }
        if !matches!(&frame, Some(Ok(_))) || this.body.is_end_stream() {
            *this.held = None;
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

impl<B: fmt::Debug, P: Pick> fmt::Debug for ResponseBody<B, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("body", &self.body)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}
