//! Those who carry the calls.

use std::{
    cmp::Reverse,
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use buttress::{BalanceLayer, BoxError, Endpoint as Address, balance::LeastRequest};
use buttress_gateway::rehearse::{Retrying, over};
use buttress_retry::Budget;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header::RETRY_AFTER};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use tower::{Layer as _, Service, ServiceExt as _, util::BoxCloneSyncService};

use crate::world::{Endpoint, Way, World};

type Get = Request<Full<Bytes>>;
type Answer = Response<Full<Bytes>>;

/// Brings a request to the endpoint that its URI names.
#[derive(Clone, Debug)]
pub(crate) struct Net(Arc<[Arc<Endpoint>]>);

impl Service<Get> for Net {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Get) -> Self::Future {
        let number = request.uri().port_u16().and_then(|port| usize::from(port).checked_sub(1));
        let endpoint = number.and_then(|number| self.0.get(number).cloned());
        Box::pin(async move {
            let answers = match endpoint {
                Some(endpoint) => endpoint.answers().await,
                None => false,
            };
            let mut answer = Response::new(Full::from("{}"));
            if !answers {
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Ok(answer)
        })
    }
}

/// The layers of the rehearsal.
#[derive(Clone)]
pub(crate) struct Layers(
    BoxCloneSyncService<Get, Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>,
);

impl Layers {
    pub(crate) fn new(world: &World) -> io::Result<Self> {
        let (net, (retry, balance)) = parts(world)?;
        Ok(Self::over(retry.layer(balance.layer(net))))
    }

    /// As they are for bodies that are streams: the retry layer sends them again, within a budget that
    /// leaves room for that.
    pub(crate) fn for_streams(world: &World) -> io::Result<Self> {
        let (net, (retry, balance)) = parts(world)?;
        let budget = Budget::percent(100.0).map_err(io::Error::other)?;
        Ok(Self::over(retry.budget(budget).layer(balance.without_failover().layer(net))))
    }

    fn over<S, B>(client: S) -> Self
    where
        S: Service<Get, Response = Response<B>, Error = BoxError>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let client = client
            .map_response(|answer| answer.map(|body: B| body.map_err(Into::into).boxed_unsync()));
        Self(BoxCloneSyncService::new(client))
    }
}

fn parts(world: &World) -> io::Result<(Net, (Retrying, BalanceLayer<LeastRequest>))> {
    let net = Net(world.endpoints());
    let addresses = (1..=net.0.len()).map(|port| Address::new(format!("http://api.test:{port}")));
    let addresses: Result<Vec<_>, _> = addresses.collect();
    Ok((net, addresses.and_then(over).map_err(io::Error::other)?))
}

impl Way for Layers {
    async fn call(&self) -> bool {
        let mut request = Request::new(Full::from("{}"));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("http://api.test:1/v1/chat/completions");
        let Ok(answer) = self.0.clone().oneshot(request).await else { return false };
        answer.status() == StatusCode::OK && answer.into_body().collect().await.is_ok()
    }
}

/// Goes to the endpoint with the fewest calls under way, and on to the next one after a refusal; none
/// is left out. Of those that have as few, each gets its turn, as nginx's do.
#[derive(Clone, Debug)]
pub(crate) struct LeastConn {
    endpoints: Arc<[Arc<Endpoint>]>,
    peers: Arc<Mutex<Vec<Peer>>>,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    calls: u32,
    turn: i64,
}

impl LeastConn {
    pub(crate) fn new(world: &World) -> io::Result<Self> {
        let endpoints = world.endpoints();
        let peers = Arc::new(Mutex::new(vec![Peer::default(); endpoints.len()]));
        Ok(Self { endpoints, peers })
    }

    fn peers(&self) -> MutexGuard<'_, Vec<Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn choose(&self, tried: &[usize]) -> Option<usize> {
        let mut peers = self.peers();
        let fresh = |at: &usize| !tried.contains(at);
        let least = (0..peers.len()).filter(fresh).map(|at| peers[at].calls).min()?;
        let equal: Vec<_> =
            (0..peers.len()).filter(fresh).filter(|at| peers[*at].calls == least).collect();
        equal.iter().for_each(|at| peers[*at].turn += 1);
        let chosen = equal.iter().copied().max_by_key(|at| (peers[*at].turn, Reverse(*at)))?;
        peers[chosen].turn -= i64::try_from(equal.len()).unwrap_or(i64::MAX);
        peers[chosen].calls += 1;
        Some(chosen)
    }
}

impl Way for LeastConn {
    async fn call(&self) -> bool {
        let mut tried = Vec::new();
        while let Some(at) = self.choose(&tried) {
            tried.push(at);
            let answered = self.endpoints[at].answers().await;
            self.peers()[at].calls -= 1;
            if answered {
                return true;
            }
        }
        false
    }
}
