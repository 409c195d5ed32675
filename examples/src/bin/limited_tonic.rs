//! A tonic server that limits its clients, each by its address.
//!
//! The layer goes onto the server, and what it refuses has the gRPC status `RESOURCE_EXHAUSTED`.
//!
//! Run: `cargo run -p examples --bin limited_tonic`
//!
//! You see a client of the health service that makes five calls to a server with three a minute.
//! With `-- --serve 127.0.0.1:50051` it goes on serving, for any client of `grpc.health.v1.Health`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, net::SocketAddr};

use buttress_core::BoxError;
use buttress_limit::{ClientIp, Local, Quota, RateLimitLayer};
use tonic::transport::{
    Endpoint, Server,
    server::{TcpConnectInfo, TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

fn limit() -> Result<RateLimitLayer, BoxError> {
    let limiter = Local::new(Quota::per_minute(3)?)?;
    // Where tonic notes the peer of a connection.
    let client = ClientIp::peer().peer_from(|extensions| {
        let info = extensions.get::<TcpConnectInfo>()?;
        Some(info.remote_addr()?.ip())
    });
    Ok(RateLimitLayer::inbound(limiter).key(client))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (address, stays) = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => (SocketAddr::from(([127, 0, 0, 1], 0)), false),
        [flag, address] if flag == "--serve" => (address.parse()?, true),
        _ => return Err("the only argument is --serve ADDRESS".into()),
    };
    let incoming = TcpIncoming::bind(address)?;
    let address = incoming.local_addr()?;
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server =
        Server::builder().layer(limit()?).add_service(health).serve_with_incoming(incoming);
    if stays {
        println!("serving grpc.health.v1.Health on {address}");
        return Ok(server.await?);
    }
    let serving = tokio::spawn(server);

    let channel = Endpoint::try_from(format!("http://{address}"))?.connect_lazy();
    let mut client = HealthClient::new(channel);
    for call in 1..=5 {
        match client.check(HealthCheckRequest::default()).await {
            Ok(answer) => println!("call {call}: {:?}", answer.get_ref().status()),
            Err(status) => println!("call {call}: {:?}: {}", status.code(), status.message()),
        }
    }
    serving.abort();
    Ok(())
}
