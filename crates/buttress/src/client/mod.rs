//! The pooled client with the layers on it.

#[cfg(feature = "balance")]
mod balance;
mod bodies;
#[cfg(feature = "balance")]
mod elsewhere;
mod setup;
mod stack;
#[cfg(feature = "tls")]
mod tls;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::BoxError;
use buttress_retry::{HttpPolicy, RetryLayer};
use bytes::Bytes;
use http::{Request, Response, Uri};
use tower_layer::Layer;
use tower_service::Service;

pub use bodies::{Bodies, ClientPolicy, Kept};
#[cfg(feature = "balance")]
pub use elsewhere::Elsewhere;
pub use setup::Setup;
pub use stack::ResponseFuture;

use crate::{Body, transport::Transport};
use stack::Stack;

/// Sends HTTP requests over pooled connections, and again where that is safe. Clones share the
/// pool, the retry budget and everything else.
///
/// ```no_run
/// use buttress::Client;
///
/// # async fn run() -> Result<(), buttress::BoxError> {
/// let client = Client::new();
/// let response = client.get("https://example.com/").await?;
/// let text = response.into_body().text(64 * 1024).await?;
/// # drop(text);
/// # Ok(())
/// # }
/// ```
///
/// What is sent is what was asked for: it follows no redirects, keeps no cookies, unpacks nothing,
/// reads no proxy from the environment and adds no header but `Host` and what frames the body.
///
/// It is a [`tower::Service`](Service) too, for any body, and takes more layers around it. It is
/// always ready: what a layer inside waits for is waited for within the call, where the call's
/// timeouts count.
///
/// # Errors
///
/// Whatever the failing layer says, boxed: [`cause`](crate::cause) finds the type in it and
/// [`Outcome::of_error`](crate::Outcome::of_error) says what it means. A response with an error
/// status is a response.
#[derive(Clone)]
pub struct Client {
    stack: Arc<dyn Stack>,
}

impl Client {
    /// A client with the default of every setting.
    #[must_use]
    pub fn new() -> Self {
        let Setup { settings, layer, balance } = Self::builder();
        Self::over(&layer, &balance, settings.make())
    }

    /// Starts the settings of a client, which retries as [`Setup::http`] says unless told
    /// otherwise; [`Setup::build`] ends them.
    pub fn builder() -> Setup<RetryLayer<HttpPolicy<Bodies>>> {
        Setup::new().http()
    }

    /// The order of the layers, outermost first: retry, balance, then the transport with its own
    /// (first-byte timeout, pool, connect timeout, name lookup).
    ///
    /// Retry is outside, so that each attempt may go to another endpoint, or take another
    /// connection, and has a first-byte timeout of its own.
    fn over<L, B, ResBody>(retry: &L, balance: &B, transport: Transport) -> Self
    where
        B: Layer<Transport>,
        L: Layer<B::Service>,
        L::Service:
            Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<BoxError>,
        <L::Service as Service<Request<Body>>>::Future: Send,
        ResBody: http_body::Body<Data = Bytes> + Send + 'static,
        ResBody::Error: Into<BoxError>,
    {
        Self { stack: Arc::new(retry.layer(balance.layer(transport))) }
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// The body of the request is anything that a [`Body`] is made from; for a body of another
    /// type write `request.map(Body::new)`. Dropping the future ends the call.
    ///
    /// # Errors
    ///
    /// If no attempt led to a response, or the URI is not absolute
    /// ([`InvalidRequest`](crate::InvalidRequest)).
    pub async fn send<B: Into<Body>>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Body>, BoxError> {
        self.stack.send(request.map(Into::into)).await
    }

    /// Sends a `GET` request without a body.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), or if `uri` is none.
    pub async fn get<U>(&self, uri: U) -> Result<Response<Body>, BoxError>
    where
        U: TryInto<Uri>,
        U::Error: Into<BoxError>,
    {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri.try_into().map_err(Into::into)?;
        self.stack.send(request).await
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl<B> Service<Request<B>> for Client
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.stack.send(request.map(Body::new))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
