//! One connection that speaks HTTP, and one request on it.

use std::{net::SocketAddr, time::Duration};

use buttress_core::BoxError;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    arguments::Plan,
    connect,
    tls::Shake,
    trouble::{Kind, Trouble},
};

/// Of an answer no more is read.
const MOST_BYTES: u64 = 1 << 20;

/// A connection, and how long it took to make.
pub(super) struct Line {
    sender: Sender,
    /// Ends with the line.
    _driver: JoinSet<()>,
    pub(super) handshake: Option<Handshaken>,
    pub(super) opened: Instant,
}

/// What came of a handshake.
pub(super) struct Handshaken {
    pub(super) took: Duration,
    pub(super) version: Option<String>,
}

enum Sender {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(http2::SendRequest<Empty<Bytes>>),
}

/// Where a line could not be made.
pub(super) enum Broken {
    Connect(Trouble),
    Handshake(Trouble),
    Http(Trouble),
}

/// The answer to one request.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) first_byte: Duration,
    pub(super) total: Duration,
    /// The whole of it was read.
    pub(super) whole: bool,
}

impl Line {
    /// Opens a connection to this address, with a handshake if `shake` is given.
    pub(super) async fn open(
        plan: &Plan,
        address: SocketAddr,
        shake: Option<&Shake>,
    ) -> Result<Self, Broken> {
        let opened = Instant::now();
        let tcp = connect::open(plan, address).await.map_err(Broken::Connect)?;
        let Some(shake) = shake else {
            let (sender, driver) = speak(TokioIo::new(tcp), false).await.map_err(Broken::Http)?;
            return Ok(Self { sender, _driver: driver, handshake: None, opened });
        };
        let start = Instant::now();
        let shaken = timeout(plan.patience(), shake.hands(tcp)).await;
        let stream = shaken
            .unwrap_or_else(|_| Err(Trouble::late("handshake")))
            .map_err(Broken::Handshake)?;
        let took = start.elapsed();
        let (_, session) = stream.get_ref();
        let version = session.protocol_version().and_then(|version| version.as_str());
        let handshake = Some(Handshaken { took, version: version.map(str::to_owned) });
        let two = session.alpn_protocol() == Some(b"h2");
        let (sender, driver) = speak(TokioIo::new(stream), two).await.map_err(Broken::Http)?;
        Ok(Self { sender, _driver: driver, handshake, opened })
    }

    /// Sends one request and reads the answer.
    pub(super) async fn ask(&mut self, plan: &Plan) -> Result<Answered, Trouble> {
        let request = self.request(plan)?;
        let start = Instant::now();
        let response = timeout(plan.patience(), self.sender.send(request)).await;
        let response = response.unwrap_or_else(|_| Err(Trouble::late("answer")))?;
        let first_byte = start.elapsed();
        let (head, body) = response.into_parts();
        let read = timeout(plan.patience(), drain(body)).await;
        let whole = read.unwrap_or_else(|_| Err(Trouble::late("end of the answer")))?;
        Ok(Answered {
            status: head.status,
            version: head.version,
            headers: head.headers,
            first_byte,
            total: start.elapsed(),
            whole,
        })
    }

    /// Whether another request can be sent. Waits for the connection to say so.
    pub(super) async fn is_kept(&mut self, plan: &Plan) -> bool {
        let ready = async {
            match &mut self.sender {
                Sender::One(sender) => sender.ready().await.is_ok(),
                Sender::Two(sender) => sender.ready().await.is_ok(),
            }
        };
        timeout(plan.patience(), ready).await.unwrap_or(false)
    }

    fn request(&self, plan: &Plan) -> Result<Request<Empty<Bytes>>, Trouble> {
        let mut request = Request::builder().method(plan.method.clone());
        request = match self.sender {
            Sender::One(_) => {
                request.uri(plan.target.path.as_str()).header(header::HOST, plan.target.authority())
            }
            Sender::Two(_) => request.version(Version::HTTP_2).uri(plan.target.url()),
        };
        let mut request = request
            .header(header::USER_AGENT, concat!("buttress-doctor/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "*/*")
            .body(Empty::new())
            .map_err(|error| Trouble::new(Kind::Nonsense, error.to_string()))?;
        for (name, value) in &plan.headers {
            if matches!(*name, header::USER_AGENT | header::ACCEPT) {
                request.headers_mut().insert(name, value.clone());
            } else {
                request.headers_mut().append(name, value.clone());
            }
        }
        Ok(request)
    }
}

impl Sender {
    async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, Trouble> {
        let sent = match self {
            Self::One(sender) => sender.send_request(request).await,
            Self::Two(sender) => sender.send_request(request).await,
        };
        sent.map_err(of_hyper)
    }
}

async fn speak<S>(io: TokioIo<S>, two: bool) -> Result<(Sender, JoinSet<()>), Trouble>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut driver = JoinSet::new();
    let sender = if two {
        let made = http2::handshake(TokioExecutor::new(), io).await;
        let (sender, connection) = made.map_err(of_hyper)?;
        driver.spawn(async { drop(connection.await) });
        Sender::Two(sender)
    } else {
        let (sender, connection) = http1::handshake(io).await.map_err(of_hyper)?;
        driver.spawn(async { drop(connection.await) });
        Sender::One(sender)
    };
    Ok((sender, driver))
}

/// Reads an answer to its end, or until it is too long; whether it came to its end.
async fn drain(mut body: Incoming) -> Result<bool, Trouble> {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(of_hyper)?;
        read += frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        if read > MOST_BYTES {
            return Ok(false);
        }
    }
    Ok(true)
}

fn of_hyper(error: hyper::Error) -> Trouble {
    // That the other side hung up is no I/O error to hyper.
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Trouble::new(Kind::Broken, error.to_string());
    }
    BoxError::from(error).into()
}
