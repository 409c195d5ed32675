//! Tells a resolver that nobody waits for its answer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static AHEAD: ();
}

/// Marks the lookups inside `future` as made ahead of need: no caller waits for them.
///
/// A resolver that asks several servers at once for a caller that waits may ask them one after
/// another instead. The mark reaches whatever is polled inside `future`, so it works through any
/// layers between; a task that is spawned inside loses it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert!(!buttress_dns::is_ahead());
/// assert!(buttress_dns::ahead(async { buttress_dns::is_ahead() }).await);
/// # }
/// ```
pub fn ahead<F: Future>(future: F) -> Ahead<F> {
    Ahead(Box::pin(AHEAD.scope((), future)))
}

/// Whether the lookup in which this is called was made [`ahead`] of need.
#[must_use]
pub fn is_ahead() -> bool {
    AHEAD.try_with(|()| ()).is_ok()
}

/// What [`ahead`] makes of a future.
#[must_use = "futures do nothing unless polled"]
pub struct Ahead<F: Future>(Pin<Box<TaskLocalFuture<(), F>>>);

impl<F: Future> Future for Ahead<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<F: Future> std::fmt::Debug for Ahead<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ahead").finish_non_exhaustive()
    }
}
