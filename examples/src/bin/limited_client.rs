//! A hyper client that never has more than four calls under way, and that spares a server which
//! mostly says that it is busy.
//!
//! The limit and what is known of the server are made once, outside of the layers, so that every
//! clone of the client shares them, and the program can look at them.
//!
//! Run: `cargo run -p examples --bin limited_client`
//!
//! You see 40 calls at once, of which four are under way at a time; then a server that turns
//! everything away, to which most calls are not sent any more; and, when it is well again, that
//! calls are back within seconds.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use buttress_core::{BoxError, cause};
use buttress_limit::{
    Concurrency, ConcurrencyLimitLayer, ThrottleLayer, Throttled, Throttling,
    concurrency::{Limit, Wait},
    throttle::Rule,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tower::{Service, ServiceBuilder, ServiceExt};

/// What the server counts and is told.
#[derive(Clone, Default)]
struct Server {
    busy: Arc<AtomicBool>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

async fn work(State(server): State<Server>) -> Result<&'static str, StatusCode> {
    server.requests.fetch_add(1, Ordering::Relaxed);
    if server.busy.load(Ordering::Relaxed) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let under_way = server.under_way.fetch_add(1, Ordering::Relaxed) + 1;
    server.most.fetch_max(under_way, Ordering::Relaxed);
    sleep(Duration::from_millis(20)).await;
    server.under_way.fetch_sub(1, Ordering::Relaxed);
    Ok("done")
}

/// Makes calls, so many at once; says how many were answered with 200, and how many were not sent.
async fn calls<S, B>(client: &S, url: &str, count: usize, at_once: usize) -> (usize, usize)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = BoxError>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Send> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    let (mut answered, mut unsent) = (0, 0);
    for number in 0..count + at_once {
        if number < count
            && let Ok(request) = Request::get(url).body(Empty::new())
        {
            let client = client.clone();
            under_way.spawn(async move {
                let response = client.oneshot(request).await?;
                let status = response.status();
                // The place is given back when the body has ended.
                let _ = response.into_body().collect().await;
                Ok::<_, BoxError>(status)
            });
        }
        if number + 1 < at_once {
            continue;
        }
        match under_way.join_next().await {
            Some(Ok(Ok(status))) => answered += usize::from(status.is_success()),
            Some(Ok(Err(error))) => {
                unsent += usize::from(cause::<Throttled>(&*error).is_some());
            }
            Some(Err(_)) | None => {}
        }
    }
    (answered, unsent)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = Server::default();
    let app = Router::new().route("/work", get(work)).with_state(server.clone());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}/work", listener.local_addr()?);
    let serving = tokio::spawn(axum::serve(listener, app).into_future());

    let limit = Concurrency::new(Limit::fixed(4)?);
    let throttling = Throttling::new(Rule::new());
    let client = ServiceBuilder::new()
        .layer(ThrottleLayer::new(throttling.clone()))
        .layer(ConcurrencyLimitLayer::outbound(limit.clone()).wait(Wait::fifo().max_queue(100)))
        .service(Client::builder(TokioExecutor::new()).build_http());

    println!("client: 40 calls at once, {} under way at a time at most", limit.snapshot().limit);
    let (answered, _) = calls(&client, &url, 40, 40).await;
    let most = server.most.load(Ordering::Relaxed);
    println!("client: {answered} of 40 were answered; the server saw {most} at a time");

    println!("server: busy from now on");
    server.busy.store(true, Ordering::Relaxed);
    let before = server.requests.load(Ordering::Relaxed);
    let (_, unsent) = calls(&client, &url, 1_000, 1).await;
    let seen = server.requests.load(Ordering::Relaxed) - before;
    println!("client: {unsent} of 1000 calls were not sent; the server saw {seen}");

    println!("server: well again");
    server.busy.store(false, Ordering::Relaxed);
    let mut seconds = 0;
    while throttling.share() > 0.0 && seconds < 30 {
        sleep(Duration::from_secs(1)).await;
        calls(&client, &url, 100, 1).await;
        seconds += 1;
    }
    println!("client: nothing is held back any more after about {seconds} s");
    let (answered, _) = calls(&client, &url, 50, 1).await;
    println!("client: {answered} of 50 were answered");
    serving.abort();
    Ok(())
}
