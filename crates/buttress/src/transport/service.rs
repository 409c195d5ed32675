//! The pooled client as a service.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{BoxError, Phase};
use bytes::Bytes;
use http::{Request, Response, Version};
use hyper_util::client::legacy;
use tower_service::Service;

use super::{
    ResponseFuture, TransportBody, alarm::Alarm, connect::Connector, future::FirstByte,
    resolve::Resolver, retire::Retire, target, tls, upload::Upload,
};
use crate::{Body, Setup};

/// Sends requests over pooled connections, each once. Clones share the pool.
///
/// It is the innermost service of a client stack; [`Client`](crate::Client) puts the layers on it,
/// or you do:
///
/// ```
/// use buttress::{RetryLayer, transport::Transport};
/// use tower::ServiceBuilder;
///
/// # fn main() -> Result<(), buttress::BoxError> {
/// let service = ServiceBuilder::new()
///     .layer(RetryLayer::llm())
///     .service(Transport::builder().transport()?);
/// # drop(service);
/// # Ok(())
/// # }
/// ```
///
/// It takes any body. A [`Body`] is used as it is and an empty body costs nothing; any other body
/// is boxed, once a request.
///
/// The URI must be absolute, else the call fails with [`InvalidRequest`](crate::InvalidRequest)
/// before anything is sent. The version of the request is not looked at: each connection speaks
/// its own (RFC 9110 section 2.5).
///
/// # Errors
///
/// Those of hyper, boxed and otherwise unchanged, so that
/// [`Outcome::of_error`](buttress_core::Outcome::of_error) can tell a request that was never sent
/// from one that may have been processed; and [`TimedOut`](buttress_core::TimedOut) for a timeout.
///
/// # What is sent twice
///
/// When a pooled connection turns out to be closed and hyper hands the request back untouched, the
/// request goes over another connection at once. No byte of it had been written, so this is safe
/// for any request and is no attempt that a server could count. A request that may have been
/// written is never repeated here: that is for [`RetryLayer`](crate::RetryLayer) to decide.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
}

struct Shared {
    hyper: legacy::Client<Connector, Upload>,
    resolver: Resolver,
    first_byte_timeout: Option<Duration>,
    idle_read_timeout: Option<Duration>,
}

impl Transport {
    /// Starts the settings of a transport without layers: [`Setup::transport`] ends them.
    pub fn builder() -> Setup {
        Setup::new()
    }

    pub(super) fn new(
        hyper: legacy::Client<Connector, Upload>,
        resolver: Resolver,
        first_byte_timeout: Option<Duration>,
        idle_read_timeout: Option<Duration>,
    ) -> Self {
        let shared = Shared { hyper, resolver, first_byte_timeout, idle_read_timeout };
        Self { shared: Arc::new(shared) }
    }

    fn send(&self, mut request: Request<Body>) -> ResponseFuture {
        if let Err(error) = target::check(request.uri(), tls::AVAILABLE) {
            return ResponseFuture::refused(error);
        }
        // hyper takes a version for a demand, which the connection may be unable to meet.
        *request.version_mut() = Version::HTTP_11;
        let Shared { hyper, resolver, first_byte_timeout, idle_read_timeout } = &*self.shared;
        let retire = Retire::new(resolver.watch(), &mut request);
        let Some(limit) = *first_byte_timeout else {
            let response = hyper.request(request.map(Upload::new));
            return ResponseFuture::sent(
                response,
                retire,
                FirstByte::default(),
                *idle_read_timeout,
            );
        };
        let (head, body) = request.into_parts();
        let (body, upload) = Upload::watched(body);
        let first_byte = FirstByte { alarm: Some(Alarm::new(Phase::FirstByte, limit)), upload };
        let response = hyper.request(Request::from_parts(head, body));
        ResponseFuture::sent(response, retire, first_byte, *idle_read_timeout)
    }
}

impl<B> Service<Request<B>> for Transport
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<TransportBody>;
    type Error = BoxError;
    type Future = ResponseFuture;

    /// Always ready: the number of connections is not limited here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.send(request.map(Body::new))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("first_byte_timeout", &self.shared.first_byte_timeout)
            .field("idle_read_timeout", &self.shared.idle_read_timeout)
            .finish_non_exhaustive()
    }
}
