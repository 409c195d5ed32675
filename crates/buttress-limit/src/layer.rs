//! The layer, which is its own builder.

use std::{fmt, sync::Arc, time::Duration};

use buttress_core::SettingError;
use http::Response;
use tower_layer::Layer;

use crate::{
    answer::{RespondWith, Standard},
    cost::Cost,
    head::Head,
    keys::{ClientIp, Global, RequestKey},
    learn::Learn,
    limiter::{Denied, Limiter, Tier},
    local::Local,
    rules::{MissingKey, Rules},
    service::RateLimit,
    settle::Settle,
};

/// Lets a request pass if its key's quota allows it.
///
/// The layer is its own builder. `L` decides ([`Limiter`]), `K` says whose quota it is
/// ([`RequestKey`]), `R` answers what is not admitted ([`Respond`](crate::Respond)), `O` is told what
/// happens ([`Observer`](crate::Observer)). The limiter is a handle made outside; the layer and its
/// services only clone it.
#[must_use]
pub struct RateLimitLayer<L = Local, K = ClientIp, R = Standard, O = ()> {
    limiter: L,
    key: Arc<K>,
    settings: Settings<R, O>,
}

/// What all the calls of a service share.
#[derive(Clone)]
pub(crate) struct Settings<R, O> {
    pub(crate) rules: Rules,
    pub(crate) respond: R,
    pub(crate) observer: O,
}

impl<L: Limiter> RateLimitLayer<L> {
    /// In front of a server: a quota for each client's address, and a 429 for what is beyond it.
    pub fn inbound(limiter: L) -> Self {
        Self::with(limiter, ClientIp::peer(), Rules::new())
    }
}

impl<L: Limiter> RateLimitLayer<L, Global> {
    /// In front of somebody else's server: one quota for all requests, in which they wait in line
    /// for up to 30 seconds, and which learns from what the server says of it.
    pub fn outbound(limiter: L) -> Self {
        let mut rules = Rules::new();
        rules.learn = Some(Learn::new());
        rules.waiting(Duration::from_secs(30));
        rules.marked = true;
        Self::with(limiter, Global::new(), rules)
    }
}

impl<L, K> RateLimitLayer<L, K> {
    fn with(limiter: L, key: K, rules: Rules) -> Self {
        let settings = Settings { rules, respond: Standard::default(), observer: () };
        Self { limiter, key: Arc::new(key), settings }
    }
}

/// How requests are told apart, and what they cost.
impl<L, K, R, O> RateLimitLayer<L, K, R, O> {
    /// Whose quota a request counts against. Default: inbound the [peer](ClientIp::peer), outbound
    /// [one for all](Global).
    pub fn key<K2: RequestKey>(self, key: K2) -> RateLimitLayer<L, K2, R, O> {
        let Self { limiter, settings, .. } = self;
        RateLimitLayer { limiter, key: Arc::new(key), settings }
    }

    /// What happens to requests without a key. Default: [`MissingKey::Share`].
    ///
    /// # Errors
    ///
    /// If it is a status that is not of a client error.
    pub fn missing_key(mut self, missing: MissingKey) -> Result<Self, SettingError> {
        if let MissingKey::Status(status) = missing
            && !status.is_client_error()
        {
            let reason = format!("{status}, not a status from 400 to 499");
            return Err(SettingError::new("missing_key", reason));
        }
        self.settings.rules.missing = missing;
        Ok(self)
    }

    /// Which requests are not limited at all: health checks, preflights. Default: none.
    pub fn exempt(mut self, exempt: impl Fn(&Head<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.settings.rules.exempt = Some(Arc::new(exempt));
        self
    }

    /// What a request costs. Default: [`Cost::request`].
    pub fn cost(mut self, cost: impl Fn(&Head<'_>) -> Cost + Send + Sync + 'static) -> Self {
        self.settings.rules.cost = Some(Arc::new(cost));
        self
    }

    /// Counts a request that costs more than this as if it cost this, as with
    /// [`Policy::most`](crate::Policy::most): it passes when a whole burst is there, instead of
    /// never. What it comes to beyond that is a debt. Default: unbounded.
    pub fn max_cost(mut self, most: Cost) -> Self {
        self.settings.rules.most = Some(most);
        self
    }

    /// Which of the limiter's policies holds for a request's key. Default: the first.
    pub fn tier(mut self, tier: impl Fn(&Head<'_>) -> Tier + Send + Sync + 'static) -> Self {
        self.settings.rules.tier = Some(Arc::new(tier));
        self
    }

    /// Finds out what requests came to, from their answers. Default: they came to what they cost.
    pub fn settle(mut self, settle: impl Settle + Send + Sync + 'static) -> Self {
        self.settings.rules.settle = Some(Arc::new(settle));
        self
    }

    /// Puts a [`Bill`](crate::Bill) into the extensions of each admitted request and of its answer.
    /// Default: none.
    pub const fn billed(mut self) -> Self {
        self.settings.rules.billed = true;
        self
    }
}

/// What is done about a request that has no quota left.
impl<L, K, R, O> RateLimitLayer<L, K, R, O> {
    /// Refuses it at once. The default inbound.
    pub fn reject(mut self) -> Self {
        self.settings.rules.wait = None;
        self
    }

    /// Lets it wait in line, first come, first served, for as long as this. The default outbound, for
    /// 30 seconds.
    ///
    /// A request that would have to wait longer is refused at once. The inner service is asked to
    /// become ready only when the request is admitted, so those who wait hold nothing of it.
    pub fn wait(mut self, max: Duration) -> Self {
        self.settings.rules.waiting(max);
        self
    }

    /// How many may wait for one key. Default: 1000. Nothing without [`wait`](Self::wait).
    pub fn max_queue(mut self, requests: usize) -> Self {
        if let Some(wait) = &mut self.settings.rules.wait {
            wait.queue = requests;
        }
        self
    }

    /// The class of a request that waits: 0 goes first, and a request of any class counts as having
    /// come `age` later than one of the class before. So the lower classes wait longer, but not
    /// forever. Default: all are of one class.
    pub fn priority(
        mut self,
        age: Duration,
        class: impl Fn(&Head<'_>) -> u8 + Send + Sync + 'static,
    ) -> Self {
        if let Some(wait) = &mut self.settings.rules.wait {
            wait.age = age;
        }
        self.settings.rules.class = Some(Arc::new(class));
        self
    }

    /// Keeps so many percent of each burst for the requests that are critical: the others are
    /// refused once there is no more than that. Default: nothing is kept.
    ///
    /// # Errors
    ///
    /// If it is more than 99.
    pub fn reserve(
        mut self,
        percent: u8,
        critical: impl Fn(&Head<'_>) -> bool + Send + Sync + 'static,
    ) -> Result<Self, SettingError> {
        if percent > 99 {
            return Err(SettingError::new("reserve", format!("{percent} percent, more than 99")));
        }
        self.settings.rules.spare = Some((percent, Arc::new(critical)));
        Ok(self)
    }

    /// Only watches: evaluates and counts every request, and enforces what comes of it for this
    /// share of them, from 0 to 1. Nobody waits unless it is enforced. Default: 1, for all.
    ///
    /// # Errors
    ///
    /// If it is not from 0 to 1.
    pub fn enforce(mut self, share: f64) -> Result<Self, SettingError> {
        if !(0.0..=1.0).contains(&share) {
            return Err(SettingError::new("enforce", format!("{share}, not from 0 to 1")));
        }
        self.settings.rules.enforced = share;
        Ok(self)
    }

    /// Learns from what the inner service's answers say of its own quota. Default: outbound with
    /// [`Learn::new`], inbound not.
    pub const fn learn(mut self, learn: Learn) -> Self {
        self.settings.rules.learn = Some(learn);
        self
    }

    /// Learns nothing. The default inbound.
    pub const fn ignore_upstream(mut self) -> Self {
        self.settings.rules.learn = None;
        self
    }
}

/// What is said about it.
impl<L, K, R, O> RateLimitLayer<L, K, R, O> {
    /// Puts `RateLimit` and `RateLimit-Policy` on every answer, unless the inner service has put some
    /// there. They say what the quota had left when the request was admitted. Default: only on those to
    /// requests that are refused.
    pub const fn headers(mut self) -> Self {
        self.settings.rules.fields = true;
        self
    }

    /// Answers requests that are refused by `respond`. Default: [`Standard`].
    pub fn responder<R2>(self, respond: R2) -> RateLimitLayer<L, K, R2, O> {
        let Self { limiter, key, settings: Settings { rules, observer, .. } } = self;
        RateLimitLayer { limiter, key, settings: Settings { rules, respond, observer } }
    }

    /// Answers requests that are refused with what `respond` makes of them.
    pub fn respond_with<B, F>(self, respond: F) -> RateLimitLayer<L, K, RespondWith<F>, O>
    where
        F: Fn(&Denied, &Head<'_>) -> Response<B>,
    {
        self.responder(RespondWith(respond))
    }

    /// Puts the [`Denied`] into the extensions of answers to requests that are refused, by which they
    /// are told from the inner service's own. Default: outbound yes, inbound no.
    pub const fn marked(mut self, yes: bool) -> Self {
        self.settings.rules.marked = yes;
        self
    }

    /// Is told what happens.
    pub fn observer<O2>(self, observer: O2) -> RateLimitLayer<L, K, R, O2> {
        let Self { limiter, key, settings: Settings { rules, respond, .. } } = self;
        RateLimitLayer { limiter, key, settings: Settings { rules, respond, observer } }
    }
}

impl<L, K, O> RateLimitLayer<L, K, Standard, O> {
    /// Sheds load: what is refused is answered with 503, as by a server with too much to do.
    /// Default: 429, as by one whose client asks too much.
    pub const fn shed(mut self) -> Self {
        self.settings.respond.shed = true;
        self
    }

    /// Says `X-RateLimit-Limit`, `-Remaining` and `-Reset` too, where [`headers`](Self::headers) are.
    /// Default: not.
    pub const fn legacy_headers(mut self) -> Self {
        self.settings.respond.legacy = true;
        self.settings.rules.legacy = true;
        self
    }

    /// Adds up to so much to `Retry-After`, so that not all come back at once. Default: nothing.
    pub const fn jitter(mut self, most: Duration) -> Self {
        self.settings.respond.jitter = most;
        self
    }
}

impl<S, L: Limiter, K, R: Clone, O: Clone> Layer<S> for RateLimitLayer<L, K, R, O> {
    type Service = RateLimit<S, L, K, R, O>;

    fn layer(&self, inner: S) -> Self::Service {
        let settings = Arc::new(self.settings.clone());
        RateLimit::new(inner, self.limiter.clone(), Arc::clone(&self.key), settings)
    }
}

impl<L: Clone, K, R: Clone, O: Clone> Clone for RateLimitLayer<L, K, R, O> {
    fn clone(&self) -> Self {
        let (limiter, key) = (self.limiter.clone(), Arc::clone(&self.key));
        Self { limiter, key, settings: self.settings.clone() }
    }
}

impl<L: fmt::Debug, K, R: fmt::Debug, O> fmt::Debug for RateLimitLayer<L, K, R, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("limiter", &self.limiter)
            .field("rules", &self.settings.rules)
            .field("respond", &self.settings.respond)
            .finish_non_exhaustive()
    }
}
