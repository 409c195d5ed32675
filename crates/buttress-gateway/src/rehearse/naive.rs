//! The client that people have today: a new connection for every attempt, no waiting between them.

use std::io;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{
    lookup::Lookup,
    route::{CallOutcome, Ending, Route},
};

/// Attempts for one call: the first, and up to twelve retries.
const ATTEMPTS: u32 = 13;

/// Looks the name up and connects for every attempt, tries again at once on a `503`, and gives up
/// after thirteen attempts.
///
/// It closes each connection with a reset, once the answer has been read whole. Closing in order
/// would leave its side in `TIME_WAIT`: at 700 connections a second a run would use up the
/// ephemeral ports of the loopback address, and measure that instead.
#[derive(Debug)]
pub struct Naive {
    lookup: Lookup,
    host: String,
    port: u16,
}

impl Naive {
    /// Calls the API at `host` and `port`; every attempt asks `lookup` for the address.
    #[must_use]
    pub fn new(lookup: Lookup, host: String, port: u16) -> Self {
        Self { lookup, host, port }
    }

    async fn attempt(&self, body: Bytes) -> io::Result<StatusCode> {
        let addresses = self.lookup.addresses(&self.host).await?;
        let address = *addresses.first().ok_or(io::ErrorKind::NotFound)?;
        let stream = TcpStream::connect((address, self.port)).await?;
        stream.set_nodelay(true)?;
        stream.set_zero_linger()?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let exchange = self.exchange(sender, body);
        tokio::pin!(exchange, connection);
        tokio::select! {
            biased;
            status = &mut exchange => status,
            // Whatever it ended with, the exchange knows better.
            _ = &mut connection => exchange.await,
        }
    }

    async fn exchange(
        &self,
        mut sender: http1::SendRequest<Full<Bytes>>,
        body: Bytes,
    ) -> io::Result<StatusCode> {
        let request = Request::post("/v1/chat/completions")
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        response.into_body().collect().await.map_err(io::Error::other)?;
        Ok(status)
    }
}

impl Route for Naive {
    async fn chat(&self, body: Bytes) -> CallOutcome {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let ending = match self.attempt(body.clone()).await {
                Ok(StatusCode::OK) => Ending::Answered,
                Ok(StatusCode::SERVICE_UNAVAILABLE) if attempts < ATTEMPTS => continue,
                Ok(_) => Ending::Refused,
                Err(_) => Ending::Broken,
            };
            return CallOutcome::new(ending, attempts);
        }
    }
}
