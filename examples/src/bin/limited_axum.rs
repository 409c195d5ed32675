//! An axum server that limits its clients, each by its address.
//!
//! This is somebody's server as it may be today. The only thing added is `RateLimitLayer` on the
//! router, with five requests a minute for each client; the health check is exempt.
//!
//! Run: `cargo run -p examples --bin limited_axum`
//!
//! You see eight calls, of which five are answered and three are told when to come back. With
//! `-- --serve 127.0.0.1:8080` it goes on serving, for `curl -i http://127.0.0.1:8080/quote`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
};

use axum::{Router, routing::get};
use buttress_core::BoxError;
use buttress_limit::{ClientIp, Local, Quota, RateLimitLayer};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::net::TcpListener;

fn app(limiter: Local) -> Result<Router, BoxError> {
    // What a proxy in these networks says of the client counts; what others say does not.
    let client = ClientIp::behind(["10.0.0.0/8", "fd00::/8"])?;
    let limit = RateLimitLayer::inbound(limiter)
        .key(client)
        .exempt(|head| head.uri.path() == "/healthz")
        .headers();
    Ok(Router::new()
        .route("/quote", get(|| async { "lean on something\n" }))
        .route("/healthz", get(|| async { "fine\n" }))
        .layer(limit))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // Made once: all routes and connections count together.
    let limiter = Local::new(Quota::per_minute(5)?)?;
    // With the peer of each connection, by which the clients are told apart.
    let server = app(limiter)?.into_make_service_with_connect_info::<SocketAddr>();

    match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => {}
        [flag, address] if flag == "--serve" => {
            let listener = TcpListener::bind(address).await?;
            println!("try: curl -i http://{}/quote", listener.local_addr()?);
            return Ok(axum::serve(listener, server).await?);
        }
        _ => return Err("the only argument is --serve ADDRESS".into()),
    }

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(axum::serve(listener, server).into_future());
    let caller = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    for _ in 0..8 {
        let response = caller.get(format!("http://{address}/quote").parse()?).await?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let (limit, after) = (header("ratelimit"), header("retry-after"));
        let after = after.map(|after| format!(", retry-after: {after}")).unwrap_or_default();
        println!("{}, ratelimit: {}{after}", response.status(), limit.unwrap_or("-"));
        response.into_body().collect().await?;
    }
    let health = caller.get(format!("http://{address}/healthz").parse()?).await?;
    println!("the health check: {}", health.status());
    serving.abort();
    Ok(())
}
