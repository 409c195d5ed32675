//! A retry layer around a reqwest client that a project has already.
//!
//! reqwest has request and response types of its own, and converts them from and to those of the
//! `http` crate. A request whose body is `Bytes` costs nothing to repeat.
//!
//! Run: `cargo run -p examples --bin reqwest_client` (or `... -- http://HOST/PATH`)
//!
//! You see a server that is busy for one of two requests. A `GET` is answered all the same, and so
//! is a `POST` with an `Idempotency-Key`; a `POST` without one goes out once, because nobody said
//! that it does no harm twice.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::env;

use axum::{Router, routing::get};
use buttress_core::{Attempts, BoxError};
use buttress_retry::RetryLayer;
use bytes::Bytes;
use http::{Request, Response};
use stand_in::BusyServer;
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let hello = || async { "hello" };
    let server = BusyServer::start(2, Router::new().route("/", get(hello).post(hello))).await?;
    let url = env::args().nth(1).unwrap_or_else(|| server.url("/"));

    // A proxy has no way to a server on loopback.
    let reqwest = reqwest::Client::builder().no_proxy().build()?;
    let client = ServiceBuilder::new().layer(RetryLayer::http()).service_fn(
        move |request: Request<Bytes>| {
            let reqwest = reqwest.clone();
            async move { reqwest.execute(request.try_into()?).await.map(Response::from) }
        },
    );

    let requests = [
        Request::get(&url).body(Bytes::new())?,
        Request::post(&url)
            .header("idempotency-key", "order-17")
            .body(Bytes::from_static(b"an order"))?,
        Request::post(&url).body(Bytes::from_static(b"an order"))?,
    ];
    for request in requests {
        let method = request.method().clone();
        let response = client.clone().oneshot(request).await?;
        let attempts = Attempts::made_in(response.extensions());
        let response = reqwest::Response::from(response);
        let status = response.status();
        println!("client: {method}, {attempts} attempt(s): {status}: {}", response.text().await?);
    }
    Ok(())
}
