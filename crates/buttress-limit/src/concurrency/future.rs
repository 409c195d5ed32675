//! The future of a call: a wait in line, readiness, the call itself.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::Classify;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Observer, Overloaded, Permit, ResponseBody,
    held::{Held, HeldPermit},
    layer::Manner,
    place::Waiting,
};
use crate::overload::{Deliver, Head, WatchedBody};

pin_project! {
    /// Resolves to the answer of the inner service, or to the refusal.
    ///
    /// Dropping it at any point gives back the place among those under way, or in line.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, F, A, C, O> {
        #[pin]
        state: State<S, B, F>,
        manner: Manner<A, C, O>,
        connect: bool,
    }
}

pin_project! {
    #[project = StateProj]
    #[project_replace = StateOwn]
    enum State<S, B, F> {
        // The call waits in line for its place.
        Waiting { waiting: Pin<Box<Waiting>>, service: S, request: Request<B> },
        // The call has its place, and the inner service is asked to become ready.
        Readying { permit: Option<Permit>, service: S, request: Request<B> },
        // The call is under way.
        Called { #[pin] future: F, permit: Option<Permit> },
        // There was no place.
        Refused { refused: Overloaded, request: Request<B> },
        Done,
    }
}

impl<S, B, F, A, C, O: Observer> ResponseFuture<S, B, F, A, C, O> {
    pub(super) fn waiting(
        waiting: Pin<Box<Waiting>>,
        service: S,
        request: Request<B>,
        manner: Manner<A, C, O>,
    ) -> Self {
        let connect = request.method() == Method::CONNECT;
        Self { state: State::Waiting { waiting, service, request }, manner, connect }
    }

    pub(super) fn readying(
        permit: Option<Permit>,
        service: S,
        request: Request<B>,
        manner: Manner<A, C, O>,
    ) -> Self {
        let connect = request.method() == Method::CONNECT;
        Self { state: State::Readying { permit, service, request }, manner, connect }
    }

    pub(super) fn called(
        permit: Option<Permit>,
        future: F,
        connect: bool,
        manner: Manner<A, C, O>,
    ) -> Self {
        Self { state: State::Called { future, permit }, manner, connect }
    }

    pub(super) fn refused(
        refused: Overloaded,
        request: Request<B>,
        manner: Manner<A, C, O>,
    ) -> Self {
        manner.observer.refused(&refused);
        Self { state: State::Refused { refused, request }, manner, connect: false }
    }
}

impl<S, B, A, C, O, RB> Future for ResponseFuture<S, B, S::Future, A, C, O>
where
    S: Service<Request<B>, Response = Response<RB>>,
    A: Deliver<Overloaded, S::Error, RB>,
    C: Classify<Response<RB>> + Clone,
    O: Observer,
    RB: Body,
{
    type Output = Result<Response<ResponseBody<RB, C, O>>, A::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                // Waiting => Readying | Refused
                StateProj::Waiting { waiting, .. } => {
                    let result = ready!(waiting.as_mut().poll(cx));
                    let state = this.state.as_mut().project_replace(State::Done);
                    this.state.set(state.waited(result, &this.manner.observer));
                }
                // Readying => Called | Done
                StateProj::Readying { service, .. } => {
                    let ready = ready!(service.poll_ready(cx));
                    let state = this.state.as_mut().project_replace(State::Done);
                    if let Err(error) = ready {
                        // What it held is let go before the caller goes on.
                        drop(state);
                        return Poll::Ready(Err(A::pass(error, |_| {})));
                    }
                    this.state.set(state.called());
                }
                // Called => Done
                StateProj::Called { future, permit } => {
                    let result = ready!(future.poll(cx));
                    let permit = permit.take();
                    this.state.set(State::Done);
                    return Poll::Ready(finish(result, permit, this.manner, *this.connect));
                }
                // Refused => Done
                StateProj::Refused { refused, request } => {
                    let answer = this.manner.refuse.deliver(refused.clone(), Head::of(request));
                    this.state.set(State::Done);
                    return Poll::Ready(answer.map(|r| r.map(|body| WatchedBody::new(body, None))));
                }
                StateProj::Done => return Poll::Pending,
            }
        }
    }
}

impl<S, B, F> StateOwn<S, B, F> {
    fn waited<O: Observer>(
        self,
        result: Result<Permit, Overloaded>,
        observer: &O,
    ) -> State<S, B, F> {
        let Self::Waiting { waiting, service, request } = self else { return State::Done };
        match result {
            Ok(permit) => {
                observer.admitted(waiting.waited());
                State::Readying { permit: Some(permit), service, request }
            }
            Err(refused) => {
                observer.refused(&refused);
                State::Refused { refused, request }
            }
        }
    }

    fn called(self) -> State<S, B, F>
    where
        S: Service<Request<B>, Future = F>,
    {
        let Self::Readying { permit, mut service, request } = self else { return State::Done };
        State::Called { future: service.call(request), permit }
    }
}

/// Ties the permit to the end of the response, and learns from it.
fn finish<A, C, O, E, RB>(
    result: Result<Response<RB>, E>,
    permit: Option<Permit>,
    manner: &Manner<A, C, O>,
    connect: bool,
) -> Result<Response<ResponseBody<RB, C, O>>, A::Error>
where
    A: Deliver<Overloaded, E, RB>,
    C: Classify<Response<RB>> + Clone,
    O: Observer,
    RB: Body,
{
    let held = permit.map(|permit| {
        Held::<_, _, Response<RB>>::new(permit, manner.classify.clone(), manner.observer.clone())
    });
    let mut response = match (result, &held) {
        (Ok(response), _) => response,
        (Err(error), Some(held)) => return Err(A::pass(error, |error| held.error(error))),
        (Err(error), None) => return Err(A::pass(error, |_| {})),
    };
    let Some(held) = held else {
        return Ok(response.map(|body| WatchedBody::new(body, None)));
    };
    held.response(&response);
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS || (connect && status.is_success()) {
        response.extensions_mut().insert(HeldPermit::new(held.into_permit()));
        return Ok(response.map(|body| WatchedBody::new(body, None)));
    }
    Ok(response.map(|body| WatchedBody::new(body, Some(held))))
}

impl<S, B, F, A, C, O> fmt::Debug for ResponseFuture<S, B, F, A, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting { .. } => "Waiting",
            State::Readying { .. } => "Readying",
            State::Called { .. } => "Called",
            State::Refused { .. } => "Refused",
            State::Done => "Done",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
