//! The order of the layers.
//!
//! From the gateway outwards, and why:
//!
//! 0. **Cache**, in a module of its own: an answer that is kept costs no attempt and no place.
//! 1. **Concurrency** (the `overload` module). Outside of the rest: what has to wait or is refused has not
//!    begun, and holds nothing.
//! 2. **Estimate** (the `ahead` module), where tokens are limited: what a request asks is read. Outside of
//!    retry, so that it is read once; inside of concurrency, so that what has to wait or is refused is not.
//! 3. **Retry** ([`Log`] watches it). Outside of what follows, so that each attempt may go to another upstream
//!    and has a first-byte timeout of its own. One budget for both policies: it is the upstreams
//!    that it protects, and those are the same.
//! 4. **Commit**, for `llm` only. Inside of retry, so that an answer that ends before it has begun
//!    is an attempt that failed.
//! 5. **Rate limit**. Inside of retry, since an upstream counts every attempt; outside of balance, so
//!    that what waits has no upstream yet.
//! 6. **Throttle** (the `overload` module). Inside of retry, so that each attempt counts; outside of
//!    balance, which spares single upstreams, while this is for all of them together.
//! 7. **Balance**. One set of upstreams for all policies: what is in flight and who is ejected is
//!    the same for all.
//! 8. **Transport**: first-byte and idle-read timeouts, the pool, connect timeout, TLS, and one
//!    handle for names under all of it.

use std::{fs, time::Duration};

use buttress::{
    Setup,
    balance::ResponseBody,
    client::Elsewhere,
    transport::{Transport, TransportBody},
};
use buttress_core::{BoxError, ReadAhead};
use buttress_retry::{
    Backoff, Budget, Commit, Done, EmptyBudget, Held, HeldBody, HttpPolicy, Observer, ReplayBodies,
    ReplayLimits, ReplayMemory, Retry, RetryLayer, Retrying, SettingError,
};
use http::{Request, Response, Uri};
use http_body_util::Either;
use tower::{Layer, ServiceExt as _};

use super::{
    Arguments, Error, Policy, Protocol, Upstream,
    ahead::ReadsAhead,
    balance::{self, Choice},
    cache::Sends,
    exchange::Chain,
    limits::{self, Limited},
    names::Handle,
    overload::{self, Concurrency},
    upload::RequestBody,
};

/// A ping after this much silence on an HTTP/2 connection with open requests, and the time to
/// answer it.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// The path of every API that speaks the dialect of `OpenAI`.
const LLM_PATH: &str = "/v1/";

type Sparing = overload::Throttled<<balance::Layer as Layer<Transport>>::Service>;
type Balanced = <limits::Outbound as Layer<Sparing>>::Service;
type Llm = Retry<Commit<Balanced>, Elsewhere<HttpPolicy<ReplayBodies, Held>>, Log>;
type Http = Retry<Balanced, Elsewhere<HttpPolicy<ReplayBodies>>, Log>;

/// What an upstream answers with, counted as in flight to its end.
type BalancedBody = Limited<overload::ThrottledBody<ResponseBody<TransportBody, Choice>>>;

/// The same, counted as under way to its end.
pub(crate) type UpstreamBody = overload::ConcurrentBody<StackBody>;

/// The same as it comes out of the layers of a policy.
pub(crate) type StackBody = Either<HeldBody<BalancedBody>, Either<BalancedBody, TransportBody>>;

/// The layers over the pool, one set for each policy.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    concurrency: Concurrency,
    ahead: Option<ReadsAhead>,
    policy: Policy,
    /// Whether the path of an upstream itself says that it is an LLM API.
    llm_base: bool,
    llm: Llm,
    http: Http,
    balanced: Balanced,
    /// A change of protocol is known to HTTP/1.1 only.
    upgrades: Balanced,
    /// For what asks for no resource of an upstream, but for the server.
    first: Upstream,
    transport: Transport,
    names: Handle,
    http1_only: bool,
}

impl Stack {
    /// Builds the layers; opens no connection.
    ///
    /// # Errors
    ///
    /// If a setting cannot be used; the error names the flag.
    pub(crate) fn new(arguments: &Arguments) -> Result<Self, Error> {
        let budget = Budget::percent(arguments.retry_budget)
            .map_err(|error| Error::setting("--retry-budget", error.to_string()))?;
        let limits = ReplayLimits::new()
            .per_request(arguments.max_body_replay.bytes())
            .memory(ReplayMemory::new(arguments.replay_memory.bytes()));
        let upstreams = &arguments.upstreams;
        let first = upstreams.first().ok_or_else(|| Error::setting("--upstream", "none given"))?;
        let set = balance::set(arguments)?;
        let balance = balance::layer(arguments, set.clone())?;
        let names = arguments.names.handle()?;
        let transport = transport(arguments, &names)?;
        let limit = limits::outbound(&arguments.limits, upstreams.len())?;
        let throttle = overload::throttle(&arguments.overload)?;
        let around = |balance: &balance::Layer| {
            limit.layer(throttle.layer(balance.layer(transport.clone())))
        };
        let balanced = around(&balance);
        // They choose together: it is one layer in two words.
        let replayed = around(&balance::replayed(balance.clone()));
        let llm = tune(RetryLayer::llm(), Defaults::LLM, arguments, budget.clone())?
            .replay(limits.clone())
            .map_policy(|policy| Elsewhere::new(repeat(policy, arguments), set.clone()));
        let http = tune(RetryLayer::http(), Defaults::HTTP, arguments, budget)?
            .replay(limits)
            .map_policy(|policy| {
                let policy = repeat(policy, arguments);
                // Behind a cache an answer is one, whatever its status: it is kept for as long as it
                // says, or one that is kept stands in for it.
                let taken = arguments.policy == Policy::Auto && arguments.cache.is_on();
                Elsewhere::new(if taken { policy.statuses([]) } else { policy }, set)
            });
        let plain = upstreams.iter().all(|upstream| !upstream.is_https())
            && arguments.upstream_protocol == Protocol::Auto;
        let upgrades = balance.layer(finish(setup(arguments, &names)?.http1_only())?);
        let llm_base = LLM_PATH.trim_end_matches('/');
        Ok(Self {
            concurrency: Concurrency::new(&arguments.overload)?,
            ahead: ReadsAhead::new(arguments),
            policy: arguments.policy,
            llm_base: upstreams.iter().any(|upstream| upstream.base().ends_with(llm_base)),
            llm: llm.observer(Log).layer(replayed),
            http: http.observer(Log).layer(balanced.clone()),
            balanced,
            upgrades: limit.layer(throttle.layer(upgrades)),
            first: first.clone(),
            transport,
            names,
            http1_only: plain || speaks_http1(arguments),
        })
    }

    /// What to ask for when the client asked for `target`. Which upstream is asked is seen to later,
    /// but for the asterisk of `OPTIONS *`, which means a whole server: the first one.
    pub(crate) fn aim(&self, target: &Uri) -> Result<Uri, http::Error> {
        match target.path_and_query() {
            Some(target) if target.path() == "*" => self.first.whole(),
            Some(target) => Ok(Uri::from(target.clone())),
            None => Ok(Uri::from_static("/")),
        }
    }

    /// What the upstreams' names are looked up with.
    pub(crate) const fn names(&self) -> &Handle {
        &self.names
    }

    /// Whether every connection to the upstream speaks HTTP/1.1, whatever it agrees on.
    pub(crate) const fn speaks_http1_only(&self) -> bool {
        self.http1_only
    }

    /// Sends a request through the layers of its policy, once there is a place for it.
    pub(crate) async fn send<B: Sends>(
        &self,
        request: Request<B>,
    ) -> Result<Response<UpstreamBody>, BoxError> {
        self.concurrency.run(request, |request| self.dispatch(request)).await
    }

    async fn dispatch<B: Sends>(
        &self,
        request: Request<B>,
    ) -> Result<Response<StackBody>, BoxError> {
        if request.uri().path() == "*" {
            let response = self.transport.clone().oneshot(request).await?;
            return Ok(response.map(Either::Right).map(Either::Right));
        }
        let request = match &self.ahead {
            Some(ahead) => ahead.read(request).await,
            None => request.map(ReadAhead::unread),
        };
        match self.policy_for(request.uri().path()) {
            Policy::Llm => {
                let response = self.llm.clone().oneshot(request).await?;
                Ok(response.map(Either::Left))
            }
            Policy::Off => once(&self.balanced, request).await,
            _ => {
                let response = self.http.clone().oneshot(request).await?;
                Ok(response.map(Either::Left).map(Either::Right))
            }
        }
    }

    /// Sends a request that asks for another protocol, once.
    pub(crate) async fn upgrade(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<UpstreamBody>, BoxError> {
        self.concurrency.run(request, |request| once(&self.upgrades, request)).await
    }

    /// The policy of a request for this path, or where an upstream's own path ends in `/v1`, of any
    /// request.
    fn policy_for(&self, path: &str) -> Policy {
        if self.policy != Policy::Auto {
            return self.policy;
        }
        if self.llm_base || path.starts_with(LLM_PATH) { Policy::Llm } else { Policy::Http }
    }
}

async fn once<B: Sends>(
    balanced: &Balanced,
    request: Request<B>,
) -> Result<Response<StackBody>, BoxError> {
    let response = balanced.clone().oneshot(request).await?;
    Ok(response.map(Either::Left).map(Either::Right))
}

/// What a preset waits between attempts, and how many it makes, where no flag says otherwise.
#[derive(Clone, Copy)]
struct Defaults {
    attempts: u32,
    min: Duration,
    max: Duration,
}

impl Defaults {
    const LLM: Self =
        Self { attempts: 6, min: Duration::from_millis(500), max: Duration::from_secs(8) };
    const HTTP: Self =
        Self { attempts: 3, min: Duration::from_millis(50), max: Duration::from_secs(10) };
}

/// Applies the flags that both policies share.
///
/// A request that needs a retry while the budget is empty waits in line, for `http` too: failing it
/// would be the gateway's own doing.
fn tune<P, C>(
    layer: RetryLayer<P, (), C>,
    defaults: Defaults,
    arguments: &Arguments,
    budget: Budget,
) -> Result<RetryLayer<P, (), C>, Error> {
    let attempts = arguments.attempts.unwrap_or(defaults.attempts);
    let refused = |error: SettingError| Error::setting("--attempts", error.to_string());
    let mut layer = layer
        .max_attempts(attempts)
        .map_err(refused)?
        .backoff(backoff(defaults, arguments)?)
        .budget(budget)
        .on_empty_budget(EmptyBudget::Wait);
    layer = layer.total_timeout(arguments.deadline.duration());
    layer = layer.attempt_timeout(arguments.attempt_timeout.duration());
    Ok(layer)
}

fn repeat<M, L>(policy: HttpPolicy<M, L>, arguments: &Arguments) -> HttpPolicy<M, L> {
    if arguments.non_idempotent { policy.treat_as_idempotent(|_| true) } else { policy }
}

/// One flag moves the other end along rather than clash with a default; two that clash are refused.
fn backoff(defaults: Defaults, arguments: &Arguments) -> Result<Backoff, Error> {
    let (min, max) = match (arguments.backoff_min, arguments.backoff_max) {
        (Some(min), Some(max)) => (min, max),
        (Some(min), None) => (min, defaults.max.max(min)),
        (None, Some(max)) => (defaults.min.min(max), max),
        (None, None) => (defaults.min, defaults.max),
    };
    let (shown_min, shown_max) = (humantime::format_duration(min), humantime::format_duration(max));
    Backoff::exponential(min, max).map_err(|_| {
        Error::setting(
            "--backoff-min",
            format!("{shown_min} is more than --backoff-max, {shown_max}"),
        )
    })
}

fn transport(arguments: &Arguments, names: &Handle) -> Result<Transport, Error> {
    let setup = setup(arguments, names)?;
    finish(match arguments.upstream_protocol {
        _ if speaks_http1(arguments) => setup.http1_only(),
        Protocol::Http2 => setup.http2_prior_knowledge(),
        _ => setup,
    })
}

/// Over HTTP/2 the host of the URI and that of the request cannot differ.
fn speaks_http1(arguments: &Arguments) -> bool {
    arguments.preserve_host || arguments.upstream_protocol == Protocol::Http1
}

fn setup(arguments: &Arguments, names: &Handle) -> Result<Setup<()>, Error> {
    if arguments.preserve_host && arguments.upstream_protocol == Protocol::Http2 {
        let reason = "it needs HTTP/1.1, and --upstream-protocol says http2";
        return Err(Error::setting("--preserve-host", reason));
    }
    let mut setup = Transport::builder()
        .dns(names.clone())
        .connect_timeout(arguments.connect_timeout)
        .http1_preserve_header_case(true)
        .http2_keep_alive(PING.0, PING.1);
    if let Some(limit) = arguments.first_byte_timeout.duration() {
        setup = setup.first_byte_timeout(limit);
    }
    if let Some(limit) = arguments.idle_read_timeout.duration() {
        setup = setup.idle_read_timeout(limit);
    }
    let Some(file) = &arguments.upstream_ca else { return Ok(setup) };
    let refused =
        |reason: String| Error::setting("--upstream-ca", format!("{}: {reason}", file.display()));
    let pem = fs::read(file).map_err(|error| refused(error.to_string()))?;
    setup.root_certificates(pem).map_err(|error| refused(error.to_string()))
}

fn finish(setup: Setup<()>) -> Result<Transport, Error> {
    setup.transport().map_err(|error: SettingError| Error::setting("--upstream", error.to_string()))
}

/// Writes what the retry layer does to the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log;

impl Observer for Log {
    fn retry(&self, event: &Retrying<'_>) {
        let delay_ms = event.delay.as_secs_f64() * 1e3;
        let error = event.error.map(|error| tracing::field::display(Chain(error)));
        tracing::info!(
            attempt = event.attempt,
            outcome = ?event.outcome,
            delay_ms,
            queued = event.queued,
            error,
            "trying again"
        );
    }

    fn done(&self, event: &Done) {
        tracing::debug!(attempts = event.attempts, ending = event.ending.as_str(), "call done");
    }
}
