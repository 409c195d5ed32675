//! Waiting for the head of a response.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{BoxError, InvalidRequest, TimedOut};
use http::Response;
use hyper_util::client::legacy;

use super::{TransportBody, alarm::Alarm, retire::Retire, upload::Progress};

/// Resolves to the head of a response; made by [`Transport`](super::Transport).
///
/// Dropping it ends the request: an HTTP/1 connection is closed, an HTTP/2 stream reset.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    state: State,
}

enum State {
    Refused(Option<InvalidRequest>),
    Sent {
        response: legacy::ResponseFuture,
        retire: Option<Retire>,
        first_byte: FirstByte,
        idle_read: Option<Duration>,
    },
}

/// The time limit on the head of the response, and the upload that puts it off.
#[derive(Default)]
pub(super) struct FirstByte {
    pub(super) alarm: Option<Alarm>,
    pub(super) upload: Option<Progress>,
}

impl FirstByte {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TimedOut> {
        let Some(alarm) = &mut self.alarm else {
            return Poll::Pending;
        };
        let late = ready!(alarm.poll(cx));
        let Some(upload) = &self.upload else {
            return Poll::Ready(late);
        };
        // It went off by the time of the call or of an earlier piece.
        alarm.count_from(upload.last());
        alarm.poll(cx)
    }
}

impl ResponseFuture {
    pub(super) const fn refused(error: InvalidRequest) -> Self {
        Self { state: State::Refused(Some(error)) }
    }

    pub(super) const fn sent(
        response: legacy::ResponseFuture,
        retire: Option<Retire>,
        first_byte: FirstByte,
        idle_read: Option<Duration>,
    ) -> Self {
        Self { state: State::Sent { response, retire, first_byte, idle_read } }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<TransportBody>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            // => done
            State::Refused(error) => match error.take() {
                Some(error) => Poll::Ready(Err(error.into())),
                None => Poll::Pending,
            },
            // Sent => done
            State::Sent { response, retire, first_byte, idle_read } => {
                if let Poll::Ready(result) = Pin::new(response).poll(cx) {
                    if let Some(retire) = retire {
                        retire.judge();
                    }
                    let body = |incoming| TransportBody::new(incoming, *idle_read);
                    return Poll::Ready(match result {
                        Ok(response) => Ok(response.map(body)),
                        Err(error) => Err(error.into()),
                    });
                }
                first_byte.poll(cx).map(|late| Err(late.into()))
            }
        }
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
