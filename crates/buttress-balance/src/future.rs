//! The future of a call: a wait in line, an attempt, and attempts at other endpoints.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::BoxError;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    Observer, Pick, ResponseBody,
    call::{Call, Sent, Step},
    failover::Bodies,
    next::Kept,
    target::Link,
};

pin_project! {
    /// Resolves to the answer of the last endpoint that was tried.
    ///
    /// Dropping it at any point gives back the place at the endpoint, or in line, and lets another
    /// call try an ejected endpoint if this one was to do so.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<L, P: Pick, O, M, B, F, RB> {
        #[pin]
        state: State<F, RB>,
        call: Call<L, P, O, M, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, RB> {
        // The call waits for an endpoint, or has one.
        Placing,
        // The endpoint's service is asked to become ready.
        Sending,
        // An attempt is under way.
        Called { #[pin] future: F },
        // The next endpoint is full; the answer of the last one is kept, boxed because few calls wait.
        Waiting { kept: Option<Box<Kept<RB>>> },
        Done,
    }
}

impl<L, P: Pick, O, M, B, F, RB> ResponseFuture<L, P, O, M, B, F, RB> {
    pub(crate) const fn new(call: Call<L, P, O, M, B>) -> Self {
        Self { state: State::Placing, call }
    }
}

impl<S, L, P, O, M, B, RB> Future for ResponseFuture<L, P, O, M, B, S::Future, RB>
where
    L: Link<Service = S>,
    S: Service<Request<B>, Response = Response<RB>>,
    S::Error: Into<BoxError>,
    P: Pick,
    O: Observer,
    M: Bodies<B>,
    RB: Body<Error: Into<BoxError>>,
{
    type Output = Result<Response<ResponseBody<RB, P>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let call = this.call;
        let result = loop {
            let step = match this.state.as_mut().project() {
                // Placing => Sending | Done
                StateProj::Placing => match ready!(call.poll_place(cx)) {
                    Ok(()) => {
                        this.state.set(State::Sending);
                        continue;
                    }
                    Err(error) => break Err(error),
                },
                // Sending => Called | Sending | Done
                StateProj::Sending => match ready!(call.poll_send(cx)) {
                    Sent::Away(future) => {
                        this.state.set(State::Called { future });
                        continue;
                    }
                    Sent::NotReady(error) => call.settle(Err(error), true),
                    Sent::Refused(error) => break Err(error),
                },
                // Called => Sending | Waiting | Done
                StateProj::Called { future } => {
                    let result = ready!(future.poll(cx)).map_err(Into::into);
                    call.settle(result, false)
                }
                // Waiting => Sending | Done
                StateProj::Waiting { kept } => {
                    let found = ready!(call.poll_next(cx));
                    match kept.take() {
                        Some(kept) if !found => break call.give(*kept),
                        _ => Step::Again,
                    }
                }
                StateProj::Done => return Poll::Pending,
            };
            match step {
                Step::Return(result) => break result,
                Step::Again => this.state.set(State::Sending),
                Step::Wait(kept) => this.state.set(State::Waiting { kept: Some(kept) }),
            }
        };
        // What the last attempt holds is let go before the caller goes on.
        this.state.set(State::Done);
        Poll::Ready(result)
    }
}

impl<L, P: Pick, O, M, B, F, RB> fmt::Debug for ResponseFuture<L, P, O, M, B, F, RB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Placing => "Placing",
            State::Sending => "Sending",
            State::Called { .. } => "Called",
            State::Waiting { .. } => "Waiting",
            State::Done => "Done",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
