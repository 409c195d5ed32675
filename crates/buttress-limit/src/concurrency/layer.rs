//! The layer, which is its own builder.

use std::{fmt, sync::Arc};

use buttress_core::{ByStatus, SettingError};
use tower_layer::Layer;

use super::{Concurrency, ConcurrencyLimit, Mode, Observer, Priority, Shed, Wait};
use crate::overload::{Answer, Enforce, Fail, Head, Problem};

type KeyOf<K> = Arc<dyn Fn(Head<'_>) -> K + Send + Sync>;
type PriorityOf = Arc<dyn Fn(Head<'_>) -> Priority + Send + Sync>;

/// Limits how many calls are under way, each until its response body has ended.
///
/// The limit is a [`Concurrency`], made by the user, which may change it while calls go on. The
/// layer is its own builder. `K` is what is counted apart, `A` says how a call is refused
/// ([`Answer`] or [`Fail`]), `C` judges answers for a limit that is found, `O` is told what happens
/// ([`Observer`]).
#[must_use]
pub struct ConcurrencyLimitLayer<K = (), A = Answer, C = ByStatus, O = ()> {
    limit: Concurrency<K>,
    rules: Rules<K>,
    manner: Manner<A, C, O>,
}

/// Who a call belongs to, and what becomes of it where no place is free.
pub(super) struct Rules<K> {
    pub(super) mode: Mode,
    pub(super) enforce: Enforce,
    pub(super) key: KeyOf<K>,
    pub(super) priority: Option<PriorityOf>,
}

/// How a call is refused, judged and reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<A, C, O> {
    pub(super) refuse: A,
    pub(super) classify: C,
    pub(super) observer: O,
}

impl ConcurrencyLimitLayer {
    /// In front of a server: a call for which no place is free is answered with 503 at once
    /// ([`Problem`]); gRPC callers get status 8.
    pub fn inbound(limit: Concurrency) -> Self {
        Self::inbound_keyed(limit, |_| ())
    }
}

impl ConcurrencyLimitLayer<(), Fail> {
    /// In front of a client: a call for which no place is free waits in line ([`Wait::fifo`]), and
    /// fails with [`Overloaded`](super::Overloaded) where that is not allowed.
    pub fn outbound(limit: Concurrency) -> Self {
        Self::outbound_keyed(limit, |_| ())
    }
}

impl<K> ConcurrencyLimitLayer<K> {
    /// [`inbound`](ConcurrencyLimitLayer::inbound), counted apart by the key of the request.
    pub fn inbound_keyed(
        limit: Concurrency<K>,
        key: impl Fn(Head<'_>) -> K + Send + Sync + 'static,
    ) -> Self {
        Self::with_mode(limit, key, Mode::Reject, Answer(Problem))
    }
}

impl<K> ConcurrencyLimitLayer<K, Fail> {
    /// [`outbound`](ConcurrencyLimitLayer::outbound), counted apart by the key of the request.
    pub fn outbound_keyed(
        limit: Concurrency<K>,
        key: impl Fn(Head<'_>) -> K + Send + Sync + 'static,
    ) -> Self {
        Self::with_mode(limit, key, Mode::Wait(Wait::fifo()), Fail)
    }
}

impl<K, A> ConcurrencyLimitLayer<K, A> {
    fn with_mode(
        limit: Concurrency<K>,
        key: impl Fn(Head<'_>) -> K + Send + Sync + 'static,
        mode: Mode,
        refuse: A,
    ) -> Self {
        let rules = Rules { mode, enforce: Enforce::ALL, key: Arc::new(key), priority: None };
        let manner = Manner { refuse, classify: ByStatus::default(), observer: () };
        Self { limit, rules, manner }
    }
}

impl<K, A, C, O> ConcurrencyLimitLayer<K, A, C, O> {
    /// A call for which no place is free is refused at once. Default of `inbound`.
    pub fn reject(mut self) -> Self {
        self.rules.mode = Mode::Reject;
        self
    }

    /// A call for which no place is free waits in line. Default of `outbound`, with [`Wait::fifo`].
    ///
    /// The service is then always ready, and the inner one is asked once there is a place: those
    /// who wait hold nothing of it.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.rules.mode = Mode::Wait(wait);
        self
    }

    /// A call for which no place is free is refused at once, and those of lower
    /// [priority](Self::priority) before that.
    pub fn shed(mut self, shed: Shed) -> Self {
        self.rules.mode = Mode::Shed(shed);
        self
    }

    /// The share of refused calls that are refused indeed, from 0 to 1; the others go on without a place,
    /// and the observer is told of them all the same. Default: 1. With 0 one sees what a setting
    /// would do.
    ///
    /// # Errors
    ///
    /// Unless it is from 0 to 1.
    pub fn enforce(mut self, share: f64) -> Result<Self, SettingError> {
        self.rules.enforce = Enforce::share(share)?;
        Ok(self)
    }

    /// How important a call is. Default: all alike, [`Priority::FIRST`].
    pub fn priority(
        mut self,
        priority: impl Fn(Head<'_>) -> Priority + Send + Sync + 'static,
    ) -> Self {
        self.rules.priority = Some(Arc::new(priority));
        self
    }

    /// Refused calls are answered by `refuse`: [`Problem`], [`Bare`](crate::overload::Bare), or a
    /// closure `Fn(&Overloaded, Head<'_>) -> Response<B>`. Default of `inbound`: [`Problem`].
    pub fn answer<R>(self, refuse: R) -> ConcurrencyLimitLayer<K, Answer<R>, C, O> {
        self.refuse(Answer(refuse))
    }

    /// Refused calls fail with [`Overloaded`](super::Overloaded) in a boxed error. Default of
    /// `outbound`.
    pub fn fail(self) -> ConcurrencyLimitLayer<K, Fail, C, O> {
        self.refuse(Fail)
    }

    fn refuse<A2>(self, refuse: A2) -> ConcurrencyLimitLayer<K, A2, C, O> {
        let Self { limit, rules, manner } = self;
        let Manner { classify, observer, .. } = manner;
        ConcurrencyLimitLayer { limit, rules, manner: Manner { refuse, classify, observer } }
    }

    /// Judges answers, for a limit that is found. Default: [`ByStatus`].
    pub fn classify<C2>(self, classify: C2) -> ConcurrencyLimitLayer<K, A, C2, O> {
        let Self { limit, rules, manner } = self;
        let Manner { refuse, observer, .. } = manner;
        ConcurrencyLimitLayer { limit, rules, manner: Manner { refuse, classify, observer } }
    }

    /// Who is told what happens. Default: nobody.
    pub fn observer<O2: Observer>(self, observer: O2) -> ConcurrencyLimitLayer<K, A, C, O2> {
        let Self { limit, rules, manner } = self;
        let Manner { refuse, classify, .. } = manner;
        ConcurrencyLimitLayer { limit, rules, manner: Manner { refuse, classify, observer } }
    }
}

impl<S, K, A, C, O> Layer<S> for ConcurrencyLimitLayer<K, A, C, O>
where
    A: Clone,
    C: Clone,
    O: Clone,
{
    type Service = ConcurrencyLimit<S, K, A, C, O>;

    fn layer(&self, inner: S) -> Self::Service {
        let (limit, rules) = (self.limit.clone(), self.rules.clone());
        ConcurrencyLimit::new(inner, limit, rules, self.manner.clone())
    }
}

impl<K> Clone for Rules<K> {
    fn clone(&self) -> Self {
        let (key, priority) = (Arc::clone(&self.key), self.priority.clone());
        Self { mode: self.mode, enforce: self.enforce, key, priority }
    }
}

impl<K, A: Clone, C: Clone, O: Clone> Clone for ConcurrencyLimitLayer<K, A, C, O> {
    fn clone(&self) -> Self {
        let (limit, rules) = (self.limit.clone(), self.rules.clone());
        Self { limit, rules, manner: self.manner.clone() }
    }
}

impl<K, A, C, O> fmt::Debug for ConcurrencyLimitLayer<K, A, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimitLayer")
            .field("limit", &self.limit)
            .field("mode", &self.rules.mode)
            .finish_non_exhaustive()
    }
}
