//! A call that is under way: its permit, and who is told how it goes.

use std::{error::Error, fmt, marker::PhantomData, sync::Arc};

use buttress_core::{Classify, Outcome, TimedOut, cause};
use http::{HeaderMap, Response};

use super::{Observer, Permit};
use crate::overload::{Watch, WatchedBody};

/// A response body whose call counts as under way until its last byte is read, it fails, or it is
/// dropped.
pub type ResponseBody<B, C, O> = WatchedBody<B, Held<C, O, Response<B>>>;

/// What a call that is under way holds.
pub struct Held<C, O, Res> {
    permit: Permit,
    classify: C,
    observer: O,
    judged: PhantomData<fn(&Res)>,
}

/// The permit of a call that goes on after its response has ended: an extension of a response that
/// changes the protocol (101, or 2xx to `CONNECT`).
///
/// Take it to where the connection is used; the call counts as under way until the last clone is
/// dropped. Nobody has to: with the response, it goes too.
#[derive(Clone, Debug)]
pub struct HeldPermit {
    _permit: Arc<dyn fmt::Debug + Send + Sync>,
}

impl HeldPermit {
    pub(super) fn new(permit: Permit) -> Self {
        Self { _permit: Arc::new(permit) }
    }
}

impl<C, O: Observer, Res> Held<C, O, Res>
where
    C: Classify<Res>,
{
    pub(super) const fn new(permit: Permit, classify: C, observer: O) -> Self {
        Self { permit, classify, observer, judged: PhantomData }
    }

    pub(super) fn into_permit(self) -> Permit {
        self.permit
    }

    pub(super) fn response(&self, response: &Res) {
        if self.permit.is_adaptive() {
            self.learn(self.classify.response(response));
        }
    }

    pub(super) fn error(&self, error: &(dyn Error + 'static)) {
        if self.permit.is_adaptive() {
            // A connection that did not come about in time was not sent, and is late all the same.
            let late = cause::<TimedOut>(error).map(|_| Outcome::Timeout);
            self.learn(late.unwrap_or_else(|| self.classify.error(error)));
        }
    }

    /// Tells how the call went so far. Only that there is too much to do, or that there is not, is
    /// of use; other failures have their own reasons.
    fn learn(&self, outcome: Outcome) {
        let overload = match outcome {
            Outcome::Overloaded | Outcome::Timeout => true,
            Outcome::Success => false,
            _ => return,
        };
        if let Some((before, after)) = self.permit.learn(overload)
            && before != after
        {
            self.observer.limit(before, after);
        }
    }
}

impl<C: Classify<Res>, O: Observer, Res> Watch for Held<C, O, Res> {
    fn trailers(&mut self, trailers: &HeaderMap) {
        if self.permit.is_adaptive()
            && let Some(outcome @ (Outcome::Overloaded | Outcome::Timeout)) =
                self.classify.trailers(trailers)
        {
            self.learn(outcome);
        }
    }
}

impl<C, O, Res> fmt::Debug for Held<C, O, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("permit", &self.permit).finish_non_exhaustive()
    }
}
