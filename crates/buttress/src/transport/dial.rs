//! From a host to a TCP connection: look the name up, race its addresses.
//!
//! hyper-util's own connector races the two families only: within one it tries the second address
//! when the first has failed, so that a dead machine among several costs seconds. Here each
//! address gets a head start over the next, whatever its family (RFC 8305 section 5).

use std::{
    error::Error,
    fmt,
    future::{Ready, ready},
    io, iter,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::BoxError;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{Uri, uri::Scheme};
use hyper_util::{
    client::legacy::connect::{
        HttpConnector,
        dns::{InvalidNameError, Name},
    },
    rt::TokioIo,
};
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;

use super::{
    attempt::Attempt,
    resolve::{Resolver, interleave},
};

/// How sockets are opened.
#[derive(Clone, Debug)]
pub(super) struct Tcp {
    pub(super) nodelay: bool,
    pub(super) keepalive: Option<Duration>,
    pub(super) local_address: Option<IpAddr>,
    pub(super) head_start: Duration,
}

/// Opens TCP connections to the host of a URI.
#[derive(Clone)]
pub(super) struct Dial {
    resolver: Resolver,
    tcp: Arc<Tcp>,
}

type Socket = TokioIo<TcpStream>;

impl Dial {
    pub(super) fn new(resolver: Resolver, tcp: Tcp) -> Self {
        Self { resolver, tcp: Arc::new(tcp) }
    }

    async fn dial(self, uri: Uri) -> Result<Socket, BoxError> {
        let addresses = interleave(self.addresses(&uri).await?);
        let connect = |address| self.connect(uri.clone(), address);
        race(addresses, self.tcp.head_start, connect).await.map_err(|error| match error {
            Some(error) => error,
            None => NoAddress { host: uri.host().unwrap_or_default().into() }.into(),
        })
    }

    /// Connects to one address, if it may be dialled, and tells what came of it.
    async fn connect(&self, uri: Uri, address: SocketAddr) -> Result<Socket, BoxError> {
        let watch = self.resolver.watch();
        if let Some(watch) = watch {
            watch.check(address.ip())?;
        }
        let attempt = Attempt::new(watch, address.ip(), self.tcp.head_start);
        let made = self.tcp.connect(uri, address).await;
        attempt.end(made.is_ok());
        Ok(made?)
    }

    async fn addresses(&self, uri: &Uri) -> Result<Vec<SocketAddr>, BoxError> {
        let host = uri.host().unwrap_or_default();
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let lookup_failed = |source| LookupFailed { host: host.into(), source };
        let name: Name = host.parse().map_err(|error: InvalidNameError| error.to_string())?;
        let mut found = self.resolver.lookup(name).await.map_err(lookup_failed)?;
        for address in &mut found {
            // A resolver may choose the port, but not against what the URI says.
            if uri.port_u16().is_some() || address.port() == 0 {
                address.set_port(port);
            }
        }
        let local = self.tcp.local_address;
        found.retain(|found| local.is_none_or(|local| local.is_ipv4() == found.is_ipv4()));
        Ok(found)
    }
}

/// Connects to the address that answers first. The next one is tried as soon as those before it
/// have failed, or when the one before it has had its head start.
///
/// The error is that of the attempt that failed first; there is none without addresses.
async fn race<T, E, F>(
    addresses: Vec<SocketAddr>,
    head_start: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, Option<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut untried = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut first_error = None;
    loop {
        attempts.extend(untried.next().map(&connect));
        let ended = if untried.len() == 0 {
            attempts.next().await
        } else {
            match timeout(head_start, attempts.next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        };
        match ended {
            Some(Ok(connection)) => return Ok(connection),
            Some(Err(error)) => first_error = first_error.or(Some(error)),
            None => return Err(first_error),
        }
    }
}

impl Tcp {
    async fn connect(&self, uri: Uri, address: SocketAddr) -> Result<Socket, DialFailed> {
        let mut connector = HttpConnector::new_with_resolver(Known(address));
        connector.enforce_http(false);
        connector.set_nodelay(self.nodelay);
        connector.set_keepalive(self.keepalive);
        connector.set_keepalive_interval(self.keepalive);
        connector.set_local_address(self.local_address);
        connector.call(uri).await.map_err(|error| DialFailed { address, source: error.into() })
    }
}

impl Service<Uri> for Dial {
    type Response = Socket;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Socket, BoxError>> + Send>>;

    /// Always ready: waiting for the resolver belongs under the connect timeout.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

/// A resolver that has its answer already.
#[derive(Clone)]
struct Known(SocketAddr);

impl Service<Name> for Known {
    type Response = iter::Once<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(iter::once(self.0)))
    }
}

#[derive(Debug)]
struct DialFailed {
    address: SocketAddr,
    source: BoxError,
}

impl fmt::Display for DialFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect to {}", self.address)
    }
}

impl Error for DialFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

#[derive(Debug)]
struct LookupFailed {
    host: Box<str>,
    source: BoxError,
}

impl fmt::Display for LookupFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot look up the name `{}`", self.host)
    }
}

impl Error for LookupFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

#[derive(Debug)]
struct NoAddress {
    host: Box<str>,
}

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name `{}` has no address that can be used", self.host)
    }
}

impl Error for NoAddress {}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Mutex};

    use tokio::time::{Instant, sleep};

    use super::*;

    const HEAD_START: Duration = Duration::from_millis(250);

    /// Races addresses told apart by port; an answer of `None` never comes. Notes what was tried
    /// when, in milliseconds.
    async fn run(
        numbers: &[u16],
        answer: impl Fn(u16) -> Option<Result<u16, u16>>,
    ) -> (Result<u16, Option<u16>>, Vec<(u16, u128)>) {
        let (start, tried) = (Instant::now(), Mutex::new(Vec::new()));
        let addresses = numbers.iter().map(|number| ([127, 0, 0, 1], *number).into()).collect();
        let connect = |address: SocketAddr| {
            tried.lock().unwrap().push((address.port(), start.elapsed().as_millis()));
            let answer = answer(address.port());
            async move {
                match answer {
                    Some(answer) => answer,
                    None => pending().await,
                }
            }
        };
        let result = race(addresses, HEAD_START, connect).await;
        (result, tried.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_address_costs_its_head_start() {
        let (result, tried) = run(&[2, 4, 1, 3], |n| (n % 2 == 1).then_some(Ok(n))).await;
        assert_eq!(result, Ok(1));
        assert_eq!(tried, [(2, 0), (4, 250), (1, 500)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_refuses_costs_nothing() {
        let answer = |n| Some(if n == 3 { Ok(n) } else { Err(n) });
        let (result, tried) = run(&[1, 2, 3], answer).await;
        assert_eq!(result, Ok(3));
        assert_eq!(tried, [(1, 0), (2, 0), (3, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_refuse_the_first_error_is_told() {
        let (result, tried) = run(&[1, 2], |n| Some(Err(n))).await;
        assert_eq!((result, tried.len()), (Err(Some(1)), 2));
        assert_eq!(run(&[], |_| None).await.0, Err(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_may_still_win_after_its_head_start() {
        let connect = |address: SocketAddr| async move {
            let slow = if address.port() == 1 { 300 } else { 3000 };
            sleep(Duration::from_millis(slow)).await;
            Ok::<_, ()>(address.port())
        };
        let addresses = vec![([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()];
        let start = Instant::now();
        assert_eq!(race(addresses, HEAD_START, connect).await, Ok(1));
        assert_eq!(start.elapsed(), Duration::from_millis(300));
    }

    #[tokio::test]
    async fn small_writes_leave_at_once_unless_told_otherwise() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let uri: Uri = format!("http://{address}/").parse().unwrap();
        for nodelay in [true, false] {
            let tcp = Tcp { nodelay, keepalive: None, local_address: None, head_start: HEAD_START };
            let socket = tcp.connect(uri.clone(), address).await.unwrap();
            assert_eq!(socket.inner().nodelay().unwrap(), nodelay);
        }
        assert!(crate::transport::Settings::default().tcp_nodelay);
    }

    #[tokio::test]
    async fn an_address_in_the_uri_is_not_looked_up() {
        let settings = crate::transport::Settings::default();
        for (uri, expected) in [
            ("http://[::1]/", "[::1]:80"),
            ("https://[2001:db8::1]/", "[2001:db8::1]:443"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
        ] {
            let found = settings.dial().addresses(&uri.parse().unwrap()).await.unwrap();
            assert_eq!(found, [expected.parse().unwrap()]);
        }
    }
}
