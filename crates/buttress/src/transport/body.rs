//! The body of a response as it comes from the wire.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{BoxError, Phase};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::alarm::Alarm;

/// The body of a response, read from the connection as it is polled.
///
/// If an idle-read timeout is set, a wait for the next frame that takes longer ends the body with
/// [`TimedOut`](buttress_core::TimedOut). The time a caller takes between two polls does not
/// count: only a server that stalls is cut off, never a slow reader.
///
/// A connection that breaks before the body's end is an error, never a clean end. Dropping the
/// body before its end closes an HTTP/1 connection and resets an HTTP/2 stream.
#[derive(Debug)]
pub struct TransportBody {
    /// `None` when the body has failed: the connection is let go of then, not first on drop.
    incoming: Option<Incoming>,
    idle: Option<Alarm>,
}

impl TransportBody {
    pub(super) fn new(incoming: Incoming, idle_read: Option<Duration>) -> Self {
        // A body without frames needs no timer.
        let idle = idle_read
            .filter(|_| !incoming.is_end_stream())
            .map(|limit| Alarm::new(Phase::IdleRead, limit));
        Self { incoming: Some(incoming), idle }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        match (Pin::new(incoming).poll_frame(cx), &mut self.idle) {
            (Poll::Ready(frame), idle) => {
                if let Some(alarm) = idle {
                    alarm.put_off();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            (Poll::Pending, Some(alarm)) => alarm.poll(cx).map(|late| Some(Err(late.into()))),
            (Poll::Pending, None) => Poll::Pending,
        }
    }
}

impl Body for TransportBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = self.poll_next(cx);
        if matches!(frame, Poll::Ready(Some(Err(_)))) {
            self.incoming = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
