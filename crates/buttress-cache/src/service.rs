//! The service.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, request::Parts};
use tower_service::Service;

use crate::{
    Observer, ResponseBody, ResponseFuture, clock,
    core::{Access, Core, Plan, Wanted},
    fetch::{Fetches, Job},
    settings::Again,
    tasks::Tasks,
};

/// Answers requests from a store; see [`CacheLayer`](crate::CacheLayer).
///
/// It is always ready, so a hit is served while the inner service is saturated. A request that goes
/// to the inner service waits for the readiness of a clone of its own.
#[derive(Clone, Debug)]
pub struct Cache<S, O = ()> {
    inner: S,
    core: Arc<Core<O>>,
    tasks: Arc<Tasks>,
}

impl<S, O> Cache<S, O> {
    pub(crate) const fn new(inner: S, core: Arc<Core<O>>, tasks: Arc<Tasks>) -> Self {
        Self { inner, core, tasks }
    }
}

impl<S: Clone, O: Observer> Cache<S, O> {
    fn job<B>(&self, parts: Parts, body: B, again: Option<Again<B>>) -> Job<S, B, O> {
        let (core, tasks) = (Arc::clone(&self.core), Arc::downgrade(&self.tasks));
        Job { core, tasks, inner: self.inner.clone(), parts, body, again }
    }

    /// Answers from the store, if that takes neither waiting nor asking.
    fn hit<B>(
        &self,
        parts: Parts,
        body: B,
        again: Option<Again<B>>,
        wanted: Wanted,
    ) -> ResponseFuture<S, B, O>
    where
        S: Fetches<B>,
        B: Send + 'static,
    {
        let look = self.core.peek(&wanted, &parts.headers);
        if let Some(look) = &look {
            let now = clock::now();
            if let Plan::Serve(entry, result) = self.core.plan(&wanted, look, now) {
                let response = self.core.serve(&entry, &wanted, &parts.headers, result, now);
                return ResponseFuture::ready(response);
            }
        }
        let again = again.or_else(|| self.core.settings.again());
        ResponseFuture::slow(self.job(parts, body, again).run(wanted, look))
    }

    /// Answers a request whose body is had again so, if the caller knows how.
    pub(crate) fn answer<B>(
        &self,
        request: Request<B>,
        again: Option<Again<B>>,
    ) -> ResponseFuture<S, B, O>
    where
        S: Fetches<B>,
        B: Send + 'static,
    {
        let (parts, body) = request.into_parts();
        match self.core.access(&parts) {
            Access::Lookup(wanted) => self.hit(parts, body, again, wanted),
            Access::Unsafe(target) => {
                ResponseFuture::slow(self.job(parts, body, None).change(target))
            }
            Access::Unsatisfied => ResponseFuture::ready(self.core.unsatisfied()),
            Access::Pass(why) => {
                let request = Request::from_parts(parts, body);
                ResponseFuture::pass(self.inner.clone(), request, Arc::clone(&self.core), why)
            }
        }
    }
}

impl<S, B, O> Service<Request<B>> for Cache<S, O>
where
    S: Fetches<B> + Clone,
    B: Send + 'static,
    O: Observer,
{
    type Response = Response<ResponseBody<S::Body>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, O>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.answer(request, None)
    }
}
