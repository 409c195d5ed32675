//! Calls of every kind over endpoints that refuse, break and come and go: none waits longer than it may, and
//! nothing is left behind.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_balance::{BalanceLayer, EndpointSet, Health, LeastRequest, NextUpstream};
use buttress_core::Attempts;
use common::{Net, endpoint, get, in_flight, plain};
use fastrand::Rng;
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer as _, ServiceExt as _};

const HOSTS: [&str; 3] = ["a", "b", "c"];
const WAIT: Duration = Duration::from_secs(5);
/// The longest time that an answer takes.
const ANSWER: Duration = Duration::from_millis(300);

fn some_millis(rng: &mut Rng, most: u64) -> Duration {
    Duration::from_millis(rng.u64(..most))
}

/// Half of the answers are refusals, most of them with a hint.
fn answers_anyhow(net: &Net, host: &str, rng: Rng) {
    let rng = Arc::new(Mutex::new(rng));
    net.on(host, move |_| {
        let (kind, time) = {
            let mut rng = rng.lock().unwrap();
            (rng.u32(..10), some_millis(&mut rng, 300))
        };
        async move {
            sleep(time).await;
            let status = [503, 500, 200][usize::from(kind > 4) + usize::from(kind > 5)];
            let mut response = plain(status);
            if kind < 4 {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Ok(response)
        }
    });
}

fn layer(set: &EndpointSet, rng: &mut Rng) -> BalanceLayer<LeastRequest> {
    let health = Health::new().max_hold(Duration::from_millis(200)).max_fails(rng.u32(..2));
    let next = NextUpstream::default().tries(6).unwrap();
    BalanceLayer::new(set.clone())
        .least_request()
        .health(health.fail_timeout(Duration::from_millis(1_500)).unwrap())
        .queue(rng.usize(1..20), WAIT)
        .next_upstream(if rng.bool() { next.revisit() } else { next })
}

/// A call whose body is in memory, to its end or given up.
async fn in_memory(layer: BalanceLayer<LeastRequest>, net: Net, patience: Option<Duration>) {
    let (call, begun) = (layer.layer(net).oneshot(get()), Instant::now());
    match patience {
        Some(patience) => drop(timeout(patience, call).await),
        None => drop(call.await),
    }
    // One more attempt may begin at the last moment.
    assert!(begun.elapsed() < WAIT + 6 * ANSWER, "{:?}", begun.elapsed());
}

/// A call whose body is a stream, sent again from outside: at once where it keeps its turn.
async fn streamed(layer: BalanceLayer<LeastRequest>, net: Net, mut rng: Rng) {
    let client = layer.without_failover().layer(net);
    let attempts = Attempts::first_of(rng.u32(1..6));
    loop {
        let (mut request, begun) = (get(), Instant::now());
        request.extensions_mut().insert(attempts.clone());
        let answer = client.clone().oneshot(request).await;
        assert!(begun.elapsed() < WAIT + ANSWER + ANSWER / 10, "{:?}", begun.elapsed());
        let is_good = answer.is_ok_and(|answer| answer.status() == StatusCode::OK);
        let has_turn = attempts.turn().is_some();
        if is_good || attempts.begin().is_none() {
            return;
        }
        if !has_turn {
            sleep(some_millis(&mut rng, 300)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_waits_longer_than_it_may_and_nothing_is_left_behind() {
    for seed in 0..100 {
        let mut rng = Rng::with_seed(seed);
        let net = Net::new();
        let limited = HOSTS.map(|host| endpoint(host).max_in_flight(rng.u32(1..3)).unwrap());
        let set = EndpointSet::new(limited.clone()).unwrap();
        HOSTS.iter().for_each(|host| answers_anyhow(&net, host, rng.fork()));
        let layer = layer(&set, &mut rng);
        let calls: Vec<_> = (0..30)
            .map(|_| {
                let (layer, net, mut rng) = (layer.clone(), net.clone(), rng.fork());
                tokio::spawn(async move {
                    sleep(some_millis(&mut rng, 2_000)).await;
                    match rng.u32(..4) {
                        0 => in_memory(layer, net, None).await,
                        1 => in_memory(layer, net, Some(some_millis(&mut rng, 800))).await,
                        2 => {
                            let patience = some_millis(&mut rng, 1_800);
                            let _ = timeout(patience, streamed(layer, net, rng)).await;
                        }
                        _ => streamed(layer, net, rng).await,
                    }
                })
            })
            .collect();
        for _ in 0..rng.usize(..20) {
            sleep(some_millis(&mut rng, 300)).await;
            let first = set.snapshot().first().map(|endpoint| endpoint.id);
            match first.filter(|_| rng.bool()) {
                Some(first) => drop(set.remove(first)),
                None => drop(set.insert(limited[rng.usize(..3)].clone())),
            }
        }
        set.replace_all(limited).unwrap();
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(in_flight(&set), 0, "seed {seed}");
        // When every hold and ejection is over, nobody stands before the next one.
        sleep(Duration::from_secs(100)).await;
        HOSTS.iter().for_each(|host| net.answers(host, 200));
        let before = Instant::now();
        let answer = layer.layer(net).oneshot(get()).await.unwrap();
        assert_eq!((answer.status(), before.elapsed()), (StatusCode::OK, Duration::ZERO));
    }
}
