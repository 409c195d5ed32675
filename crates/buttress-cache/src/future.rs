//! The future of a call.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;

use crate::{
    CacheResult, Observer, ResponseBody,
    core::Core,
    fetch::{Answer, Fetches},
    rfc::{CacheStatus, Forwarded},
};

pin_project! {
    /// Resolves to the response, from wherever it comes.
    ///
    /// Dropping it drops the call to the inner service, unless others wait for the same response: then
    /// one of them makes the call anew.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, O = ()>
    where
        S: Fetches<B>,
    {
        #[pin]
        state: State<S, B, O>,
    }
}

type Boxed<S, B> = Pin<Box<dyn Future<Output = Answer<S, B>> + Send>>;

pin_project! {
    #[project = StateProj]
    #[project_replace = StateReplace]
    enum State<S, B, O>
    where
        S: Fetches<B>,
    {
        // It was in the store.
        Ready { response: Option<Response<ResponseBody<S::Body>>> },
        // It may have to be waited for, asked for, stored.
        Slow { answer: Boxed<S, B> },
        // It passes the cache by: until the inner service is ready => Passing.
        Readying { service: S, request: Option<Request<B>>, told: Option<Told<O>> },
        // => Ready's response, without the store.
        Passing { #[pin] future: S::Future, told: Option<Told<O>> },
    }
}

struct Told<O> {
    core: Arc<Core<O>>,
    why: &'static str,
}

impl<S, B, O> ResponseFuture<S, B, O>
where
    S: Fetches<B>,
    B: Send + 'static,
    O: Observer,
{
    pub(crate) const fn ready(response: Response<ResponseBody<S::Body>>) -> Self {
        Self { state: State::Ready { response: Some(response) } }
    }

    pub(crate) fn slow(answer: impl Future<Output = Answer<S, B>> + Send + 'static) -> Self {
        Self { state: State::Slow { answer: Box::pin(answer) } }
    }

    pub(crate) const fn pass(
        service: S,
        request: Request<B>,
        core: Arc<Core<O>>,
        why: &'static str,
    ) -> Self {
        let told = Some(Told { core, why });
        Self { state: State::Readying { service, request: Some(request), told } }
    }
}

impl<O: Observer> Told<O> {
    fn tell<B>(self, response: Response<B>) -> Response<ResponseBody<B>> {
        let mut response = response.map(ResponseBody::pass);
        let forwarded = match self.why {
            "method" => Forwarded::Method,
            "request" => Forwarded::Request,
            _ => Forwarded::Bypass,
        };
        let detail = (forwarded == Forwarded::Bypass && self.why != "bypass").then_some(self.why);
        let forwarded_status = Some(response.status().as_u16());
        let forwarded = Some(forwarded);
        let said = CacheStatus { forwarded, forwarded_status, detail, ..CacheStatus::default() };
        self.core.tell(&mut response, CacheResult::Bypass, &said);
        response
    }
}

impl<S, B, O> Future for ResponseFuture<S, B, O>
where
    S: Fetches<B>,
    O: Observer,
{
    type Output = Answer<S, B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Ready { response } => match response.take() {
                    Some(response) => return Poll::Ready(Ok(response)),
                    // Polled again after its end, which no caller may do.
                    None => return Poll::Pending,
                },
                StateProj::Slow { answer } => return answer.as_mut().poll(cx),
                StateProj::Readying { service, request, told } => {
                    ready!(service.poll_ready(cx))?;
                    let (Some(request), told) = (request.take(), told.take()) else {
                        return Poll::Pending;
                    };
                    let future = service.call(request);
                    state.set(State::Passing { future, told });
                }
                StateProj::Passing { future, told } => {
                    let response = ready!(future.poll(cx))?;
                    let Some(told) = told.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(told.tell(response)));
                }
            }
        }
    }
}

impl<S, B, O> fmt::Debug for ResponseFuture<S, B, O>
where
    S: Fetches<B>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
