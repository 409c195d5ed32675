//! Taking connections, and speaking HTTP on them.

use std::{convert::Infallible, fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use super::{
    Arguments, Error,
    affinity::HashKey,
    cache::Cached,
    exchange::InFlight,
    limits::Inbound,
    proxy::{Client, Proxy},
    reach,
    shutdown::{Drained, Shutdown},
    socket::Socket,
    stack::Stack,
};

/// Bytes of a request's head at most, over HTTP/2; about what HTTP/1.1 has room for.
const MAX_HEAD: u32 = 256 * 1024;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// Silence on an HTTP/2 connection before the peer is asked if it is there, and how long it has.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// Silence on a TCP connection before its peer is probed.
const PROBE: Duration = Duration::from_secs(60);
/// The pause after the system had no more sockets to give.
const PAUSE: Duration = Duration::from_millis(100);

/// A gateway that listens and has not yet begun to answer.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    proxy: Arc<Proxy>,
    http: auto::Builder<TokioExecutor>,
    places: Arc<Semaphore>,
    header_timeout: Duration,
    drain_timeout: Duration,
}

impl Server {
    /// Checks the settings, takes the address, and looks whether the upstreams are there.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] for whatever of this fails; it names the flag.
    pub async fn bind(arguments: &Arguments, shutdown: Shutdown) -> Result<Self, Error> {
        let hash_key = HashKey::of(arguments)?;
        let stack = Arc::new(Stack::new(arguments)?);
        let cached = Cached::new(Arc::clone(&stack), arguments)?;
        let listen = &arguments.listen;
        let refused = |error: io::Error| Error::setting("--listen", format!("{listen}: {error}"));
        let listener = TcpListener::bind(listen.as_str()).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        if !arguments.no_check {
            reach::check(&arguments.upstreams, stack.names(), address, arguments.connect_timeout)
                .await?;
        }
        let proxy = Proxy {
            preserve_host: arguments.preserve_host,
            forwarded: arguments.forwarded,
            hash_key,
            stack,
            inbound: Inbound::new(&arguments.limits)?,
            cached,
            in_flight: InFlight::new(arguments.max_requests),
            shutdown,
        };
        Ok(Self {
            listener,
            address,
            proxy: Arc::new(proxy),
            http: http(arguments.header_timeout),
            places: Arc::new(Semaphore::new(arguments.max_connections)),
            header_timeout: arguments.header_timeout,
            drain_timeout: arguments.drain_timeout,
        })
    }

    /// The address that is listened on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until the shutdown begins, then finishes what is under way.
    ///
    /// The listener is closed as soon as the drain begins, so a successor can take the address.
    pub async fn run(self) -> Drained {
        let shutdown = self.proxy.shutdown.clone();
        let limit = self.drain_timeout;
        tokio::select! {
            () = self.accept() => {}
            () = shutdown.draining() => {}
        }
        shutdown.wait(limit).await
    }

    async fn accept(self) {
        // Never closed, so this ends only by being dropped.
        while let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
            match self.listener.accept().await {
                Ok((stream, peer)) => self.open(stream, peer, place),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    if !concerns_one_connection(&error) {
                        sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    fn open(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, "the connection was gone before it was used");
            return;
        }
        let socket = Socket::new(stream, self.header_timeout);
        let client = Client { peer, ending: socket.ending(), place: Arc::new(place) };
        let proxy = Arc::clone(&self.proxy);
        let connection = speak(socket, self.http.clone(), proxy, client);
        self.proxy.shutdown.spawn(connection);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Serves one connection to its end, or until a drain has finished what it carries.
///
/// A panic ends this connection's task and no other.
async fn speak(
    socket: Socket,
    http: auto::Builder<TokioExecutor>,
    proxy: Arc<Proxy>,
    client: Client,
) {
    let shutdown = proxy.shutdown.clone();
    let service = service_fn(move |request| {
        let answer = Arc::clone(&proxy).answer(request, client.clone());
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http.serve_connection_with_upgrades(TokioIo::new(socket), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.draining() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

fn http(header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .preserve_header_case(true);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    http
}

/// Small writes go out at once, and a peer that vanished is noticed.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE))
}

/// Whether the next connection may well be accepted.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
