//! Background errors: three upstreams, each of which fails one request in a hundred by chance, harmless by
//! itself. The rule that nginx has for failures leaves all of them out; the one of Buttress none.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress::{
    Client, Endpoint, EndpointSet,
    balance::{BalanceLayer, Event, State},
};
use buttress_core::BoxError;
use buttress_gateway::rehearse::{Nginx, Recipe};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{net::TcpListener, task::JoinSet, time::MissedTickBehavior};

/// Requests a second, as in the measurement that this repeats.
const RATE: u32 = 600;
const SECONDS: u32 = 12;
const CALLS: u32 = RATE * SECONDS;

/// A server that answers 503 to one request in a hundred.
async fn imperfect(seed: u64) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let chance = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let chance = Arc::clone(&chance);
            let answer = service_fn(move |_: Request<Incoming>| {
                let bad = chance.lock().unwrap().random_bool(0.01);
                let status = if bad { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                let response = Response::builder().status(status).body(Full::<Bytes>::from("ok"));
                std::future::ready(response)
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(connection);
        }
    });
    address
}

async fn three(seed: u64) -> Vec<SocketAddr> {
    let mut upstreams = Vec::new();
    for nth in 0..3 {
        upstreams.push(imperfect(seed * 10 + nth).await);
    }
    upstreams
}

fn set(upstreams: &[SocketAddr]) -> EndpointSet {
    let endpoints =
        upstreams.iter().map(|address| Endpoint::new(format!("http://{address}")).unwrap());
    EndpointSet::new(endpoints).unwrap()
}

/// Sends the calls at their pace; how many were answered with anything but 200.
async fn failures<F>(call: impl Fn() -> F) -> u32
where
    F: Future<Output = Result<StatusCode, BoxError>> + Send + 'static,
{
    let mut pace = tokio::time::interval(Duration::from_secs(1) / RATE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        pace.tick().await;
        calls.spawn(call());
    }
    let mut failed = 0;
    while let Some(result) = calls.join_next().await {
        failed += u32::from(!matches!(result.unwrap(), Ok(StatusCode::OK)));
    }
    failed
}

/// One call of `client`, its body read.
async fn status(client: Client, uri: String) -> Result<StatusCode, BoxError> {
    let response = client.get(&uri).await?;
    let status = response.status();
    response.into_body().bytes(64 << 10).await?;
    Ok(status)
}

async fn through_nginx(seed: u64) -> u32 {
    let program = env::var_os("BUTTRESS_NGINX").unwrap_or_else(|| "nginx".into());
    let mut recipe = Recipe::default();
    recipe.fail_timeout = Duration::from_secs(10);
    let nginx = Nginx::start(program.as_ref(), &three(seed).await, &recipe).await.unwrap();
    let client = Client::builder().no_retry().build().unwrap();
    let uri = format!("http://{}/", nginx.address());
    failures(|| status(client.clone(), uri.clone())).await
}

/// The failures, and whether an endpoint was ever left out.
async fn through_buttress(seed: u64, layer: impl FnOnce(EndpointSet) -> Client) -> (u32, bool) {
    let set = set(&three(seed).await);
    let mut events = set.subscribe();
    let client = layer(set.clone());
    let failed = failures(|| status(client.clone(), "/".to_owned())).await;
    let mut ejected = set.snapshot().iter().any(|endpoint| endpoint.state != State::InUse);
    while let Some(event) = events.try_next() {
        ejected |= matches!(event, Event::Ejected { .. });
    }
    (failed, ejected)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nginx"]
async fn errors_that_are_harmless_take_every_upstream_of_nginx_and_none_of_ours() {
    let words = |set: EndpointSet| {
        let layer = BalanceLayer::new(set).least_request().max_fails(3);
        layer.fail_timeout(Duration::from_secs(10)).unwrap()
    };
    let once = |set| Client::builder().no_retry().balance(words(set).without_failover());
    let again = |set| Client::builder().no_retry().balance(words(set));
    let (nginx, once, again) = tokio::join!(
        through_nginx(1),
        through_buttress(2, |set| once(set).build().unwrap()),
        through_buttress(3, |set| again(set).build().unwrap()),
    );
    println!("{CALLS} calls each: nginx {nginx} failed, ours {once:?}, with failover {again:?}");
    assert!(nginx > CALLS / 2, "nginx did not collapse: {nginx} of {CALLS}");
    assert!((CALLS / 200..CALLS / 50).contains(&once.0), "not the 1 % that fail: {once:?}");
    assert!(again.0 <= 1, "an endpoint that was not tried was left: {again:?}");
    assert!(!once.1 && !again.1, "somebody was left out");
}
