//! From a host to a TCP connection, with a memory.

use std::{
    fmt,
    future::{Ready, ready},
    iter,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::BoxError;
use http::{Uri, uri::Scheme};
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name as Host},
    rt::TokioIo,
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tower_service::Service;

use super::{guard::check, race::race};
use crate::{Dns, DnsError, DnsErrorKind, Observer};

/// Opens TCP connections: a connector for hyper-util, hyper-rustls and tonic, as `HttpConnector` is.
///
/// It differs from that in what it knows. Each address gets a head start over the next, whatever its
/// family (RFC 8305). An address that did not answer comes last for a while, for all who use the
/// handle. And the handle's [`Guard`](crate::Guard) is asked about each address right before it is
/// dialled, hosts that are addresses included.
#[derive(Clone, Debug)]
pub struct Dialer<S, O: Observer = ()> {
    dns: Dns<S, O>,
    head_start: Duration,
    attempt_timeout: Duration,
    keepalive: Option<Duration>,
}

impl<S, O: Observer> Dialer<S, O> {
    /// Dials what `dns` finds.
    #[must_use]
    pub const fn new(dns: Dns<S, O>) -> Self {
        Self {
            dns,
            head_start: Duration::from_millis(250),
            attempt_timeout: Duration::from_secs(5),
            keepalive: Some(Duration::from_secs(30)),
        }
    }

    /// The head start of each address over the next. Default: 250 ms; less than 10 ms is taken for
    /// 10 ms (RFC 8305 section 5).
    #[must_use]
    pub const fn head_start(mut self, time: Duration) -> Self {
        let least = Duration::from_millis(10);
        self.head_start = if time.as_millis() < least.as_millis() { least } else { time };
        self
    }

    /// How long one address has to answer. Default: 5 seconds.
    #[must_use]
    pub const fn attempt_timeout(mut self, time: Duration) -> Self {
        self.attempt_timeout = time;
        self
    }

    /// After which silence the system asks whether the peer is still there. Default: 30 seconds.
    #[must_use]
    pub const fn keepalive(mut self, time: Option<Duration>) -> Self {
        self.keepalive = time;
        self
    }

    async fn dial(self, uri: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let host = uri.host().unwrap_or_default();
        if let Some(guard) = self.dns.guard() {
            check(guard, Some(host))?;
        }
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let found = self.dns.resolve(host).await?;
        let addresses = found.map(|mut address| {
            // A resolver may choose the port, but not against what the URI says.
            if uri.port_u16().is_some() || address.port() == 0 {
                address.set_port(port);
            }
            address
        });
        let made = race(addresses, self.head_start, |address| self.one(uri.clone(), address)).await;
        made.map_err(|error| match error {
            Some(error) => error,
            None => DnsError::new(DnsErrorKind::NoData).of_name(host).into(),
        })
    }

    /// Dials one address, and tells what came of it.
    async fn one(&self, uri: Uri, address: SocketAddr) -> Result<TokioIo<TcpStream>, BoxError> {
        if let Some(guard) = self.dns.guard() {
            guard.check(address.ip())?;
        }
        let begun = Instant::now();
        let mut trying = Trying { dialer: self, address, begun, ended: false };
        let mut connector = HttpConnector::new_with_resolver(Known(address));
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_keepalive(self.keepalive);
        connector.set_keepalive_interval(self.keepalive);
        let made = timeout(self.attempt_timeout, connector.call(uri)).await;
        trying.ended = true;
        match made {
            Ok(Ok(connection)) => {
                self.dns.worked(address.ip());
                Ok(connection)
            }
            Ok(Err(error)) => {
                self.dns.failed(address.ip());
                Err(error.into())
            }
            Err(_) => {
                self.dns.failed(address.ip());
                Err(TooLate(address).into())
            }
        }
    }
}

/// An attempt that is given up because another address was faster failed as well, if it had its
/// head start.
struct Trying<'a, S, O: Observer> {
    dialer: &'a Dialer<S, O>,
    address: SocketAddr,
    begun: Instant,
    ended: bool,
}

impl<S, O: Observer> Drop for Trying<'_, S, O> {
    fn drop(&mut self) {
        if !self.ended && self.begun.elapsed() >= self.dialer.head_start {
            self.dialer.dns.failed(self.address.ip());
        }
    }
}

impl<S, O> Service<Uri> for Dialer<S, O>
where
    S: Clone + Send + Sync + 'static,
    O: Observer,
{
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Dialing;

    /// Always ready: waiting for a name belongs to the connection.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Dialing {
        Dialing(Box::pin(self.clone().dial(uri)))
    }
}

/// A connection under way.
#[must_use = "a future does nothing unless it is polled"]
pub struct Dialing(Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>);

impl Future for Dialing {
    type Output = Result<TokioIo<TcpStream>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Dialing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialing")
    }
}

/// A resolver that has its answer already.
#[derive(Clone)]
struct Known(SocketAddr);

impl Service<Host> for Known {
    type Response = iter::Once<SocketAddr>;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Host) -> Self::Future {
        ready(Ok(iter::once(self.0)))
    }
}

/// An address did not answer.
#[derive(Debug)]
struct TooLate(SocketAddr);

impl fmt::Display for TooLate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} did not take the connection in time", self.0)
    }
}

impl std::error::Error for TooLate {}
