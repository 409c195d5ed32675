//! The service: it prepares a call and hands it to the future.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::BoxError;
use tower_service::Service;

use crate::{
    Observer, Policy, Resend, ResponseFuture,
    call::{Again, Call},
    settings::Settings,
};

/// Makes failed calls again. Made by [`RetryLayer`](crate::RetryLayer).
#[derive(Clone, Debug)]
pub struct Retry<S, P, O = ()> {
    inner: S,
    settings: Arc<Settings<P, O>>,
}

impl<S, P, O> Retry<S, P, O> {
    pub(crate) const fn new(inner: S, settings: Arc<Settings<P, O>>) -> Self {
        Self { inner, settings }
    }

    /// The inner service.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, to be changed.
    #[must_use]
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the inner service back.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, P, O, Req> Service<Req> for Retry<S, P, O>
where
    P: Resend<Req>,
    S: Service<<P as Resend<Req>>::Sent> + Clone,
    P: Policy<Req, <S as Service<<P as Resend<Req>>::Sent>>::Response>,
    S::Error: Into<BoxError>,
    O: Observer,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<Req, S, P, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let settings = &self.settings;
        let limits = settings
            .limits
            .of(settings.policy.deadline(&request), || settings.policy.scope(&request));
        let again = settings.limits.max_attempts.get() > 1;
        let (sent, backup) = settings.policy.begin(request, again);
        // The instance that is ready makes this call; a clone of it, not ready, the next ones.
        let future = self.inner.call(sent);
        let again = match backup {
            Ok(backup) => Again::Possible { service: self.inner.clone(), backup },
            Err(ending) => Again::No(ending),
        };
        ResponseFuture::new(future, Call::new(Arc::clone(settings), again, limits))
    }
}
