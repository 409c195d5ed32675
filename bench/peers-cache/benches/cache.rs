//! A hit, and a hundred who ask at once, through `CacheLayer` and through `http-cache-tower` with moka,
//! each over the same origin in the same process.
//!
//! Every case runs on the same single-threaded runtime and reads its body to the end.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_cache::{CacheLayer, MemoryStore};
use buttress_testkit::Bench;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use http_cache::MokaManager;
use http_cache_tower::HttpCacheLayer;
use tokio::{runtime::Runtime, task::JoinSet};
use tower::{Layer, Service, ServiceExt, service_fn};

const SIZES: [(&str, usize); 2] = [("1 KiB", 1 << 10), ("1 MiB", 1 << 20)];

/// An origin that counts its calls, takes `wait` for each, and whose answers may be kept.
fn origin(
    size: usize,
    wait: Duration,
    calls: Arc<AtomicU64>,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    let body = Bytes::from(vec![b'x'; size]);
    service_fn(move |_: Request<Full<Bytes>>| {
        calls.fetch_add(1, Ordering::Relaxed);
        let body = body.clone();
        async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let response = Response::builder()
                .header("content-type", "application/json")
                .header("cache-control", "public, max-age=86400")
                .header("etag", "\"0123456789abcdef\"")
                .header("server", "origin")
                .header("x-request-id", "7f0c2f6c-3f2e-4a8e-9a5f-0d1c2b3a4e5f")
                .body(Full::new(body));
            Ok(response.unwrap_or_default())
        }
    })
}

fn request() -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = http::Uri::from_static("http://site.example/api/v1/items?page=2");
    request
}

async fn read<S, B>(service: S) -> usize
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: Body,
    B::Error: std::fmt::Debug,
{
    let response = service.oneshot(request()).await.expect("an answer");
    response.into_body().collect().await.expect("a body").to_bytes().len()
}

fn ours() -> CacheLayer {
    CacheLayer::new(MemoryStore::new(256 << 20).expect("room"))
}

/// How often the origin is asked when a hundred ask at once.
async fn cold<S, B>(service: S, calls: Arc<AtomicU64>) -> u64
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: std::fmt::Debug + Send,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: std::fmt::Debug + Send,
{
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        tasks.spawn(read(service.clone()));
    }
    tasks.join_all().await;
    calls.load(Ordering::Relaxed)
}

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut bench = Bench::new("a hit").rounds(100).calls(100);
    for (name, size) in SIZES {
        let own = ours().layer(origin(size, Duration::ZERO, Arc::default()));
        let peer = HttpCacheLayer::new(MokaManager::default());
        let peer = peer.layer(origin(size, Duration::ZERO, Arc::default()));
        // One call each, so that all others are hits.
        runtime.block_on(read(own.clone()));
        runtime.block_on(read(peer.clone()));
        let (own_runtime, peer_runtime): (&Runtime, &Runtime) = (&runtime, &runtime);
        bench = bench
            .case(format!("buttress, {name}"), move || own_runtime.block_on(read(own.clone())))
            .case(format!("http-cache-tower, {name}"), move || {
                peer_runtime.block_on(read(peer.clone()))
            });
    }
    bench.baseline("buttress, 1 KiB").run()?;

    let wait = Duration::from_millis(100);
    let calls: Arc<AtomicU64> = Arc::default();
    let own = ours().layer(origin(1 << 10, wait, Arc::clone(&calls)));
    println!("a hundred at once, buttress: {} calls", runtime.block_on(cold(own, calls)));
    let calls: Arc<AtomicU64> = Arc::default();
    let peer = HttpCacheLayer::new(MokaManager::default());
    let peer = peer.layer(origin(1 << 10, wait, Arc::clone(&calls)));
    println!("a hundred at once, http-cache-tower: {} calls", runtime.block_on(cold(peer, calls)));
    Ok(())
}
