//! The scaffold: a service that does everything right, save what a fault overrides.

use buttress_testkit::contract::{BoxError, Inner};
use std::pin::Pin;
use std::task::{Context, Poll};
use tower::layer::{LayerFn, layer_fn};
use tower_service::Service;

pub(crate) type Numbers = Inner<u64>;
pub(crate) type InnerFuture = <Numbers as Service<u64>>::Future;
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<u64, BoxError>> + Send>>;

pub(crate) trait Fault: Clone + 'static {
    fn poll_ready(
        &mut self,
        inner: &mut Numbers,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        poll_inner(inner, cx)
    }

    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        passed(inner.call(request))
    }
}

/// What a sound layer does with readiness.
pub(crate) fn poll_inner(inner: &mut Numbers, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
    Service::<u64>::poll_ready(inner, cx).map_err(BoxError::from)
}

/// What a sound layer does with a response.
pub(crate) fn passed(future: InnerFuture) -> Answer {
    Box::pin(async move { future.await.map_err(BoxError::from) })
}

#[derive(Clone)]
pub(crate) struct Faulty<F> {
    pub(crate) inner: Numbers,
    pub(crate) fault: F,
}

impl<F: Fault> Service<u64> for Faulty<F> {
    type Response = u64;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.fault.poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: u64) -> Answer {
        self.fault.call(&mut self.inner, request)
    }
}

pub(crate) fn faulty<F: Fault>(fault: F) -> LayerFn<impl Fn(Numbers) -> Faulty<F> + Clone> {
    layer_fn(move |inner| Faulty { inner, fault: fault.clone() })
}
