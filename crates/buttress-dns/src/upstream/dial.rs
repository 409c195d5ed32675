//! Opens a connection to a server that is asked many questions over one.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hickory_net::{
    DnsHandle as _, DnsMultiplexer,
    h2::{HttpsClientStream, HttpsClientStreamBuilder},
    runtime::TokioRuntimeProvider,
    tcp::TcpClientStream,
    tls::tls_client_connect,
    xfer::{DnsExchange, DnsRequestSender as _},
};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, Message};
use rustls::pki_types::ServerName;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};

use super::{
    question::Question,
    server::Secure,
    trust::{Trust, failure},
};
use crate::{DnsError, DnsErrorKind};

/// After this long the next of a server's addresses is tried as well (RFC 8305, section 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// Questions under way on one connection; the library's queue holds no more.
const UNDER_WAY: usize = 32;

/// Where a connection leads.
#[derive(Clone, Debug)]
pub(super) enum Dial {
    Tcp(SocketAddr),
    Tls(Secure, Trust),
    Https(Secure, Trust),
}

/// A connection; another handle of it when cloned. It closes with the last one.
#[derive(Clone)]
pub(super) enum Connection {
    Stream { exchange: DnsExchange<TokioRuntimeProvider>, slots: Arc<Semaphore> },
    Https(HttpsClientStream),
}

impl Dial {
    /// Opens a connection to the first address that lets us, within `patience`.
    pub(super) async fn open(&self, patience: Duration) -> Result<Connection, DnsError> {
        let late = |_| DnsError::new(DnsErrorKind::Timeout).because("no connection in time");
        timeout(patience, self.race(patience)).await.map_err(late)?
    }

    async fn race(&self, patience: Duration) -> Result<Connection, DnsError> {
        let addresses = match self {
            Self::Tcp(address) => vec![*address],
            Self::Tls(secure, _) | Self::Https(secure, _) => secure.addresses.to_vec(),
        };
        let mut waiting = addresses.into_iter();
        let mut dialled = FuturesUnordered::new();
        let mut worst: Option<DnsError> = None;
        loop {
            let more = waiting.len() > 0;
            if let Some(address) = waiting.next() {
                dialled.push(self.open_at(address, patience));
            }
            let mut next = pin!(sleep_until(Instant::now() + NEXT_ADDRESS));
            tokio::select! {
                opened = dialled.next() => match opened {
                    Some(Ok(connection)) => return Ok(connection),
                    Some(Err(error)) => {
                        // A server that is not who it should be matters more than a closed port.
                        let first = worst.as_ref().is_none_or(|it| it.kind() != DnsErrorKind::Tls);
                        if first {
                            worst = Some(error);
                        }
                    }
                    None if !more => return Err(worst.unwrap_or_else(unreached)),
                    None => {}
                },
                () = &mut next, if waiting.len() > 0 => {}
            }
        }
    }

    async fn open_at(
        &self,
        address: SocketAddr,
        patience: Duration,
    ) -> Result<Connection, DnsError> {
        let provider = TokioRuntimeProvider::new();
        match self {
            Self::Tcp(_) => {
                let (stream, sender) =
                    TcpClientStream::new(address, None, Some(patience), provider);
                let stream = stream.await.map_err(failure)?;
                Ok(drive(DnsMultiplexer::new(stream, sender).with_timeout(patience)))
            }
            Self::Tls(secure, trust) => {
                let name = ServerName::try_from(secure.host.to_string())
                    .map_err(|error| DnsError::new(DnsErrorKind::Tls).because(error.to_string()))?;
                let config = trust.config().await?;
                let (stream, sender) = tls_client_connect(address, name, config, provider);
                let stream = stream.await.map_err(failure)?;
                Ok(drive(DnsMultiplexer::new(stream, sender).with_timeout(patience)))
            }
            Self::Https(secure, trust) => {
                let builder: HttpsClientStreamBuilder<_> =
                    HttpsClientStream::builder(trust.config().await?, provider);
                let (host, path) = (Arc::clone(&secure.host), Arc::clone(&secure.path));
                let stream = builder.build(address, host, path).await.map_err(failure)?;
                Ok(Connection::Https(stream))
            }
        }
    }
}

/// Lets a connection work until its last handle is gone.
fn drive<S>(multiplexer: DnsMultiplexer<S>) -> Connection
where
    DnsMultiplexer<S>: hickory_net::xfer::DnsRequestSender,
{
    let (exchange, background) = DnsExchange::from_stream(multiplexer);
    tokio::spawn(background);
    Connection::Stream { exchange, slots: Arc::new(Semaphore::new(UNDER_WAY)) }
}

impl Connection {
    /// Asks one question. Drop the future when it takes too long.
    pub(super) async fn ask(self, question: &Question, edns: bool) -> Result<Message, DnsError> {
        let message = question.message(fastrand::u16(..), edns);
        let request = DnsRequest::new(message, DnsRequestOptions::default());
        let answer = match self {
            Self::Stream { exchange, slots } => {
                let gone = |_| DnsError::new(DnsErrorKind::Cancelled);
                let _slot = slots.acquire().await.map_err(gone)?;
                exchange.send(request).next().await
            }
            Self::Https(mut stream) => stream.send_message(request).next().await,
        };
        let Some(answer) = answer else { return Err(DnsError::new(DnsErrorKind::Timeout)) };
        let message = answer.map_err(failure)?.into_message();
        if !question.is_answered_by(&message) {
            let error = DnsError::new(DnsErrorKind::Malformed);
            return Err(error.because("the answer is to another question"));
        }
        Ok(message)
    }
}

fn unreached() -> DnsError {
    DnsError::new(DnsErrorKind::Io)
}
