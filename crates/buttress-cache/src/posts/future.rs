//! The future of a call.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::ReadAhead;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::{Answer, Fetches, Observer, ResponseFuture};

pin_project! {
    /// Resolves to the response, from wherever it comes.
    #[must_use = "futures do nothing unless polled"]
    pub struct PromptFuture<S, B, O = ()>
    where
        S: Fetches<ReadAhead<B>>,
        B: Body,
    {
        #[pin]
        state: State<S, B, O>,
    }
}

type Boxed<S, B> = Pin<Box<dyn Future<Output = Answer<S, B>> + Send>>;

pin_project! {
    #[project = StateProj]
    enum State<S, B, O>
    where
        S: Fetches<ReadAhead<B>>,
        B: Body,
    {
        // No prompt: what the cache does with any request.
        Plain { #[pin] future: ResponseFuture<S, ReadAhead<B>, O> },
        // The body is read => the same.
        Prompt { future: Boxed<S, ReadAhead<B>> },
    }
}

impl<S, B, O> PromptFuture<S, B, O>
where
    S: Fetches<ReadAhead<B>>,
    B: Body,
{
    pub(super) const fn plain(future: ResponseFuture<S, ReadAhead<B>, O>) -> Self {
        Self { state: State::Plain { future } }
    }

    pub(super) fn prompt(
        future: impl Future<Output = Answer<S, ReadAhead<B>>> + Send + 'static,
    ) -> Self {
        Self { state: State::Prompt { future: Box::pin(future) } }
    }
}

impl<S, B, O> Future for PromptFuture<S, B, O>
where
    S: Fetches<ReadAhead<B>>,
    B: Body,
    O: Observer,
{
    type Output = Answer<S, ReadAhead<B>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Plain { future } => future.poll(cx),
            StateProj::Prompt { future } => future.as_mut().poll(cx),
        }
    }
}

impl<S, B, O> fmt::Debug for PromptFuture<S, B, O>
where
    S: Fetches<ReadAhead<B>>,
    B: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromptFuture").finish_non_exhaustive()
    }
}
