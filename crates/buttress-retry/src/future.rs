//! The future of a call: attempts, waits, and attempts again.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::BoxError;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    Acquire, Ending, Observer, Policy, Resend,
    call::{Call, Step},
};

pin_project! {
    /// Resolves to the result of the last attempt.
    ///
    /// Dropping it at any point drops the attempt under way, the timer and the copy of the
    /// request, and gives back a token of the budget that no attempt has used yet.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<Req, S, P, O = ()>
    where
        P: Resend<Req>,
        S: Service<<P as Resend<Req>>::Sent>,
        P: Policy<Req, <S as Service<<P as Resend<Req>>::Sent>>::Response>,
        O: Observer,
    {
        #[pin]
        state: State<
            <S as Service<<P as Resend<Req>>::Sent>>::Future,
            <P as Policy<Req, <S as Service<<P as Resend<Req>>::Sent>>::Response>>::Discard,
        >,
        call: Call<
            S,
            P,
            O,
            <P as Resend<Req>>::Backup,
            <S as Service<<P as Resend<Req>>::Sent>>::Response,
        >,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, D> {
        // An attempt is under way.
        Called { #[pin] future: F },
        // The last failure is being discarded, a token of the budget is waited for, the backoff
        // runs; in this order, but none of them holds another up.
        Paused { #[pin] turn: Option<Acquire>, #[pin] discard: Option<D> },
        // The inner service is asked to become ready.
        Readying,
        Done,
    }
}

impl<Req, S, P, O> ResponseFuture<Req, S, P, O>
where
    P: Resend<Req>,
    S: Service<<P as Resend<Req>>::Sent>,
    P: Policy<Req, <S as Service<<P as Resend<Req>>::Sent>>::Response>,
    O: Observer,
{
    pub(crate) const fn new(
        future: S::Future,
        call: Call<S, P, O, P::Backup, S::Response>,
    ) -> Self {
        Self { state: State::Called { future }, call }
    }
}

impl<Req, S, P, O> Future for ResponseFuture<Req, S, P, O>
where
    P: Resend<Req>,
    S: Service<<P as Resend<Req>>::Sent> + Clone,
    P: Policy<Req, <S as Service<<P as Resend<Req>>::Sent>>::Response>,
    S::Error: Into<BoxError>,
    O: Observer,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let call = this.call;
        let result = loop {
            match this.state.as_mut().project() {
                // Called => Paused | Done
                StateProj::Called { future } => {
                    let result = match future.poll(cx) {
                        Poll::Ready(result) => result.map_err(Into::into),
                        Poll::Pending => Err(ready!(call.poll_attempt_limit(cx)).into()),
                    };
                    match call.settle(result) {
                        Step::Return(result) => break result,
                        Step::Pause { turn, discard } => {
                            this.state.set(State::Paused { turn, discard });
                        }
                    }
                }
                // Paused => Readying | Done
                StateProj::Paused { mut turn, mut discard } => {
                    if let Some(discarding) = discard.as_mut().as_pin_mut()
                        && discarding.poll(cx).is_ready()
                    {
                        discard.set(None);
                    }
                    if let Some(waiting) = turn.as_mut().as_pin_mut() {
                        let Poll::Ready(token) = waiting.poll(cx) else {
                            ready!(call.poll_deadline(cx));
                            break call.give_back(Ending::BudgetExhausted);
                        };
                        turn.set(None);
                        if let Err(ending) = call.take_turn(token) {
                            break call.give_back(ending);
                        }
                    }
                    ready!(call.poll_resume(cx));
                    this.state.set(State::Readying);
                }
                // Readying => Called | Done
                StateProj::Readying => match call.poll_service(cx) {
                    Poll::Pending => {
                        let ending = ready!(call.poll_ready_limit(cx));
                        break call.give_back(ending);
                    }
                    Poll::Ready(Err(error)) => break call.finish(Ending::NotReady, Err(error)),
                    Poll::Ready(Ok(())) => match call.send() {
                        Ok(future) => this.state.set(State::Called { future }),
                        Err(result) => break result,
                    },
                },
                StateProj::Done => return Poll::Pending,
            }
        };
        // What the last attempt holds is let go before the caller goes on.
        this.state.set(State::Done);
        Poll::Ready(result)
    }
}

impl<Req, S, P, O> fmt::Debug for ResponseFuture<Req, S, P, O>
where
    P: Resend<Req>,
    S: Service<<P as Resend<Req>>::Sent>,
    P: Policy<Req, <S as Service<<P as Resend<Req>>::Sent>>::Response>,
    O: Observer,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Called { .. } => "Called",
            State::Paused { .. } => "Paused",
            State::Readying => "Readying",
            State::Done => "Done",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
