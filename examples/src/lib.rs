//! The busy servers that the examples call when they are not given another one.
//!
//! Each prints a line for every request that reaches it, so that an example shows both sides: what
//! the caller did, and what the server saw of it.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

pub mod chat;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use tokio::{net::TcpListener, task::JoinHandle};

/// What a busy server asks for, in milliseconds.
const COME_BACK: &str = "100";

/// A server on loopback that has too much to do for some of its requests. Ends when it is dropped.
#[derive(Debug)]
pub struct BusyServer {
    address: SocketAddr,
    served: Arc<AtomicUsize>,
    task: JoinHandle<io::Result<()>>,
}

#[derive(Clone)]
struct Busy {
    every: usize,
    served: Arc<AtomicUsize>,
}

impl BusyServer {
    /// Serves `app` on a free port, and answers one of `every` requests with 503 instead, beginning
    /// with the first; 0 is never busy.
    ///
    /// # Errors
    ///
    /// If there is no port to listen on.
    pub async fn start(every: usize, app: Router) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let served = Arc::new(AtomicUsize::new(0));
        let busy = Busy { every, served: Arc::clone(&served) };
        let app = app.layer(middleware::from_fn_with_state(busy, turn_some_away));
        let task = tokio::spawn(axum::serve(listener, app).into_future());
        Ok(Self { address, served, task })
    }

    /// The URL of a path, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many requests have reached it.
    #[must_use]
    pub fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for BusyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn turn_some_away(State(busy): State<Busy>, request: Request, next: Next) -> Response {
    let number = busy.served.fetch_add(1, Ordering::Relaxed) + 1;
    let what = format!("    server: request {number}, {} {}", request.method(), request.uri());
    if busy.every != 0 && number % busy.every == 1 % busy.every {
        // A server that leaves an upload unread resets the connection, and its 503 may be lost.
        let mut upload = request.into_body().into_data_stream();
        while let Some(Ok(_)) = upload.next().await {}
        println!("{what}: 503, come back in {COME_BACK} ms");
        let hint = [("retry-after-ms", COME_BACK)];
        return (StatusCode::SERVICE_UNAVAILABLE, hint, "server busy").into_response();
    }
    let response = next.run(request).await;
    println!("{what}: {}", response.status().as_u16());
    response
}
