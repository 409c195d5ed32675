//! The layers over the transport, their types forgotten.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::BoxError;
use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use crate::Body;

/// Resolves to the head of a response; made by [`Client`](super::Client).
///
/// Dropping it ends the call, whichever attempt it is at.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(Boxed);

type Boxed = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

/// One call through all the layers.
pub(super) trait Stack: Send + Sync {
    fn send(&self, request: Request<Body>) -> ResponseFuture;
}

impl<S, B> Stack for S
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn send(&self, request: Request<Body>) -> ResponseFuture {
        let mut service = self.clone();
        ResponseFuture(Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            let response = service.call(request).await.map_err(Into::into)?;
            Ok(response.map(Body::new))
        }))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
