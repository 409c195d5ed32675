//! Reads what is asked before it is sent, to estimate what it comes to.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{ReadAhead, Reading, is_json};
use http::{Method, Request, header::EXPECT, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_layer::Layer;
use tower_service::Service;

use super::{Estimate, Estimated};
use crate::cost::Cost;

/// Reads the bodies of requests to an OpenAI-compatible API before they are sent, for the
/// [`Estimated`] that [`Estimate::cost`] finds: most of what such a request may come to is in its
/// `max_tokens`.
///
/// It goes outside of a retry layer, so that a body is read once, and the
/// [`RateLimitLayer`](crate::RateLimitLayer) inside of that. What a request allows may be more than the
/// quota has at once, for which there is [`max_cost`](crate::RateLimitLayer::max_cost):
///
/// ```
/// use buttress_limit::{
///     Estimate, EstimateLayer, Local, Policy, Quota, RateLimitLayer, UsageSettle,
/// };
/// use tower::ServiceBuilder;
///
/// # fn main() -> Result<(), buttress_limit::SettingError> {
/// let policy = Policy::new([Quota::tokens_per_minute(200_000)?.strict()?])?;
/// let (most, estimate) = (policy.most(), Estimate::new());
/// let stack = ServiceBuilder::new()
///     .layer(EstimateLayer::new(estimate))
///     .layer(
///         RateLimitLayer::outbound(Local::new(policy)?)
///             .cost(move |head| estimate.cost(head))
///             .max_cost(most)
///             .settle(UsageSettle::new()),
///     );
/// # drop(stack);
/// # Ok(())
/// # }
/// ```
///
/// It reads `POST` requests whose content [is JSON](buttress_core::is_json), as far as
/// [`Estimate::max_body`] and [`Estimate::max_wait`] allow. A body that is longer or slower streams on
/// from where it was read, and is estimated by its length. So is one that comes with `Expect`, whose
/// client wants an answer before it sends anything. A request that has an [`Estimated`] passes as it is.
///
/// What is read lies in memory until it is sent. A concurrency limit outside of this layer bounds how much
/// that may be.
///
/// The layer is always ready, and asks the inner service to become ready when a body is read.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct EstimateLayer {
    estimate: Estimate,
}

impl EstimateLayer {
    /// Estimates so.
    pub const fn new(estimate: Estimate) -> Self {
        Self { estimate }
    }
}

impl<S> Layer<S> for EstimateLayer {
    type Service = EstimateTokens<S>;

    fn layer(&self, inner: S) -> EstimateTokens<S> {
        EstimateTokens { inner, estimate: self.estimate }
    }
}

/// Estimates the tokens of requests; made by [`EstimateLayer`].
#[derive(Clone, Debug)]
pub struct EstimateTokens<S> {
    inner: S,
    estimate: Estimate,
}

impl<S, B> Service<Request<B>> for EstimateTokens<S>
where
    S: Service<Request<ReadAhead<B>>> + Clone,
    B: Body + Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = EstimateFuture<S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> EstimateFuture<S, B> {
        let ahead = self.estimate.ahead(request);
        EstimateFuture { state: State::Reading { ahead, service: Some(self.inner.clone()) } }
    }
}

impl Estimate {
    /// Whether there is anything to be found in the body of a request, so that
    /// [`ahead`](Self::ahead) reads it.
    #[must_use]
    pub fn reads<B>(&self, request: &Request<B>) -> bool {
        request.method() == Method::POST
            && is_json(request.headers())
            && !request.headers().contains_key(EXPECT)
            && request.extensions().get::<Estimated>().is_none()
    }

    /// Reads the body of a request, if there is [anything to be found](Self::reads) in it, and notes what
    /// the request will come to. This is what [`EstimateLayer`] does, for code that has no layers.
    ///
    /// # Panics
    ///
    /// When a body is waited for outside of a tokio runtime with its timers.
    pub fn ahead<B: Body>(&self, request: Request<B>) -> Ahead<B> {
        let reads = self.reads(&request);
        let (parts, body) = request.into_parts();
        let reading = match reads {
            true => Err(ReadAhead::read(body, self.most())),
            false => Ok(Some(ReadAhead::unread(body))),
        };
        Ahead { estimate: *self, parts: Some(parts), reading, until: None }
    }

    /// What a request with this body comes to.
    fn judged<B: Body>(&self, body: &ReadAhead<B>) -> Cost {
        match body.data() {
            Some(data) => self.of_body(data),
            None => self.of_length(body.size_hint().lower()),
        }
    }
}

/// Resolves to the request, its body read ahead; made by [`Estimate::ahead`].
///
/// Dropped before that, the request is lost with what was read of it. It is pending once it has given
/// the request.
#[must_use = "futures do nothing unless polled"]
pub struct Ahead<B: Body> {
    estimate: Estimate,
    parts: Option<Parts>,
    reading: Result<Option<ReadAhead<B>>, Reading<B>>,
    /// Made when the body is waited for.
    until: Option<Pin<Box<Sleep>>>,
}

// Nothing of it is pinned.
impl<B: Body> Unpin for Ahead<B> {}

impl<B: Body + Unpin> Future for Ahead<B> {
    type Output = Request<ReadAhead<B>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let estimate = this.estimate;
        let (body, cost) = match &mut this.reading {
            Ok(unread) => (unread.take(), None),
            Err(reading) => {
                let body = match Pin::new(&mut *reading).poll(cx) {
                    Poll::Ready(body) => body,
                    Poll::Pending => {
                        let sleep = || Box::pin(tokio::time::sleep(estimate.wait()));
                        ready!(this.until.get_or_insert_with(sleep).as_mut().poll(cx));
                        reading.stop()
                    }
                };
                let cost = estimate.judged(&body);
                (Some(body), Some(cost))
            }
        };
        let (Some(mut parts), Some(body)) = (this.parts.take(), body) else { return Poll::Pending };
        if let Some(cost) = cost {
            parts.extensions.insert(Estimated::new(cost));
        }
        Poll::Ready(Request::from_parts(parts, body))
    }
}

impl<B: Body> fmt::Debug for Ahead<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ahead").field("reads", &self.reading.is_err()).finish_non_exhaustive()
    }
}

pin_project! {
    /// Resolves to what the inner service resolves to.
    #[must_use = "futures do nothing unless polled"]
    pub struct EstimateFuture<S, B>
    where
        S: Service<Request<ReadAhead<B>>>,
        B: Body,
    {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F>
    where
        B: Body,
    {
        Reading { ahead: Ahead<B>, service: Option<S> },
        // What was read waits for the inner service.
        Read { request: Option<Request<ReadAhead<B>>>, service: S },
        Called { #[pin] future: F },
    }
}

impl<S, B> Future for EstimateFuture<S, B>
where
    S: Service<Request<ReadAhead<B>>>,
    B: Body + Unpin,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project().state.project() {
                // Reading => Read
                StateProj::Reading { ahead, service } => {
                    let request = Some(ready!(Pin::new(ahead).poll(cx)));
                    let Some(service) = service.take() else { return Poll::Pending };
                    State::Read { request, service }
                }
                // Read => Called
                StateProj::Read { request, service } => {
                    ready!(service.poll_ready(cx))?;
                    let Some(request) = request.take() else { return Poll::Pending };
                    State::Called { future: service.call(request) }
                }
                // Called: done
                StateProj::Called { future } => return future.poll(cx),
            };
            self.as_mut().project().state.set(next);
        }
    }
}

impl<S, B> fmt::Debug for EstimateFuture<S, B>
where
    S: Service<Request<ReadAhead<B>>>,
    B: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Reading { .. } => "Reading",
            State::Read { .. } => "Read",
            State::Called { .. } => "Called",
        };
        f.debug_struct("EstimateFuture").field("state", &state).finish_non_exhaustive()
    }
}
