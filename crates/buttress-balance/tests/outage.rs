//! What an endpoint that breaks costs its callers, and how it is tried.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{io, time::Duration};

use buttress_balance::{
    Adaptive, BalanceLayer, EndpointSet, HashKey, Health, LeastRequest, NextUpstream, Pick, State,
};
use bytes::Bytes;
use common::{Net, endpoint, get, in_flight, pass, plain, set};
use futures_util::future::join_all;
use http::{Method, Request};
use http_body_util::Full;
use tower::{Layer, ServiceExt};

const FAIL_TIMEOUT: Duration = Duration::from_secs(5);
const WINDOWS: u32 = 4;

/// How often a caller was failed while one of `count` endpoints fails everything that it gets, quicker
/// than the others answer.
async fn failures<P>(count: usize, policy: P, error: bool) -> u64
where
    P: Pick + Clone + HashKey<Request<Full<Bytes>>>,
{
    let net = Net::new();
    let hosts: Vec<_> = (0..count).map(|n| format!("h{n}")).collect();
    for host in &hosts[1..] {
        net.takes(host, Duration::from_millis(50), 200);
    }
    net.on("h0", move |_| async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if error {
            Err(io::Error::from(io::ErrorKind::ConnectionReset).into())
        } else {
            Ok(plain(500))
        }
    });
    let set = EndpointSet::new(hosts.iter().map(|host| endpoint(host))).unwrap();
    let client = BalanceLayer::new(set.clone())
        .policy(policy)
        .fail_timeout(FAIL_TIMEOUT)
        .unwrap()
        .next_upstream(NextUpstream::default().tries(1).unwrap())
        .layer(net.clone());
    let end = tokio::time::Instant::now() + FAIL_TIMEOUT * WINDOWS;
    let caller = || async {
        let mut failed = 0;
        while tokio::time::Instant::now() < end {
            let result = client.clone().oneshot(get()).await;
            failed += u64::from(!result.is_ok_and(|response| response.status() == 200));
        }
        failed
    };
    let failed = join_all((0..3).map(|_| caller())).await.into_iter().sum();
    assert!(net.all_calls() > 1_000, "{}", net.all_calls());
    assert_eq!(failed, net.calls("h0"), "the others fail nobody");
    failed
}

/// `max_fails` failures, and one more call that tries it each time.
const ALLOWED: u64 = (3 + 1) * WINDOWS as u64;

#[tokio::test(start_paused = true)]
async fn a_black_hole_costs_few_calls_however_many_endpoints_there_are() {
    for count in [2, 3, 50] {
        for error in [false, true] {
            let adaptive = failures(count, Adaptive::new(), error).await;
            // It may do without the one that it has not met yet.
            assert!(adaptive <= ALLOWED, "{adaptive} of {count}, adaptive");
            let least = failures(count, LeastRequest::new(), error).await;
            assert!((3..=ALLOWED).contains(&least), "{least} of {count}, least request");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_aimed_gives_its_turn_to_try_back() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.answers("a", 500);
    let client = BalanceLayer::new(set.clone())
        .least_request()
        .health(Health::new().no_jitter())
        .next_upstream(NextUpstream::default().tries(1).unwrap())
        .layer(net.clone());
    while set.snapshot()[0].state == State::InUse {
        drop(client.clone().oneshot(get()).await);
    }
    net.answers("a", 200);
    // Long enough for a `POST` to try, and for `CONNECT`, which is as little to be repeated.
    pass(46.0).await;
    let (calls, picks) = (net.calls("a"), set.snapshot()[0].picks);
    let bad: [fn(&mut Request<_>); 2] = [
        |request| *request.method_mut() = Method::CONNECT,
        |request| *request.uri_mut() = http::Uri::from_static("*"),
    ];
    for (nth, spoil) in (1..).zip(bad) {
        let mut request = get();
        spoil(&mut request);
        assert!(client.clone().oneshot(request).await.is_err());
        assert_eq!(set.snapshot()[0].picks, picks + nth, "it was the one to try");
        assert_eq!((set.snapshot()[0].state, in_flight(&set)), (State::Ejected, 0));
    }
    assert_eq!(net.calls("a"), calls, "nothing was sent");
    drop(client.clone().oneshot(get()).await.unwrap());
    assert_eq!(net.calls("a"), calls + 1, "the next one tries");
    assert_eq!(set.snapshot()[0].state, State::InUse);
}
