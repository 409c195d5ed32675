//! The busy API: endpoints on loopback that answer chat calls with limited capacity.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    answers::{self, AnswerBody},
    draws::{Draws, ServiceTime, Stream},
    gate::{Gate, Usage},
    parameters::{BusySpells, ServerParameters},
};

/// The longest request body that is read.
const MAX_REQUEST: usize = 1 << 20;

/// A chat API with limited capacity: one or more independent endpoints, each on a loopback port.
///
/// `POST /v1/chat/completions` is answered after the network delay, a wait for one of the slots,
/// and a drawn service time; or, as soon as slots and queue are full, with a `503` that says
/// `Retry-After: 1`. A client that goes away frees its slot or its place at once.
///
/// Dropping it closes every listener and every connection.
#[derive(Debug)]
pub struct Provider {
    endpoints: Vec<Arc<Endpoint>>,
    begun: watch::Sender<Option<Instant>>,
    tasks: JoinSet<()>,
}

impl Provider {
    /// Starts `endpoints` endpoints, each with the capacity of `server`. Endpoint `n` draws the
    /// same service times and the same busy spells whenever `seed` is the same.
    ///
    /// # Errors
    ///
    /// If a port cannot be had, or the service time is none (its mean zero, or its variation negative or not finite).
    pub fn start(server: &ServerParameters, endpoints: u64, seed: u64) -> io::Result<Self> {
        let begun = watch::Sender::new(None);
        let mut provider = Self { endpoints: Vec::new(), begun, tasks: JoinSet::new() };
        for number in 0..endpoints {
            let listener = listen()?;
            let endpoint = Arc::new(Endpoint::new(server, number, seed, listener.local_addr()?)?);
            provider.tasks.spawn(Arc::clone(&endpoint).accept(listener));
            if let Some(spells) = server.busy.clone() {
                let draws = Draws::new(seed, Stream::Busy(number));
                let begun = provider.begun.subscribe();
                provider.tasks.spawn(Arc::clone(&endpoint).fall_busy(begun, spells, draws));
            }
            provider.endpoints.push(endpoint);
        }
        Ok(provider)
    }

    /// The endpoints, in order.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// Says that traffic has begun: the first calm of each endpoint lasts from `start` on, however
    /// long everything else took to get ready. Only the first time counts.
    pub fn begin(&self, start: Instant) {
        self.begun.send_if_modified(|begun| {
            let first = begun.is_none();
            begun.get_or_insert(start);
            first
        });
    }

    /// What all slots together had to give so far, and what was taken of it.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.endpoints.iter().map(|endpoint| endpoint.gate.usage()).sum()
    }

    /// How many requests have reached the endpoints, refused ones included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.endpoints.iter().map(|endpoint| endpoint.requests.load(Ordering::Relaxed)).sum()
    }

    /// Closes every listener and every connection, and waits until they are closed.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// A backlog above that of [`TcpListener::bind`]: callers who start together must not be lost.
fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.listen(4096)
}

/// One endpoint of the busy API.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    server: ServerParameters,
    gate: Arc<Gate>,
    service_time: ServiceTime,
    draws: Mutex<Draws>,
    requests: AtomicU64,
}

/// What the busy API needs to know of a call.
#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    stream: bool,
}

impl Endpoint {
    fn new(
        server: &ServerParameters,
        number: u64,
        seed: u64,
        address: SocketAddr,
    ) -> io::Result<Self> {
        Ok(Self {
            address,
            gate: Gate::new(server.slots, server.queue),
            service_time: ServiceTime::new(server.service_mean, server.service_variation)?,
            draws: Mutex::new(Draws::new(seed, Stream::Service(number))),
            server: server.clone(),
            requests: AtomicU64::new(0),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its capacity at this moment.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        // Owned here, so that ending this task ends every connection.
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(Arc::clone(&self).serve(stream))),
                    // Out of file descriptors, most likely: some come back as calls end.
                    Err(_) => sleep(Duration::from_millis(10)).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        sleep(self.server.connect_delay).await;
        let service = service_fn(|request| {
            let endpoint = Arc::clone(&self);
            async move { Ok::<_, Infallible>(endpoint.answer(request).await) }
        });
        // Ends in an error whenever a client goes away, which is its right.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let id = self.requests.fetch_add(1, Ordering::Relaxed);
        let call = match read_call(request).await {
            Ok(call) => call,
            Err(refusal) => return refusal,
        };
        sleep(self.server.network_delay).await;
        let Some(ticket) = self.gate.enter() else {
            return answers::too_busy();
        };
        // Drawn on admission: the n-th call admitted takes the same time in every run.
        let service = self.draw();
        let slot = ticket.turn().await;
        if call.stream {
            return answers::stream(id, service, slot);
        }
        slot.serve(service).await;
        answers::completion(id)
    }

    fn draw(&self) -> Duration {
        self.draws.lock().unwrap_or_else(PoisonError::into_inner).time(&self.service_time)
    }

    async fn fall_busy(
        self: Arc<Self>,
        mut begun: watch::Receiver<Option<Instant>>,
        spells: BusySpells,
        draws: Draws,
    ) {
        let begun = begun.wait_for(Option::is_some).await.map(|begun| *begun);
        // An error: the provider is gone, and this task with it.
        let Ok(Some(start)) = begun else { return };
        self.gate.fall_busy(&spells, draws, start).await;
    }
}

async fn read_call(request: Request<Incoming>) -> Result<Call, Response<AnswerBody>> {
    if request.uri().path() != "/v1/chat/completions" {
        let message = "There is only /v1/chat/completions here.";
        return Err(answers::error(StatusCode::NOT_FOUND, "invalid_request_error", message));
    }
    if request.method() != Method::POST {
        let message = "A chat call is a POST.";
        return Err(answers::error(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request_error",
            message,
        ));
    }
    let body = Limited::new(request.into_body(), MAX_REQUEST).collect().await.map_err(|_| {
        let message = "The body is longer than 1 MiB, or ended too early.";
        answers::error(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
    })?;
    serde_json::from_slice(&body.to_bytes()).map_err(|_| {
        let message = "The body is not the JSON of a chat call.";
        answers::error(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    })
}
