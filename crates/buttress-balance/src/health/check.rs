//! Active checks: endpoints are asked whether they are up, calls or no calls.

use std::{collections::HashMap, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use buttress_core::SettingError;
use http::{Method, Request, Response, StatusCode, Uri, uri::PathAndQuery};
use tokio::{
    net::TcpStream,
    task::{AbortHandle, Id, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};
use tower_service::Service;

use crate::{Candidate, Endpoint, EndpointId, EndpointSet, Event};

type Ask = Arc<dyn Fn(Endpoint) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// Asks each endpoint at intervals whether it is up, and leaves out those that are not.
///
/// An endpoint is up until it [falls](Self::fall). Endpoints are asked side by side, so that one
/// which does not answer holds nobody up. A check that panics says nothing. Checks and failures of
/// calls are judged apart: a good check does not end an ejection.
///
/// ```
/// use buttress_balance::{Endpoint, EndpointSet, HealthCheck};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), buttress_balance::SettingError> {
/// let set = EndpointSet::new([Endpoint::new("http://10.0.0.1:8080")?])?;
/// let checking = HealthCheck::tcp()
///     .interval(Duration::from_secs(2))?
///     .fall(2)?
///     .start(&set);
/// // The checks end with `checking`.
/// # drop(checking);
/// # Ok(())
/// # }
/// ```
#[must_use]
#[derive(Clone)]
pub struct HealthCheck {
    ask: Ask,
    interval: Duration,
    timeout: Duration,
    rise: u32,
    fall: u32,
}

impl HealthCheck {
    /// An endpoint is up if `ask` says so, in time.
    pub fn new<F, Fut>(ask: F) -> Self
    where
        F: Fn(Endpoint) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        Self {
            ask: Arc::new(move |endpoint| Box::pin(ask(endpoint))),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
        }
    }

    /// An endpoint is up if it takes a TCP connection.
    pub fn tcp() -> Self {
        Self::new(|endpoint| async move { connects(&endpoint).await.is_ok() })
    }

    /// An endpoint is up if it answers a `GET` for `path`, which is not put under the base path, with a
    /// status below 400. The requests go through `client`, with the endpoint's authority.
    ///
    /// # Errors
    ///
    /// If `path` does not begin with `/` or is no path.
    pub fn http<S, B, RB>(path: &str, client: S) -> Result<Self, SettingError>
    where
        S: Service<Request<B>, Response = Response<RB>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Default + Send + 'static,
        RB: Send + 'static,
    {
        let refused = |why: &str| SettingError::new("check.path", format!("`{path}`, {why}"));
        if !path.starts_with('/') {
            return Err(refused("which does not begin with `/`"));
        }
        let path: PathAndQuery = path.parse().map_err(|_| refused("which is no path"))?;
        Ok(Self::new(move |endpoint| {
            let (client, uri) = (client.clone(), at(&endpoint, path.clone()));
            async move {
                match uri {
                    Some(uri) => answers(client, uri).await.is_some_and(is_up),
                    None => false,
                }
            }
        }))
    }

    /// How long from one check of an endpoint to its next. Default: 5 seconds.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn interval(mut self, time: Duration) -> Result<Self, SettingError> {
        self.interval = above_zero("check.interval", time)?;
        Ok(self)
    }

    /// How long an endpoint may take to answer; no longer than the [interval](Self::interval), whatever is
    /// set. Default: 2 seconds.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn timeout(mut self, time: Duration) -> Result<Self, SettingError> {
        self.timeout = above_zero("check.timeout", time)?;
        Ok(self)
    }

    /// How many good checks in a row bring an endpoint back. Default: 2.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn rise(mut self, checks: u32) -> Result<Self, SettingError> {
        self.rise = at_least_one("check.rise", checks)?;
        Ok(self)
    }

    /// How many bad checks in a row take an endpoint out. Default: 3.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn fall(mut self, checks: u32) -> Result<Self, SettingError> {
        self.fall = at_least_one("check.fall", checks)?;
        Ok(self)
    }

    /// Checks the endpoints of `set`, those that are added later too, until the handle is dropped.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(self, set: &EndpointSet) -> Checking {
        let rounds = self.rounds(set.downgrade());
        Checking { task: tokio::spawn(rounds).abort_handle(), set: set.clone() }
    }

    async fn rounds(self, set: std::sync::Weak<crate::set::Shared>) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut series = HashMap::new();
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let Some(set) = EndpointSet::upgrade(&set) else { return };
                    self.begin(&set.candidates(), &mut series, &mut under_way);
                }
                Some(done) = under_way.join_next() => {
                    let Some(set) = EndpointSet::upgrade(&set) else { return };
                    match done {
                        Ok((id, up)) => self.note(&set, id, up, &mut series),
                        Err(panicked) => forget(panicked.id(), &mut series),
                    }
                }
            }
        }
    }

    /// Asks everyone who was not asked yet, or has answered.
    fn begin(
        &self,
        members: &[Candidate],
        series: &mut HashMap<EndpointId, Series>,
        under_way: &mut JoinSet<(EndpointId, bool)>,
    ) {
        series.retain(|id, _| members.iter().any(|member| member.id() == *id));
        for member in members {
            let series = series.entry(member.id()).or_default();
            if series.check.is_some() {
                continue;
            }
            // It takes no longer than a round. What the user wrote runs where a panic is caught.
            let limit = self.timeout.min(self.interval);
            let (ask, endpoint) = (Arc::clone(&self.ask), member.endpoint().clone());
            let id = member.id();
            let check = under_way.spawn(async move {
                let up = timeout(limit, async move { ask(endpoint).await }).await;
                (id, up.unwrap_or(false))
            });
            series.check = Some(check.id());
        }
    }

    fn note(
        &self,
        set: &EndpointSet,
        id: EndpointId,
        up: bool,
        series: &mut HashMap<EndpointId, Series>,
    ) {
        let Some(series) = series.get_mut(&id) else { return };
        series.check = None;
        series.length = if series.up == up { series.length.saturating_add(1) } else { 1 };
        series.up = up;
        let enough = if up { self.rise } else { self.fall };
        if series.length >= enough {
            set.found(id, up);
        }
    }
}

/// Equal answers in a row.
#[derive(Debug, Default)]
struct Series {
    up: bool,
    length: u32,
    /// The check that is under way.
    check: Option<Id>,
}

/// A check came to nothing: the endpoint is asked again in the next round.
fn forget(check: Id, series: &mut HashMap<EndpointId, Series>) {
    if let Some(series) = series.values_mut().find(|series| series.check == Some(check)) {
        series.check = None;
    }
}

impl EndpointSet {
    /// Active checks found an endpoint up or down.
    fn found(&self, id: EndpointId, up: bool) {
        let members = self.candidates();
        let Some(member) = members.iter().find(|member| member.id() == id) else { return };
        let node = member.node();
        if !node.set_down(!up) {
            return;
        }
        if up {
            tracing::info!(endpoint = %node.endpoint, "checks find it up");
            node.start_slowly(self.now());
        } else {
            tracing::warn!(endpoint = %node.endpoint, "checks find it down");
        }
        self.pulse().changed();
        self.pulse().tell(|| if up { Event::Up { id } } else { Event::Down { id } });
    }
}

impl fmt::Debug for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthCheck")
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("rise", &self.rise)
            .field("fall", &self.fall)
            .finish_non_exhaustive()
    }
}

/// Keeps checks going; dropping it ends them, and every endpoint counts as up again.
#[must_use = "dropping it ends the checks"]
#[derive(Debug)]
pub struct Checking {
    task: AbortHandle,
    set: EndpointSet,
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.task.abort();
        // Nobody would find out that it is back.
        for member in self.set.candidates() {
            self.set.found(member.id(), true);
        }
    }
}

async fn connects(endpoint: &Endpoint) -> std::io::Result<TcpStream> {
    if let Some(address) = endpoint.connects_to() {
        return TcpStream::connect(address).await;
    }
    let uri = endpoint.uri();
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    TcpStream::connect((host, uri.port_u16().unwrap_or(default))).await
}

fn at(endpoint: &Endpoint, path: PathAndQuery) -> Option<Uri> {
    let mut parts = endpoint.uri().clone().into_parts();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
}

async fn answers<S, B, RB>(mut client: S, uri: Uri) -> Option<StatusCode>
where
    S: Service<Request<B>, Response = Response<RB>>,
    B: Default,
{
    std::future::poll_fn(|cx| client.poll_ready(cx)).await.ok()?;
    let mut request = Request::new(B::default());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri;
    client.call(request).await.ok().map(|response| response.status())
}

fn is_up(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

fn above_zero(setting: &'static str, time: Duration) -> Result<Duration, SettingError> {
    if time.is_zero() {
        return Err(SettingError::new(setting, "0s; it must be longer"));
    }
    Ok(time)
}

fn at_least_one(setting: &'static str, checks: u32) -> Result<u32, SettingError> {
    if checks == 0 {
        return Err(SettingError::new(setting, "0; it must be at least 1"));
    }
    Ok(checks)
}
