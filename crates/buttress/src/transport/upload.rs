//! The body of a request on its way, and how far it has come.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::BoxError;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::Body;

/// When the last piece of a request body was taken to be sent.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    start: Instant,
    /// Nanoseconds since `start`.
    last: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        Self(Arc::new(Taken { start: Instant::now(), last: AtomicU64::new(0) }))
    }

    fn note(&self) {
        let nanos = u64::try_from(self.0.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.last.store(nanos, Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        self.0.start + Duration::from_nanos(self.0.last.load(Ordering::Relaxed))
    }
}

/// What hyper sends.
#[derive(Debug)]
pub(super) struct Upload {
    body: Body,
    progress: Option<Progress>,
}

impl Upload {
    /// A body whose progress nobody asks for.
    pub(super) const fn new(body: Body) -> Self {
        Self { body, progress: None }
    }

    /// A body whose progress is noted; what is in memory is taken in one piece, at the start.
    pub(super) fn watched(body: Body) -> (Self, Option<Progress>) {
        let progress = (!body.is_in_memory()).then(Progress::new);
        (Self { body, progress: progress.clone() }, progress)
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let (Poll::Ready(_), Some(progress)) = (&frame, &self.progress) {
            progress.note();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
