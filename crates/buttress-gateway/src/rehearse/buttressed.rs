//! The client made of the Buttress layers; in front of it, where prompts repeat, the cache.

use std::{io, time::Duration};

use buttress::{
    BalanceLayer, Body, BoxError, CacheLayer, Client, Endpoint, EndpointSet, MemoryStore,
    RetryLayer, SettingError,
    balance::{Health, LeastRequest, NextUpstream, On},
    cache::{PromptCache, PromptRoute, Prompts, Scope},
    client::Elsewhere,
};
use buttress_core::{Attempts, AttemptsFailed, ReadAhead, cause};
use buttress_dns::{Dns, Upstreams};
use buttress_retry::{CloneBodies, CommitLayer, Held, HttpPolicy};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Either, Full};
use tower::{Layer as _, ServiceExt as _, util::MapRequest};

use super::{
    error::Error,
    lookup::Lookup,
    route::{CallOutcome, Ending, Route},
};

/// Calls in flight at one endpoint at most; the next ones wait in line here, and take the first
/// place that is free anywhere. Half as many again as an endpoint answers side by side, so that the
/// way there and back leaves no slot idle.
const IN_FLIGHT: u32 = 60;

/// Calls that may wait in line, which is as many as there are, and for how long each may.
const LINE: (usize, Duration) = (1_024, Duration::from_secs(10));

/// How long an endpoint that refused is spared. It asks for a second, but others wait for its slots
/// here, and one is free again much sooner.
const HOLD: Duration = Duration::from_millis(25);

/// Bytes of answers that are kept where prompts repeat.
const MEMORY: u64 = 64 << 20;

const CHAT: &str = "/v1/chat/completions";

/// A [`Client`] as it comes, with the retry policy for LLM APIs; over several endpoints it balances.
#[derive(Clone, Debug)]
pub struct Buttressed {
    client: Client,
    uri: Uri,
    cache: Option<Cached>,
}

type Cached = PromptCache<MapRequest<Client, fn(Sent) -> Request<Body>>>;
type Sent = Request<ReadAhead<Full<Bytes>>>;

impl Buttressed {
    /// Calls the API at these hosts and ports. Their names are looked up once before this returns, as
    /// `serve` does at its start, with the name server of `lookup`.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] if there is no such URL, or the client refuses its settings.
    pub async fn new(lookup: &Lookup, endpoints: &[(String, u16)]) -> Result<Self, Error> {
        let names = lookup.remembered().map_err(|error| Error::Client(error.into()))?;
        // One that is not found is no error here: whoever calls first asks again.
        let _ = join_all(endpoints.iter().map(|(host, _)| names.resolve(host))).await;
        let client = match endpoints {
            [_] => Client::builder().dns(names).llm().build(),
            _ => balanced(names, endpoints),
        };
        let client = client.map_err(|error| Error::Client(error.into()))?;
        // Where there is a choice, the balancer puts another authority in the place of this one.
        let (host, port) = endpoints
            .first()
            .ok_or_else(|| Error::io("find an endpoint")(io::ErrorKind::NotFound.into()))?;
        let uri = format!("http://{host}:{port}{CHAT}")
            .parse()
            .map_err(|error: http::uri::InvalidUri| Error::Client(error.into()))?;
        Ok(Self { client, uri, cache: None })
    }

    /// Keeps answers, and gives them again to whoever asks the same: all callers are one tenant.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] if the cache refuses its settings.
    pub fn caching(self) -> Result<Self, Error> {
        let refused = |error: SettingError| Error::Client(error.into());
        let route = PromptRoute::exact(CHAT).map_err(refused)?;
        let prompts = Prompts::new(Scope::everyone()).route(route);
        let store = MemoryStore::new(MEMORY).map_err(refused)?;
        let client = MapRequest::new(self.client.clone(), in_memory as fn(Sent) -> Request<Body>);
        let cache = CacheLayer::new(store).prompts(prompts).layer(client);
        Ok(Self { cache: Some(cache), ..self })
    }

    fn request(&self, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        request
    }
}

/// A body that is in memory stays one that can go again, to any endpoint.
fn in_memory(request: Sent) -> Request<Body> {
    request.map(|body| body.into_bytes().map_or_else(Body::new, Body::from))
}

fn balanced(names: Dns<Upstreams>, endpoints: &[(String, u16)]) -> Result<Client, SettingError> {
    let endpoints: Result<Vec<_>, _> = endpoints
        .iter()
        .map(|(host, port)| Endpoint::new(format!("http://{host}:{port}")))
        .collect();
    let (retry, balance) = over(endpoints?)?;
    Client::builder().dns(names).retry(retry).balance(balance).build()
}

/// The retry policy for LLM APIs, over a set of endpoints.
pub type Retrying = RetryLayer<Elsewhere<HttpPolicy<CloneBodies, Held>>, (), CommitLayer>;

/// The layers with which Buttress spreads calls over these endpoints, from the outside inwards.
///
/// # Errors
///
/// If there is none, or two are the same.
pub fn over(
    endpoints: impl IntoIterator<Item = Endpoint>,
) -> Result<(Retrying, BalanceLayer<LeastRequest>), SettingError> {
    let limited = endpoints.into_iter().map(|endpoint| endpoint.max_in_flight(IN_FLIGHT));
    let set = EndpointSet::new(limited.collect::<Result<Vec<_>, _>>()?)?;
    // A refusal says that nothing was processed, so that a call may go on at once, or wait in line for
    // its turn. This costs nothing of the retry budget, which is there for calls that were refused
    // once too often.
    let refusals = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    let balance = BalanceLayer::new(set.clone())
        .least_request()
        .health(Health::new().max_hold(HOLD))
        .next_upstream(NextUpstream::on(refusals.map(On::Status)).non_idempotent().revisit())
        .queue(LINE.0, LINE.1);
    Ok((RetryLayer::llm().map_policy(|policy| Elsewhere::new(policy, set)), balance))
}

impl Route for Buttressed {
    async fn chat(&self, body: Bytes) -> CallOutcome {
        let request = self.request(body);
        let answer = match &self.cache {
            Some(cache) => {
                let answer = cache.clone().oneshot(request.map(Full::new)).await;
                answer.map(|answer| answer.map(Either::Left))
            }
            None => self.client.send(request).await.map(|answer| answer.map(Either::Right)),
        };
        let attempts = attempts(&answer);
        let ending = match answer {
            Ok(response) if response.status() == StatusCode::OK => {
                match response.into_body().collect().await {
                    Ok(_) => Ending::Answered,
                    Err(_) => Ending::Broken,
                }
            }
            Err(error) if is_broken(&error) => Ending::Broken,
            Ok(_) | Err(_) => Ending::Refused,
        };
        CallOutcome::new(ending, attempts)
    }
}

/// Whether a socket or the protocol failed; the layers' own limits are refusals.
fn is_broken(error: &BoxError) -> bool {
    cause::<io::Error>(&**error).is_some() || cause::<hyper::Error>(&**error).is_some()
}

/// How many attempts it took. A call that took one carries no count.
fn attempts<B>(answer: &Result<Response<B>, BoxError>) -> u32 {
    let counted = match answer {
        Ok(response) => response.extensions().get::<Attempts>(),
        Err(error) => cause::<AttemptsFailed>(&**error).map(AttemptsFailed::attempts),
    };
    counted.map_or(1, Attempts::made)
}
