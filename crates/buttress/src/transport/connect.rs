//! The time limit around everything that leads to a connection.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{BoxError, Phase};
use http::Uri;
use tower_service::Service;

use super::{alarm::Alarm, tls};

/// Makes connections: name lookup, TCP and TLS within one time limit.
#[derive(Clone)]
pub(super) struct Connector {
    inner: tls::Connector,
    limit: Duration,
}

impl Connector {
    pub(super) const fn new(inner: tls::Connector, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl Service<Uri> for Connector {
    type Response = tls::Stream;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let alarm = Alarm::new(Phase::Connect, self.limit);
        Connecting { alarm, inner: self.inner.call(uri) }
    }
}

pub(super) struct Connecting {
    alarm: Alarm,
    inner: <tls::Connector as Service<Uri>>::Future,
}

impl Future for Connecting {
    type Output = Result<tls::Stream, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(late) = self.alarm.poll(cx) {
            return Poll::Ready(Err(late.into()));
        }
        self.inner.as_mut().poll(cx)
    }
}
