//! The way past the store: joining a fetch, making one, and what becomes of its response.
//!
//! All of it runs in the caller's own future. Dropping that hands a fetch under way to the next who
//! waits for it.

mod judge;
mod land;
mod others;
mod run;
mod sent;

use std::sync::{Arc, Weak};

use buttress_core::BoxError;
use http::{HeaderMap, Request, Response, request::Parts};
use http_body::Body;
use tower_service::Service;

use crate::{Observer, ResponseBody, core::Core, settings::Again, tasks::Tasks};

/// A request, and all that is needed to answer it.
pub(crate) struct Job<S, B, O> {
    pub(crate) core: Arc<Core<O>>,
    /// Weak, since a task that kept its own owner alive would never be aborted.
    pub(crate) tasks: Weak<Tasks>,
    pub(crate) inner: S,
    pub(crate) parts: Parts,
    pub(crate) body: B,
    /// How the body is had again, if that is known.
    pub(crate) again: Option<Again<B>>,
}

/// What an inner service must be for its responses to be stored: any HTTP service whose futures and
/// bodies may cross threads. It is implemented for all of them.
pub trait Fetches<B>:
    Service<Request<B>, Response = Response<Self::Body>, Future: Send + 'static, Error: Send>
    + Send
    + 'static
{
    /// The body of its responses.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B, R> Fetches<B> for S
where
    S: Service<Request<B>, Response = Response<R>, Future: Send + 'static, Error: Send>
        + Send
        + 'static,
    R: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = R;
}

/// What a caller of `S` gets.
pub type Answer<S, B> =
    Result<Response<ResponseBody<<S as Fetches<B>>::Body>>, <S as Service<Request<B>>>::Error>;

impl<S, B, O> Job<S, B, O>
where
    S: Fetches<B>,
    B: Send + 'static,
    O: Observer,
{
    /// Asks the inner service with these fields in place of the request's own.
    async fn send(
        inner: &mut S,
        mut parts: Parts,
        body: B,
        headers: HeaderMap,
    ) -> Result<Response<S::Body>, S::Error> {
        std::future::poll_fn(|cx| inner.poll_ready(cx)).await?;
        parts.headers = headers;
        inner.call(Request::from_parts(parts, body)).await
    }
}
