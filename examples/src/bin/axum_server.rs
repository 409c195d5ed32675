//! An axum server that calls a busy upstream through one retry layer.
//!
//! This is somebody's project as it may be today: axum in front, a pooled hyper client behind. The
//! only thing added is `RetryLayer` in `upstream()`.
//!
//! Run: `cargo run -p examples --bin axum_server`
//!
//! You see six calls, which are all answered, while every third request that reaches the upstream
//! is told to come back later. With `-- --serve 127.0.0.1:8080` it goes on serving, for
//! `curl http://127.0.0.1:8080/weather/1`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, net::Ipv4Addr, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use buttress_core::BoxError;
use buttress_retry::{HttpPolicy, Retry, RetryLayer};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use stand_in::BusyServer;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};

type Upstream = Retry<Client<HttpConnector, Empty<Bytes>>, HttpPolicy>;

/// What the handlers share. Its clones share the connections and the retry budget.
#[derive(Clone)]
struct App {
    upstream: Upstream,
    base: String,
}

fn upstream() -> Upstream {
    let retry = RetryLayer::http()
        .attempt_timeout(Duration::from_secs(1))
        .total_timeout(Duration::from_secs(5));
    let client = Client::builder(TokioExecutor::new()).build_http();
    ServiceBuilder::new().layer(retry).service(client)
}

impl App {
    async fn forecast(self, station: u32) -> Result<String, BoxError> {
        let request = Request::get(format!("{}/{station}", self.base)).body(Empty::new())?;
        let response = self.upstream.oneshot(request).await?;
        if !response.status().is_success() {
            return Err(format!("the upstream answered {}", response.status()).into());
        }
        let body = Limited::new(response.into_body(), 64 * 1024).collect().await?.to_bytes();
        Ok(String::from_utf8(body.into())?)
    }
}

async fn weather(
    State(app): State<App>,
    Path(station): Path<u32>,
) -> Result<String, (StatusCode, String)> {
    let failed = |error: BoxError| (StatusCode::BAD_GATEWAY, error.to_string());
    app.forecast(station).await.map_err(failed)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let report = |Path(station): Path<u32>| async move { format!("station {station}: windy\n") };
    let busy =
        BusyServer::start(3, Router::new().route("/forecast/{station}", get(report))).await?;
    let app = App { upstream: upstream(), base: busy.url("/forecast") };
    let server = Router::new().route("/weather/{station}", get(weather)).with_state(app);

    match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => {}
        [flag, address] if flag == "--serve" => {
            let listener = TcpListener::bind(address).await?;
            println!("try: curl http://{}/weather/1", listener.local_addr()?);
            return Ok(axum::serve(listener, server).await?);
        }
        _ => return Err("the only argument is --serve ADDRESS".into()),
    }

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(axum::serve(listener, server).into_future());

    let caller = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut answered = 0;
    for station in 1..=6 {
        let response = caller.get(format!("http://{address}/weather/{station}").parse()?).await?;
        answered += usize::from(response.status().is_success());
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        println!("caller: {status}: {}", String::from_utf8_lossy(&body).trim_end());
    }
    println!("{answered} of 6 calls answered, with {} requests to the upstream", busy.served());
    serving.abort();
    Ok(())
}
