//! The future of a call: that of the inner service, or a refusal.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::Classify;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{Observer, ResponseBody, Throttled, judge::Judge};
use crate::overload::{Deliver, WatchedBody};

pin_project! {
    /// Resolves to the answer of the inner service, or to the refusal.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, A, C, O, RB, E>
    where
        A: Deliver<Throttled, E, RB>,
    {
        #[pin]
        state: State<F, C, O, RB, A::Error>,
        refuse: PhantomData<fn() -> (A, E)>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, C, O, RB, E> {
        // The call was sent.
        Sent { #[pin] future: F, judge: Option<Judge<C, O, Response<RB>>> },
        // The call was not sent.
        Refused { result: Option<Result<Response<RB>, E>> },
    }
}

impl<F, A, C, O, RB, E> ResponseFuture<F, A, C, O, RB, E>
where
    A: Deliver<Throttled, E, RB>,
{
    pub(super) const fn sent(future: F, judge: Option<Judge<C, O, Response<RB>>>) -> Self {
        Self { state: State::Sent { future, judge }, refuse: PhantomData }
    }

    pub(super) const fn refused(result: Result<Response<RB>, A::Error>) -> Self {
        Self { state: State::Refused { result: Some(result) }, refuse: PhantomData }
    }
}

impl<F, A, C, O, RB, E> Future for ResponseFuture<F, A, C, O, RB, E>
where
    F: Future<Output = Result<Response<RB>, E>>,
    A: Deliver<Throttled, E, RB>,
    C: Classify<Response<RB>>,
    O: Observer,
    RB: Body,
{
    type Output = Result<Response<ResponseBody<RB, C, O>>, A::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            // Sent => (resolved)
            StateProj::Sent { future, judge } => {
                let result = ready!(future.poll(cx));
                Poll::Ready(judged::<A, _, _, _, _>(result, judge.take()))
            }
            // Refused => (resolved)
            StateProj::Refused { result } => match result.take() {
                Some(Ok(response)) => {
                    Poll::Ready(Ok(response.map(|body| WatchedBody::new(body, None))))
                }
                Some(Err(error)) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}

fn judged<A, C, O, RB, E>(
    result: Result<Response<RB>, E>,
    mut judge: Option<Judge<C, O, Response<RB>>>,
) -> Result<Response<ResponseBody<RB, C, O>>, A::Error>
where
    A: Deliver<Throttled, E, RB>,
    C: Classify<Response<RB>>,
    O: Observer,
    RB: Body,
{
    match result {
        Ok(response) => {
            if let Some(judge) = &mut judge {
                judge.response(&response);
            }
            Ok(response.map(|body| WatchedBody::new(body, judge)))
        }
        Err(error) => Err(A::pass(error, |error| {
            if let Some(judge) = &mut judge {
                judge.error(error);
            }
        })),
    }
}

impl<F, A, C, O, RB, E> fmt::Debug for ResponseFuture<F, A, C, O, RB, E>
where
    A: Deliver<Throttled, E, RB>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Sent { .. } => "Sent",
            State::Refused { .. } => "Refused",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
