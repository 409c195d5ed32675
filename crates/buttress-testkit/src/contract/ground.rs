use super::{BoxError, Inner};
use crate::strict::{Handle, Planted, Replies, Strict};
use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tower::limit::ConcurrencyLimit;

pub(super) type Verdict = Result<(), String>;

/// More permits than any check has calls.
pub(super) const PLENTY: usize = 1 << 16;

/// What came out of a layer: its answer or its error.
pub(super) type Answer<O> = Result<O, BoxError>;

/// What a check stands on: the means to make services, requests and judgements.
pub(super) struct Ground<'a, S, Req, O> {
    pub(super) raise: &'a dyn Fn(Maker, usize) -> (S, Watch),
    pub(super) request: &'a dyn Fn() -> Req,
    pub(super) judge: &'a dyn Fn(O) -> Pin<Box<dyn Future<Output = Verdict> + 'a>>,
    pub(super) patience: Duration,
    /// One for each service made since the last check ended.
    pub(super) handles: RefCell<Vec<Handle<Planted>>>,
}

/// Which copy of the layer makes a service.
#[derive(Clone, Copy)]
pub(super) enum Maker {
    Original,
    Clone,
}

/// The view from below a layer: the strict service and the permits under it.
pub(super) struct Watch {
    pub(super) handle: Handle<Planted>,
    permits: Arc<Semaphore>,
    total: usize,
}

impl<S, Req, O> Ground<'_, S, Req, O> {
    pub(super) fn service(&self, permits: usize) -> (S, Watch) {
        self.service_by(Maker::Original, permits)
    }

    pub(super) fn service_by(&self, maker: Maker, permits: usize) -> (S, Watch) {
        let (service, watch) = (self.raise)(maker, permits);
        self.handles.borrow_mut().push(watch.handle.clone());
        (service, watch)
    }

    /// Takes the handles of the check that has ended, and returns its first breach of readiness.
    pub(super) fn breach(&self) -> Option<String> {
        let handles = self.handles.take();
        handles.iter().find_map(|handle| handle.violations().first().map(ToString::to_string))
    }
}

impl Watch {
    pub(super) fn inner<Res: 'static>(
        answer: &Arc<dyn Fn() -> Res + Send + Sync>,
        total: usize,
    ) -> (Inner<Res>, Self) {
        let answer = Arc::clone(answer);
        let permits = Arc::new(Semaphore::new(total));
        let replies = Replies::each(move |_| Ok(answer()));
        let limited = ConcurrencyLimit::with_semaphore(replies, Arc::clone(&permits));
        let (strict, handle) = Strict::new(limited);
        (strict, Self { handle, permits, total })
    }

    /// Asserts that nothing of `stage` is left: no inner future and no permit.
    pub(super) fn nothing_held(&self, stage: &str) -> Verdict {
        let in_flight = self.handle.in_flight();
        if in_flight > 0 {
            return Err(format!("{stage}, {in_flight} inner futures are still alive"));
        }
        let free = self.permits.available_permits();
        if free < self.total {
            return Err(format!("{stage}, {} permits are still held", self.total - free));
        }
        Ok(())
    }

    /// Asserts that at most `most` instances of the inner service are alive.
    pub(super) fn at_most(&self, most: usize, stage: &str) -> Verdict {
        let live = self.handle.instances();
        if live > most {
            return Err(format!("{stage}, {live} inner services are alive, not {most}"));
        }
        Ok(())
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "calls {}, in flight {}, readiness polls {}, free permits {} of {}",
            self.handle.calls(),
            self.handle.in_flight(),
            self.handle.ready_polls(),
            self.permits.available_permits(),
            self.total
        )
    }
}
