//! Connections whose address has left the answer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Extensions, Request};
use hyper_util::client::legacy::connect::{CaptureConnection, HttpInfo, capture_connection};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Dns, Observer};

/// Retires pooled connections whose address is no longer an address of the host.
///
/// A pool knows hosts, not addresses: as long as requests keep a connection busy, it is used, long
/// after the name has moved. This layer stands around hyper-util's pooled client and looks at the
/// connection that a request was sent on. If its address has left the answer, the connection takes
/// no further request; those that are under way on it finish, over HTTP/1 and HTTP/2 alike.
///
/// Looking is a lookup, which keeps the name up to date while its connections are in use. Only
/// connectors that tell their peer can be seen through: `HttpConnector`, [`Dialer`](crate::Dialer),
/// and what wraps them.
#[must_use]
#[derive(Clone, Debug)]
pub struct RetireLayer<R, O: Observer = ()> {
    dns: Dns<R, O>,
    answers: usize,
}

impl<R, O: Observer> RetireLayer<R, O> {
    /// Retires by what `dns` knows.
    pub const fn new(dns: Dns<R, O>) -> Self {
        Self { dns, answers: 1 }
    }

    /// From how many answers in a row an address must be missing. Default: 1. For name servers that
    /// give a part of the addresses at a time, more; 8 are looked back at the most.
    pub const fn after(mut self, answers: usize) -> Self {
        self.answers = answers;
        self
    }
}

impl<R: Clone, O: Observer, C> Layer<C> for RetireLayer<R, O> {
    type Service = Retire<C, R, O>;

    fn layer(&self, inner: C) -> Self::Service {
        Retire { inner, dns: self.dns.clone(), answers: self.answers }
    }
}

/// Retires pooled connections whose address has left the answer. Made by [`RetireLayer`].
#[derive(Clone, Debug)]
pub struct Retire<C, R, O: Observer = ()> {
    inner: C,
    dns: Dns<R, O>,
    answers: usize,
}

impl<C, R, O, B> Service<Request<B>> for Retire<C, R, O>
where
    C: Service<Request<B>>,
    R: Clone,
    O: Observer,
{
    type Response = C::Response;
    type Error = C::Error;
    type Future = Retiring<C::Future, R, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let connection = capture_connection(&mut request);
        let host = request.uri().host().unwrap_or_default().into();
        let watch = Watch { connection, host, dns: self.dns.clone(), answers: self.answers };
        Retiring { inner: self.inner.call(request), watch }
    }
}

pin_project! {
    /// A request under way.
    #[derive(Debug)]
    pub struct Retiring<F, R, O: Observer> {
        #[pin]
        inner: F,
        watch: Watch<R, O>,
    }
}

impl<F: Future, R, O: Observer> Future for Retiring<F, R, O> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let output = ready!(this.inner.poll(cx));
        this.watch.judge();
        Poll::Ready(output)
    }
}

struct Watch<R, O: Observer> {
    connection: CaptureConnection,
    host: Box<str>,
    dns: Dns<R, O>,
    answers: usize,
}

impl<R, O: Observer> Watch<R, O> {
    /// Retires the connection that the request went over, if it must be.
    fn judge(&self) {
        let metadata = self.connection.connection_metadata();
        let Some(connected) = metadata.as_ref() else { return };
        let mut extensions = Extensions::new();
        connected.get_extras(&mut extensions);
        let Some(peer) = extensions.get::<HttpInfo>().map(HttpInfo::remote_addr) else { return };
        if self.dns.has_left(&self.host, peer.ip(), self.answers) {
            tracing::debug!(host = %self.host, %peer, "the address has left the answer");
            connected.poison();
        }
    }
}

impl<R, O: Observer> std::fmt::Debug for Watch<R, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("host", &self.host).finish_non_exhaustive()
    }
}
