//! A retry layer around a bare hyper client, with uploads that are streamed.
//!
//! A stream can be read only once, so the layer records what it sends, up to a limit, and plays it
//! again for the next attempt: `replay(..)`. What hyper sends is then a `ReplayBody`.
//!
//! Run: `cargo run -p examples --bin hyper_client`
//!
//! You see an upload of 512 KiB that arrives whole although the server turned its first attempt
//! away; and one of 2 MiB that outgrew the limit, went out once, and got the server's 503.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{convert::Infallible, pin::pin};

use axum::{Router, body::Body, routing::put};
use buttress_core::{Attempts, BoxError};
use buttress_retry::{Done, Observer, ReplayLimits, RetryLayer};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use stand_in::BusyServer;
use tower::{ServiceBuilder, ServiceExt};

const PIECE: usize = 16 * 1024;
const MOST_RECORDED: usize = 1024 * 1024;

/// Prints why no further attempt was made.
#[derive(Clone, Copy)]
struct PrintEnding;

impl Observer for PrintEnding {
    fn done(&self, event: &Done) {
        println!("client: {} attempt(s), then {}", event.attempts, event.ending.as_str());
    }
}

/// What a program might read from a pipe, or make as it goes: pieces, and no length.
fn upload(pieces: usize) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin {
    let pieces = stream::iter(0..pieces).map(|_| Bytes::from(vec![b'.'; PIECE]));
    StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece))))
}

/// The server's side: counts what arrives.
async fn count(body: Body) -> Result<String, String> {
    let received = body.into_data_stream().try_fold(0, async |sum, piece| Ok(sum + piece.len()));
    let received = pin!(received).await.map_err(|error| error.to_string())?;
    Ok(format!("{received} bytes received"))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = BusyServer::start(2, Router::new().route("/upload", put(count))).await?;
    let limits = ReplayLimits::new().per_request(MOST_RECORDED);
    let client = ServiceBuilder::new()
        .layer(RetryLayer::http().observer(PrintEnding).replay(limits))
        .service(Client::builder(TokioExecutor::new()).build_http());

    for size in [512 * 1024, 2 * MOST_RECORDED] {
        println!("client: uploading {size} bytes");
        let request = Request::put(server.url("/upload")).body(upload(size / PIECE))?;
        let response: Response<_> = client.clone().oneshot(request).await?;
        let attempts = Attempts::made_in(response.extensions());
        let status = response.status();
        let text = response.into_body().collect().await?.to_bytes();
        println!("client: attempt {attempts}: {status}: {}", String::from_utf8_lossy(&text));
    }
    Ok(())
}
