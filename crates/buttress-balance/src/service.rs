//! The service: it finds a call its endpoint and hands it to the future.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::BoxError;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    Balancer, EndpointSet, HashKey, Observer, Pick, ResponseBody, ResponseFuture, call::Call,
    failover::Bodies, layer::Settings, target::Link,
};

/// Spreads calls over endpoints. Made by [`BalanceLayer`](crate::BalanceLayer).
///
/// It is always ready, and asks the service of an endpoint only once that endpoint is chosen.
pub struct Balance<L, P: Pick, O, M> {
    link: L,
    balancer: Balancer<P>,
    settings: Arc<Settings<O, M>>,
}

impl<L, P: Pick, O, M> Balance<L, P, O, M> {
    pub(crate) const fn new(link: L, balancer: Balancer<P>, settings: Arc<Settings<O, M>>) -> Self {
        Self { link, balancer, settings }
    }

    /// The set that calls are spread over.
    #[must_use]
    pub fn set(&self) -> &EndpointSet {
        self.balancer.set()
    }
}

impl<L: Clone, P: Pick, O, M> Clone for Balance<L, P, O, M> {
    fn clone(&self) -> Self {
        Self {
            link: self.link.clone(),
            balancer: self.balancer.clone(),
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<L, P: Pick, O, M> fmt::Debug for Balance<L, P, O, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance").field("set", self.set()).finish_non_exhaustive()
    }
}

impl<S, L, P, O, M, B, RB> Service<Request<B>> for Balance<L, P, O, M>
where
    L: Link<Service = S> + Clone,
    S: Service<Request<B>, Response = Response<RB>>,
    S::Error: Into<BoxError>,
    P: Pick + HashKey<Request<B>>,
    O: Observer,
    M: Bodies<B>,
    RB: Body<Error: Into<BoxError>>,
{
    type Response = Response<ResponseBody<RB, P>>;
    type Error = BoxError;
    type Future = ResponseFuture<L, P, O, M, B, S::Future, RB>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let settings = Arc::clone(&self.settings);
        ResponseFuture::new(Call::begin(self.link.clone(), &mut self.balancer, settings, request))
    }
}
