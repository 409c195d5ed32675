//! The layer, which is its own builder.

use std::{fmt, sync::Arc};

use buttress_core::{ByStatus, SettingError};
use tower_layer::Layer;

use super::{Observer, Throttle, Throttling};
use crate::overload::{Answer, Enforce, Fail, Head};

pub(super) type KeyOf<K> = Arc<dyn Fn(Head<'_>) -> K + Send + Sync>;

/// Sends fewer calls to a side that mostly says that it is busy.
///
/// Refusing a call costs a server that has too much to do some of what it lacks. So as long as it
/// refuses many, this layer refuses calls by the [`Rule`](super::Rule) before they are sent: they
/// fail at once with [`Throttled`](super::Throttled). Until the first busy answer (429, 503, 529,
/// gRPC status 8) it does nothing.
///
/// What is known of the other side is in a [`Throttling`], made by the user. The layer is its own
/// builder. `K` is what is judged apart, `A` says how a call is refused ([`Fail`] or [`Answer`]),
/// `C` judges answers, `O` is told what happens ([`Observer`]).
#[must_use]
pub struct ThrottleLayer<K = (), A = Fail, C = ByStatus, O = ()> {
    throttling: Throttling<K>,
    key: KeyOf<K>,
    manner: Manner<A, C, O>,
}

/// How a call is refused, judged and reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<A, C, O> {
    pub(super) refuse: A,
    pub(super) classify: C,
    pub(super) observer: O,
    pub(super) timeouts: bool,
    pub(super) enforce: Enforce,
}

impl ThrottleLayer {
    /// Judges all calls together.
    pub fn new(throttling: Throttling) -> Self {
        Self::keyed(throttling, |_| ())
    }
}

impl<K> ThrottleLayer<K> {
    /// Judges calls apart by the key of the request.
    pub fn keyed(
        throttling: Throttling<K>,
        key: impl Fn(Head<'_>) -> K + Send + Sync + 'static,
    ) -> Self {
        let classify = ByStatus::default();
        let manner =
            Manner { refuse: Fail, classify, observer: (), timeouts: false, enforce: Enforce::ALL };
        Self { throttling, key: Arc::new(key), manner }
    }
}

impl<K, A, C, O> ThrottleLayer<K, A, C, O> {
    /// Refused calls are answered by `refuse`: [`Problem`](crate::overload::Problem),
    /// [`Bare`](crate::overload::Bare), or a closure `Fn(&Throttled, Head<'_>) -> Response<B>`.
    /// Default: they fail.
    pub fn answer<R>(self, refuse: R) -> ThrottleLayer<K, Answer<R>, C, O> {
        let Self { throttling, key, manner } = self;
        let Manner { classify, observer, timeouts, enforce, .. } = manner;
        let refuse = Answer(refuse);
        let manner = Manner { refuse, classify, observer, timeouts, enforce };
        ThrottleLayer { throttling, key, manner }
    }

    /// Judges answers. Default: [`ByStatus`].
    pub fn classify<C2>(self, classify: C2) -> ThrottleLayer<K, A, C2, O> {
        let Self { throttling, key, manner } = self;
        let Manner { refuse, observer, timeouts, enforce, .. } = manner;
        let manner = Manner { refuse, classify, observer, timeouts, enforce };
        ThrottleLayer { throttling, key, manner }
    }

    /// An answer that does not come in time counts as a busy one. Default: it does not count, for
    /// it may have other reasons.
    pub const fn timeouts(mut self) -> Self {
        self.manner.timeouts = true;
        self
    }

    /// The share of refused calls that are refused indeed, from 0 to 1; the others go on,
    /// and the observer is told of them all the same. Default: 1. With 0 one sees what a setting
    /// would do.
    ///
    /// # Errors
    ///
    /// Unless it is from 0 to 1.
    pub fn enforce(mut self, share: f64) -> Result<Self, SettingError> {
        self.manner.enforce = Enforce::share(share)?;
        Ok(self)
    }

    /// Who is told what happens. Default: nobody.
    pub fn observer<O2: Observer>(self, observer: O2) -> ThrottleLayer<K, A, C, O2> {
        let Self { throttling, key, manner } = self;
        let Manner { refuse, classify, timeouts, enforce, .. } = manner;
        let manner = Manner { refuse, classify, observer, timeouts, enforce };
        ThrottleLayer { throttling, key, manner }
    }
}

impl<S, K, A: Clone, C: Clone, O: Clone> Layer<S> for ThrottleLayer<K, A, C, O> {
    type Service = Throttle<S, K, A, C, O>;

    fn layer(&self, inner: S) -> Self::Service {
        let (throttling, key) = (self.throttling.clone(), Arc::clone(&self.key));
        Throttle::new(inner, throttling, key, self.manner.clone())
    }
}

impl<K, A: Clone, C: Clone, O: Clone> Clone for ThrottleLayer<K, A, C, O> {
    fn clone(&self) -> Self {
        let (throttling, key) = (self.throttling.clone(), Arc::clone(&self.key));
        Self { throttling, key, manner: self.manner.clone() }
    }
}

impl<K, A, C, O> fmt::Debug for ThrottleLayer<K, A, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleLayer")
            .field("throttling", &self.throttling)
            .finish_non_exhaustive()
    }
}
