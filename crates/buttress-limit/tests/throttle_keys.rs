//! A throttle for each key: judged apart, shared, and bounded.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod overload_common;

use std::time::Duration;

use buttress_limit::{ThrottleLayer, Throttling, throttle::Rule};
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use overload_common::{Side, get};
use tower::{Layer, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn keys_are_judged_apart_and_the_layer_shares_what_it_knows() {
    fastrand::seed(4);
    let throttling = Throttling::<String>::per_key(Rule::new(), 100).unwrap();
    let layer = ThrottleLayer::keyed(throttling.clone(), |head| head.uri.path().to_owned());
    let mut made = 0;
    for _ in 0..500 {
        tokio::time::advance(Duration::from_millis(10)).await;
        // As axum does: a service anew for each call.
        let client = layer.clone().layer(Side::new(503));
        made += usize::from(client.oneshot(get()).await.is_err());
    }
    assert!(made > 300, "{made} were refused");
    assert!(throttling.share_of(&"/things".to_owned()) > 0.8);
    assert_eq!(throttling.share_of(&"/others".to_owned()), 0.0);
}

#[tokio::test(start_paused = true)]
async fn keys_are_bounded_and_a_busy_one_is_not_forgotten_for_quiet_ones() {
    let throttling = Throttling::<String>::per_key(Rule::new(), 4).unwrap();
    let key = |path: usize| Request::get(format!("/{path}")).body(Empty::<Bytes>::new()).unwrap();
    let layer = ThrottleLayer::keyed(throttling.clone(), |head| head.uri.path().to_owned());
    let busy = layer.layer(Side::new(503));
    for _ in 0..50 {
        let _ = busy.clone().oneshot(key(0)).await;
    }
    let fine = layer.layer(Side::new(200));
    for path in 1..1_000 {
        assert!(fine.clone().oneshot(key(path)).await.is_ok());
    }
    assert_eq!(throttling.keys(), 4);
    assert!(throttling.share_of(&"/0".to_owned()) > 0.5);
    // Nor is it kept for ever once nobody calls it any more.
    for path in 0..4 {
        for _ in 0..50 {
            let _ = busy.clone().oneshot(key(path)).await;
        }
    }
    let crowded = busy.clone().oneshot(key(7)).await;
    assert!(crowded.is_ok() && throttling.share_of(&"/7".to_owned()) == 0.0);
    tokio::time::advance(31 * SECOND).await;
    for _ in 0..50 {
        let _ = busy.clone().oneshot(key(7)).await;
    }
    assert!(throttling.share_of(&"/7".to_owned()) > 0.5);
    assert_eq!(throttling.keys(), 4);
}
