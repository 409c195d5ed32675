//! Servers that can die, and what a test file would otherwise have to say again.

#![allow(dead_code, reason = "no test file uses all of it")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod grpc;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use buttress_balance::{Endpoint, EndpointSet};
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::spawn_blocking,
};

/// A server on loopback with a runtime of its own, so that it can die with all its connections.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    pub(crate) fn start<F, Fut>(serve: F) -> Self
    where
        F: FnOnce(TcpListener) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move { serve(TcpListener::from_std(listener).unwrap()).await });
        Self { address, runtime: Some(runtime) }
    }

    /// Serves an axum router.
    pub(crate) fn axum(router: axum::Router) -> Self {
        Self::start(|listener| async { axum::serve(listener, router).await.unwrap() })
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::new(format!("http://{}", self.address)).unwrap()
    }

    /// Breaks all connections and takes no further one.
    pub(crate) async fn die(mut self) {
        let runtime = self.runtime.take().unwrap();
        spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
        let refused = TcpStream::connect(self.address).await.map(drop).map_err(|e| e.kind());
        assert_eq!(refused, Err(io::ErrorKind::ConnectionRefused));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) fn set_of<const N: usize>(servers: [&Server; N]) -> EndpointSet {
    EndpointSet::new(servers.map(Server::endpoint)).unwrap()
}

/// Calls in flight at all endpoints.
pub(crate) fn in_flight(set: &EndpointSet) -> u32 {
    set.snapshot().iter().map(|endpoint| endpoint.in_flight).sum()
}

/// Calls that ever went to each endpoint.
pub(crate) fn picks(set: &EndpointSet) -> Vec<u64> {
    set.snapshot().iter().map(|endpoint| endpoint.picks).collect()
}

pub(crate) async fn bytes<B>(response: http::Response<B>) -> Bytes
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    response.into_body().collect().await.unwrap().to_bytes()
}
