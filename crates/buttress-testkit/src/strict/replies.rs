use super::state::Planted;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tower_service::Service;

type Reply<Res, E> = dyn Fn(u64) -> Result<Res, E> + Send + Sync;

/// A service that is always ready and answers any request, at once, from a script.
///
/// Clones share the script. It takes no interest in readiness: put it into
/// [`Strict`](super::Strict). For answers that depend on the request use `tower::service_fn` there.
pub struct Replies<Res, E = Planted> {
    calls: Arc<AtomicU64>,
    reply: Arc<Reply<Res, E>>,
}

impl<Res, E> Replies<Res, E> {
    /// Answers each call with what `reply` makes of the number of the call, counted from 1.
    pub fn each(reply: impl Fn(u64) -> Result<Res, E> + Send + Sync + 'static) -> Self {
        Self { calls: Arc::new(AtomicU64::new(0)), reply: Arc::new(reply) }
    }

    /// Answers the calls with `replies`, in order.
    ///
    /// # Panics
    ///
    /// A call after the last reply panics.
    pub fn queue(replies: impl IntoIterator<Item = Result<Res, E>>) -> Self
    where
        Res: Send + 'static,
        E: Send + 'static,
    {
        let queue: VecDeque<_> = replies.into_iter().collect();
        let length = queue.len();
        let queue = Mutex::new(queue);
        Self::each(move |call| {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            next.unwrap_or_else(|| panic!("call {call} came after the last of {length} replies"))
        })
    }
}

impl<Req, Res, E> Service<Req> for Replies<Res, E> {
    type Response = Res;
    type Error = E;
    type Future = Ready<Result<Res, E>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        ready((self.reply)(call))
    }
}

impl<Res, E> Clone for Replies<Res, E> {
    fn clone(&self) -> Self {
        Self { calls: Arc::clone(&self.calls), reply: Arc::clone(&self.reply) }
    }
}

impl<Res, E> fmt::Debug for Replies<Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("calls", &self.calls).finish_non_exhaustive()
    }
}
