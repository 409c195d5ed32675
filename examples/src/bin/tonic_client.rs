//! A retry layer on a tonic channel.
//!
//! Any client that tonic generates takes the layered channel in place of the channel. Here it is
//! the one of the gRPC health service, which needs no code generation.
//!
//! Run: `cargo run -p examples --bin tonic_client`
//!
//! You see a server that answers `UNAVAILABLE` twice, which its log shows together with the count
//! that gRPC retries carry, and one call that gets its answer.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use buttress_core::BoxError;
use buttress_retry::{ReplayLimits, RetryLayer};
use tonic::{
    Status,
    body::Body,
    service::interceptor::InterceptedService,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::ServiceBuilder;

/// Refuses the first two calls.
fn warming_up() -> impl Fn(tonic::Request<()>) -> Result<tonic::Request<()>, Status> + Clone {
    let calls = Arc::new(AtomicUsize::new(0));
    move |call| {
        let before = call.metadata().get("grpc-previous-rpc-attempts");
        let before = before.and_then(|value| value.to_str().ok()).unwrap_or("0");
        let ready = calls.fetch_add(1, Ordering::Relaxed) >= 2;
        println!("    server: a call, {before} attempts before it; ready: {ready}");
        if ready { Ok(call) } else { Err(Status::unavailable("warming up")) }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
    let address = incoming.local_addr()?;
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder()
        .add_service(InterceptedService::new(health, warming_up()))
        .serve_with_incoming(incoming);
    let serving = tokio::spawn(server);

    // A message can be a stream, so it is recorded while it is sent.
    let channel = ServiceBuilder::new()
        .layer(RetryLayer::grpc().replay_into(ReplayLimits::new(), Body::new))
        .service(Endpoint::try_from(format!("http://{address}"))?.connect_lazy());

    let mut client = HealthClient::new(channel);
    let answer = client.check(HealthCheckRequest::default()).await?;
    println!("client: {:?}", answer.get_ref().status());
    serving.abort();
    Ok(())
}
