//! A call that was sent, and what its answer says.

use std::{error::Error, fmt, marker::PhantomData, sync::Arc};

use buttress_core::{Classify, Hints, Outcome};
use http::{HeaderMap, Response};

use super::{
    Observer,
    meter::{Busy, Meter},
};
use crate::overload::{Clock, Watch, WatchedBody, micros, wall};

/// A response body whose trailers are judged.
pub type ResponseBody<B, C, O> = WatchedBody<B, Judge<C, O, Response<B>>>;

/// Judges the answer to a call that was sent.
pub struct Judge<C, O, Res> {
    meter: Arc<Meter>,
    clock: Clock,
    classify: C,
    observer: O,
    timeouts: bool,
    /// Whether the head was counted as an accept.
    accepted: bool,
    /// Whether it counts as under way.
    in_flight: bool,
    judged: PhantomData<fn(&Res)>,
}

impl<C: Classify<Res>, O: Observer, Res> Judge<C, O, Res> {
    pub(super) fn new(
        (meter, in_flight): (Arc<Meter>, bool),
        clock: Clock,
        manner: (C, O, bool),
    ) -> Self {
        let (classify, observer, timeouts) = manner;
        let (accepted, judged) = (false, PhantomData);
        Self { meter, clock, classify, observer, timeouts, accepted, in_flight, judged }
    }

    /// What else went wrong says nothing of how busy the other side is.
    fn count(&mut self, outcome: Outcome, hints: impl FnOnce() -> Hints) {
        self.end();
        match outcome {
            Outcome::Success | Outcome::Rejected if !self.accepted => {
                self.accepted = true;
                self.meter.accepted(|| self.clock.now());
            }
            Outcome::Overloaded => self.busy(hints().delay().map(micros)),
            Outcome::Timeout if self.timeouts => self.busy(None),
            _ => {}
        }
    }

    fn busy(&self, asked: Option<u64>) {
        let busy = self.meter.busy(self.clock.now(), asked, self.accepted);
        self.observer.busy(busy == Busy::Woke);
    }

    pub(super) fn error(&mut self, error: &(dyn Error + 'static)) {
        self.count(self.classify.error(error), Hints::default);
    }
}

impl<C: Classify<Response<B>>, O: Observer, B> Judge<C, O, Response<B>> {
    pub(super) fn response(&mut self, response: &Response<B>) {
        let hints = || Hints::read(response.status(), response.headers(), wall());
        self.count(self.classify.response(response), hints);
    }
}

impl<C, O, Res> Judge<C, O, Res> {
    fn end(&mut self) {
        if std::mem::take(&mut self.in_flight) {
            self.meter.ended();
        }
    }
}

impl<C, O, Res> Drop for Judge<C, O, Res> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<C: Classify<Res>, O: Observer, Res> Watch for Judge<C, O, Res> {
    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(outcome) = self.classify.trailers(trailers) {
            let mut hints = Hints::default();
            hints.read_trailers(trailers);
            self.count(outcome, || hints);
        }
    }
}

impl<C, O, Res> fmt::Debug for Judge<C, O, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("accepted", &self.accepted).finish_non_exhaustive()
    }
}
