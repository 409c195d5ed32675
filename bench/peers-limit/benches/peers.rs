//! The layer beside tower_governor, on the same requests in the same run.
//!
//! `cargo bench --manifest-path bench/Cargo.toml -p peers-limit`; `-- --quick` for a tenth of the
//! rounds. Both limit by the peer's address as axum has it, over a service that answers at once.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{body::Body, extract::ConnectInfo};
use buttress_limit::{Local, Quota, RateLimitLayer, SettingError};
use buttress_testkit::{Bench, bench::poll_once};
use governor::middleware::{NoOpMiddleware, RateLimitingMiddleware, StateInformationMiddleware};
use http::{Request, Response};
use tower::{Layer, Service};
use tower_governor::{
    GovernorLayer,
    governor::{Governor, GovernorConfig, GovernorConfigBuilder},
    key_extractor::PeerIpKeyExtractor,
};

#[derive(Clone, Copy)]
struct Answers;

impl Service<Request<Body>> for Answers {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    // One and the same code in every case, whatever calls it.
    #[inline(never)]
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        drop(black_box(request));
        ready(black_box(Ok(Response::new(Body::empty()))))
    }
}

fn get(number: u32) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    let address = Ipv4Addr::from(number.wrapping_mul(2_654_435_761));
    let peer = SocketAddr::from((address, 4711));
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

fn wander(count: u32) -> impl FnMut() -> Request<Body> {
    let mut at = 0_u32;
    move || {
        at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        get((at >> 8) % count)
    }
}

fn call<S: Service<Request<Body>>>(service: &mut S, request: Request<Body>) -> bool {
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))));
    // tower_governor's answer to what it refuses is there at the first poll, too.
    poll_once(service.call(request)).is_ok()
}

type Config<M> = GovernorConfig<PeerIpKeyExtractor, M>;
type Theirs<M> = Governor<PeerIpKeyExtractor, M, Answers, Body>;

fn theirs<M>(config: Config<M>) -> Theirs<M>
where
    M: RateLimitingMiddleware<governor::clock::QuantaInstant>,
{
    GovernorLayer::new(Arc::new(config)).layer(Answers)
}

fn config(period: Duration, burst: u32) -> Config<NoOpMiddleware> {
    let mut builder = GovernorConfigBuilder::default();
    match builder.period(period).burst_size(burst).finish() {
        Some(config) => config,
        None => unreachable!("neither is zero"),
    }
}

fn said(period: Duration, burst: u32) -> Config<StateInformationMiddleware> {
    let mut builder = GovernorConfigBuilder::default();
    match builder.period(period).burst_size(burst).use_headers().finish() {
        Some(config) => config,
        None => unreachable!("neither is zero"),
    }
}

fn ours(quota: Result<Quota, SettingError>) -> io::Result<RateLimitLayer> {
    let limiter = quota.and_then(Local::new).and_then(|limiter| limiter.max_keys(200_000));
    Ok(RateLimitLayer::inbound(limiter.map_err(io::Error::other)?))
}

fn run(count: u32) -> io::Result<()> {
    const DAY: Duration = Duration::from_secs(86_400);
    // Plenty, and so slowly back that no key has its whole burst again: ours would be forgotten.
    let (slow, most) = (Duration::from_secs(10), 100_000_000);
    let plenty = || Quota::per_day(8_640)?.burst(u64::from(most));
    let mut admit = ours(plenty())?.layer(Answers);
    let mut shown = ours(plenty())?.headers().layer(Answers);
    let mut deny = ours(Quota::per_day(1))?.layer(Answers);
    let mut their_admit = theirs(config(slow, most));
    let mut their_shown = theirs(said(slow, most));
    let mut their_deny = theirs(config(DAY, 1));
    let mut their_deny_shown = theirs(said(DAY, 1));
    for number in 0..count {
        call(&mut admit, get(number));
        call(&mut shown, get(number));
        call(&mut deny, get(number));
        call(&mut their_admit, get(number));
        call(&mut their_shown, get(number));
        call(&mut their_deny, get(number));
        call(&mut their_deny_shown, get(number));
    }
    Bench::new(format!("by the peer's address: {count} keys"))
        .case_with("bare service", wander(count), |request| call(&mut Answers, request))
        .case_with("buttress, admitted", wander(count), move |r| call(&mut admit, r))
        .case_with("tower_governor, admitted", wander(count), move |r| call(&mut their_admit, r))
        .case_with("buttress, admitted, headers", wander(count), move |r| call(&mut shown, r))
        .case_with("tower_governor, admitted, headers", wander(count), move |r| {
            call(&mut their_shown, r)
        })
        .case_with("buttress, denied (with headers)", wander(count), move |r| call(&mut deny, r))
        .case_with("tower_governor, denied", wander(count), move |r| call(&mut their_deny, r))
        .case_with("tower_governor, denied, headers", wander(count), move |r| {
            call(&mut their_deny_shown, r)
        })
        .baseline("bare service")
        .calls(200)
        .rounds(500)
        .run()
        .map(drop)
}

fn main() -> io::Result<()> {
    run(1)?;
    run(100_000)
}
