//! Ten gigabytes through a store of 256 MiB.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;

use buttress_cache::{CacheLayer, MemoryStore};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer as _, ServiceExt as _, service_fn};

const MIB: u64 = 1 << 20;

/// The pages of this process that are in memory, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_and_what_is_on_its_way_stay_within_the_bounds() {
    let origin = service_fn(|request: Request<Empty<Bytes>>| async move {
        let mark = request.uri().path().len().try_into().unwrap_or(7_u8);
        let body = Full::new(Bytes::from(vec![mark; 1 << 20]));
        let response = Response::builder().header("cache-control", "max-age=600");
        Ok::<_, Infallible>(response.body(body).unwrap())
    });
    let layer = CacheLayer::new(MemoryStore::new(256 * MIB).unwrap());
    let client = layer.layer(origin);
    let before = resident();
    let mut most = 0;
    for number in 0..10_000 {
        let request = Request::get(format!("http://a.example/{number}")).body(Empty::new());
        let mut body = client.clone().oneshot(request.unwrap()).await.unwrap().into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(bytes, 1 << 20);
        most = most.max(resident().saturating_sub(before));
    }
    assert!(most <= 256 * MIB * 13 / 10, "{} MiB", most / MIB);
    assert!(layer.handle().statistics().usage.bytes <= 256 * MIB);
}
