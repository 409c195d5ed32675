//! Servers on loopback.
#![expect(dead_code, reason = "each test binary uses its own share")]
#![expect(clippy::unwrap_used, reason = "a test server that cannot start is a failed test")]

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use buttress::{Body, transport::Name};
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tower::util::service_fn as resolve_with;

/// A hyper server, HTTP/1.1 and HTTP/2, that ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Server {
    pub(crate) async fn start<F, R>(handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::accept(move |stream| serve(stream, handler.clone())).await
    }

    /// Hands each connection to `connection`.
    pub(crate) async fn accept<F, R>(connection: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::accept_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), connection)
    }

    /// Hands each connection that this listener takes to `connection`.
    pub(crate) fn accept_on<F, R>(listener: TcpListener, connection: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                tokio::spawn(connection(stream));
            }
        });
        Self { address, accepted, task: task.abort_handle() }
    }

    /// How many connections were opened.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve<I, F, R>(stream: I, handler: F)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let response = handler(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    // A client that goes away is no failure of the server.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// Reads the head of an HTTP/1.1 request.
pub(crate) async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
}

/// A resolver with one answer for every name.
pub(crate) fn resolver(
    addresses: impl Into<Vec<SocketAddr>>,
) -> impl tower::Service<
    Name,
    Response = Vec<SocketAddr>,
    Error = Infallible,
    Future = impl Future<Output = Result<Vec<SocketAddr>, Infallible>> + Send,
> + Clone
+ Send
+ Sync {
    let addresses = addresses.into();
    resolve_with(move |_: Name| std::future::ready(Ok(addresses.clone())))
}
