//! The layer, which is its own builder.

use std::{
    error::Error,
    sync::{Arc, OnceLock},
    time::Duration,
};

use buttress_core::{Outcome, SettingError};
use http::{HeaderMap, StatusCode};
use tower_layer::Layer;

use crate::{
    Adaptive, Balance, Balancer, EndpointSet, Health, LearnedLimit, LeastRequest, NextUpstream,
    Observer, Panic, Pick, Rewrite, SharedClient,
    failover::{CloneBodies, Once},
    judge::Judge,
    observe::watch,
    target::{PerEndpoint, Target},
    wait::Queue,
};

/// Spreads calls over the endpoints of a set, leaves out those that fail, and goes on to another
/// one where that is safe.
///
/// The layer is its own builder. `P` chooses ([`Pick`]), `T` is what sends a request to its endpoint
/// ([`SharedClient`] or [`PerEndpoint`]), `O` is told what happens ([`Observer`]), `M` is how a body gets
/// to the next endpoint ([`CloneBodies`] or [`Once`]).
///
/// All the services made by one layer and its clones choose together; what is in flight and what
/// is known of an endpoint's health belongs to the [`EndpointSet`].
#[must_use]
#[derive(Debug)]
pub struct BalanceLayer<P: Pick = Adaptive, T = SharedClient, O = (), M = CloneBodies> {
    set: EndpointSet,
    policy: P,
    health: Health,
    learned: Option<LearnedLimit>,
    target: T,
    settings: Settings<O, M>,
    /// Made with the first service; settings that it depends on begin it anew.
    balancer: Arc<OnceLock<Balancer<P>>>,
}

/// What a call needs to know; shared by all the calls of a service.
#[derive(Clone, Debug)]
pub(crate) struct Settings<O, M> {
    pub(crate) observer: O,
    pub(crate) bodies: M,
    pub(crate) rules: Rules,
}

/// The settings that are the same whatever the types.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) rewrite: Rewrite,
    pub(crate) next: NextUpstream,
    pub(crate) queue: Queue,
    pub(crate) judge: Judge,
    pub(crate) cancel_after: Option<Duration>,
    pub(crate) heed_hints: bool,
    pub(crate) mark: bool,
}

impl Rules {
    /// How many may wait to go on, and for how long since they began.
    pub(crate) fn line(&self) -> Queue {
        let Queue { most, timeout } = self.queue;
        Queue { most, timeout: self.next.time().map_or(timeout, |within| within.min(timeout)) }
    }
}

impl<P: Pick + Clone, T: Clone, O: Clone, M: Clone> Clone for BalanceLayer<P, T, O, M> {
    fn clone(&self) -> Self {
        Self {
            set: self.set.clone(),
            policy: self.policy.clone(),
            health: self.health.clone(),
            learned: self.learned,
            target: self.target.clone(),
            settings: self.settings.clone(),
            balancer: Arc::clone(&self.balancer),
        }
    }
}

impl BalanceLayer {
    /// Spreads calls over `set`, with the defaults of every setting below.
    pub fn new(set: EndpointSet) -> Self {
        let rules = Rules {
            rewrite: Rewrite::new(),
            next: NextUpstream::default(),
            queue: Queue { most: 1_024, timeout: Duration::from_secs(5) },
            judge: Judge::default(),
            cancel_after: None,
            heed_hints: true,
            mark: true,
        };
        Self {
            set,
            policy: Adaptive::new(),
            health: Health::new(),
            learned: None,
            target: SharedClient,
            settings: Settings { observer: (), bodies: CloneBodies, rules },
            balancer: Arc::default(),
        }
    }
}

impl<P: Pick, T, O, M> BalanceLayer<P, T, O, M> {
    /// Chooses by `policy`. Default: [`Adaptive`].
    pub fn policy<P2: Pick>(self, policy: P2) -> BalanceLayer<P2, T, O, M> {
        let Self { set, health, learned, target, settings, .. } = self;
        BalanceLayer { set, policy, health, learned, target, settings, balancer: Arc::default() }
    }

    /// Chooses the endpoint with the fewest calls in flight for its weight: nginx's `least_conn`.
    pub fn least_request(self) -> BalanceLayer<LeastRequest, T, O, M> {
        self.policy(LeastRequest::new())
    }

    /// When endpoints are left out, and for how long. Default: [`Health::new`].
    pub fn health(mut self, health: Health) -> Self {
        self.health = health;
        self.anew()
    }

    /// How many failures in a row eject an endpoint at the least; see [`Health::max_fails`].
    /// Default: 3.
    pub fn max_fails(mut self, failures: u32) -> Self {
        self.health = self.health.max_fails(failures);
        self.anew()
    }

    /// How long the first ejection lasts; see [`Health::fail_timeout`]. Default: 30 seconds.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn fail_timeout(mut self, time: Duration) -> Result<Self, SettingError> {
        self.health = self.health.fail_timeout(time)?;
        Ok(self.anew())
    }

    /// What happens to a call when every endpoint is out. Default: [`Panic::UseAll`].
    pub fn panic(mut self, panic: Panic) -> Self {
        self.health = self.health.panic(panic);
        self.anew()
    }

    /// Over how long an endpoint that was added or is back in use comes to its full share.
    /// Default: at once.
    pub fn slow_start(mut self, time: Duration) -> Self {
        self.health = self.health.slow_start(time);
        self.anew()
    }

    /// nginx's own rules, with their faults: [`Health::nginx_exact`].
    pub fn nginx_exact(mut self) -> Self {
        self.health = self.health.nginx_exact();
        self.anew()
    }

    /// Learns for each endpoint how many calls it may have in flight. Default: no limit but the
    /// endpoints' own.
    pub fn learned_limit(mut self, limit: LearnedLimit) -> Self {
        self.learned = Some(limit);
        self.anew()
    }

    /// How many calls may wait in line, and how long each may, when no endpoint has a place free.
    /// First come, first served. Default: 1024, for 5 seconds from the call's beginning.
    ///
    /// So does a call that [may go on](NextUpstream) after a refusal, while all that it has not tried are
    /// full, or were tried and may be [tried again](NextUpstream::revisit) later; it keeps its turn by when it
    /// began.
    ///
    /// A call that has waited in vain fails, or goes to an endpoint that asked to be left alone.
    /// With a line of 0 or a time of zero, none waits.
    pub const fn queue(mut self, calls: usize, timeout: Duration) -> Self {
        self.settings.rules.queue = Queue { most: calls, timeout };
        self
    }

    /// When a call goes on to the next endpoint. Default: [`NextUpstream::default`].
    pub fn next_upstream(mut self, next: NextUpstream) -> Self {
        self.settings.rules.next = next;
        self
    }

    /// Sends every call to one endpoint only, whatever its body.
    pub fn without_failover(self) -> BalanceLayer<P, T, O, Once> {
        let Self { set, policy, health, learned, target, settings, balancer } = self;
        let Settings { observer, rules, .. } = settings;
        let settings = Settings { observer, bodies: Once, rules };
        BalanceLayer { set, policy, health, learned, target, settings, balancer }
    }

    /// How requests are rewritten for an endpoint. Default: [`Rewrite::new`].
    pub fn rewrite(mut self, rewrite: Rewrite) -> Self {
        self.settings.rules.rewrite = rewrite;
        self
    }

    /// Makes a service for each endpoint from the inner one, instead of sending all requests
    /// through that. `make` runs when an endpoint is first chosen.
    ///
    /// Addresses of one host name, each with a client that connects to it and to no other. `Host`
    /// and, over TLS, the server name and the certificate stay those of the URI:
    ///
    /// ```
    /// use buttress_balance::{BalanceLayer, Endpoint, EndpointSet};
    /// use bytes::Bytes;
    /// use http_body_util::Full;
    /// use hyper_util::{
    ///     client::legacy::{Client, connect::{HttpConnector, dns::Name}},
    ///     rt::TokioExecutor,
    /// };
    /// use std::{future::ready, io};
    /// use tower::{ServiceBuilder, service_fn};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let at = |address: &str| -> Result<Endpoint, Box<dyn std::error::Error>> {
    ///     let endpoint = Endpoint::new("https://api.example.com")?;
    ///     Ok(endpoint.address(address.parse()?).name(address))
    /// };
    /// let set = EndpointSet::new([at("192.0.2.1:443")?, at("192.0.2.2:443")?])?;
    /// let pinned = |endpoint: &Endpoint, (): &()| {
    ///     let address = endpoint.connects_to();
    ///     let known = service_fn(move |_: Name| ready(Ok::<_, io::Error>(address.into_iter())));
    ///     let mut tcp = HttpConnector::new_with_resolver(known);
    ///     tcp.enforce_http(false);
    ///     // For TLS: `hyper_rustls::HttpsConnectorBuilder`, its `wrap_connector(tcp)`.
    ///     Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(tcp)
    /// };
    /// let client = ServiceBuilder::new()
    ///     .layer(BalanceLayer::new(set).per_endpoint(pinned))
    ///     .service(());
    /// # drop(client);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A unix socket is the same with a connector of two lines, `UnixStream::connect` and
    /// `TokioIo::new`, and its path for the endpoint's name; for tonic, `make` returns
    /// `Channel::builder(endpoint.uri().clone()).connect_lazy()`.
    pub fn per_endpoint<F>(self, make: F) -> BalanceLayer<P, PerEndpoint<F>, O, M> {
        let target = PerEndpoint::new(make);
        let Self { set, policy, health, learned, settings, balancer, .. } = self;
        BalanceLayer { set, policy, health, learned, target, settings, balancer }
    }

    /// Who is told what happens. Default: nobody.
    pub fn observer<O2: Observer>(self, observer: O2) -> BalanceLayer<P, T, O2, M> {
        let Self { set, policy, health, learned, target, settings, .. } = self;
        let Settings { bodies, rules, .. } = settings;
        let settings = Settings { observer, bodies, rules };
        BalanceLayer { set, policy, health, learned, target, settings, balancer: Arc::default() }
    }

    /// Judges by `grpc-status`, in headers and trailers, where a response has one.
    ///
    /// A status that asks for another attempt ejects its endpoint sooner or later, but sends no call
    /// on: tonic's bodies go out once. `RetryLayer::grpc` outside repeats it, and goes to an endpoint
    /// that was not tried, even if the status came in the trailers.
    pub const fn grpc(mut self) -> Self {
        self.settings.rules.judge.grpc = true;
        self
    }

    /// Judges a response's head before the standard rules do; `None` leaves it to them.
    pub fn classify_response(
        mut self,
        judge: impl Fn(StatusCode, &HeaderMap) -> Option<Outcome> + Send + Sync + 'static,
    ) -> Self {
        self.settings.rules.judge.response = Some(Arc::new(judge));
        self
    }

    /// Judges errors before the standard rules do; `None` leaves an error to them.
    pub fn classify_error(
        mut self,
        judge: impl Fn(&(dyn Error + 'static)) -> Option<Outcome> + Send + Sync + 'static,
    ) -> Self {
        self.settings.rules.judge.error = Some(Arc::new(judge));
        self
    }

    /// A call that is dropped after it waited so long for an answer counts as its endpoint's
    /// failure. Default: a dropped call says nothing.
    ///
    /// For a time limit that stands outside of this layer. Inside of it, none is needed.
    ///
    /// # Errors
    ///
    /// If it is 0: every caller that changes its mind would be its endpoint's failure.
    pub fn cancel_after(mut self, limit: Duration) -> Result<Self, SettingError> {
        if limit.is_zero() {
            return Err(SettingError::new("balance.cancel_after", "0s; it must be longer"));
        }
        self.settings.rules.cancel_after = Some(limit);
        Ok(self)
    }

    /// Leaves the extension [`Served`](crate::Served) out of responses, which then cost no
    /// allocation. A retry outside learns nothing then of an endpoint whose [`grpc`](Self::grpc)
    /// status comes in the trailers.
    pub const fn unmarked(mut self) -> Self {
        self.settings.rules.mark = false;
        self
    }

    fn anew(mut self) -> Self {
        self.balancer = Arc::default();
        self
    }
}

impl<S, P, T, O, M> Layer<S> for BalanceLayer<P, T, O, M>
where
    P: Pick + Clone,
    T: Target<S> + Clone,
    O: Observer + Send + Sync + 'static,
    M: Clone,
{
    type Service = Balance<T::Link, P, O, M>;

    fn layer(&self, inner: S) -> Self::Service {
        let balancer = self.balancer.get_or_init(|| {
            let (set, policy) = (self.set.clone(), self.policy.clone());
            let watch = watch(self.settings.observer.clone());
            Balancer::watched(set, policy, self.health.clone(), self.learned, Some(watch))
        });
        let mut settings = self.settings.clone();
        settings.rules.heed_hints = self.health.max_hold.is_some();
        let link = self.target.link(inner, &self.set);
        Balance::new(link, balancer.clone(), Arc::new(settings))
    }
}
