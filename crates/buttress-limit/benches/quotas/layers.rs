//! The whole layer around a service that answers at once.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    io,
    net::SocketAddr,
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_limit::{Global, Local, PeerAddr, Quota, RateLimitLayer};
use buttress_testkit::{Bench, bench::poll_once};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tokio::runtime::Runtime;
use tower::{
    Layer, Service, ServiceExt,
    buffer::Buffer,
    limit::{ConcurrencyLimit, RateLimit as TowerRateLimit},
};

use crate::{
    judge, over,
    raw::{address, generous, knows, refused, wander},
};

type Get = Request<Empty<Bytes>>;

#[derive(Clone, Copy)]
struct Answers;

impl Service<Get> for Answers {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Get) -> Self::Future {
        drop(black_box(request));
        ready(black_box(Ok(Response::new(Empty::new()))))
    }
}

fn get(number: u32) -> Get {
    let mut request = Request::new(Empty::new());
    let peer = SocketAddr::from((address(number), 4711));
    request.extensions_mut().insert(PeerAddr::new(peer));
    request
}

fn call<S: Service<Get>>(service: &mut S, request: Get) -> Result<S::Response, S::Error> {
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))), "every service is always ready");
    poll_once(service.call(request))
}

const BARE: &str = "bare service";
const ADMIT: &str = "admitted";
const GLOBAL: &str = "admitted, one key for all";
const SAID: &str = "admitted, with headers";
const DENY: &str = "denied";

pub(crate) fn run(count: u32) -> io::Result<bool> {
    let local = |quota| Local::new(quota)?.max_keys(200_000);
    // One limiter for all that is admitted, so that there are as many keys as is said.
    let ours = generous().and_then(local).map_err(refused)?;
    let spent = Quota::per_day(1).and_then(local).map_err(refused)?;
    let of_all = generous().and_then(local).map_err(refused)?;
    let ours_around = || RateLimitLayer::inbound(ours.clone());
    let mut admit = ours_around().layer(Answers);
    let mut exempt = ours_around().exempt(|_| true).layer(Answers);
    let mut global = RateLimitLayer::inbound(of_all).key(Global::new()).layer(Answers);
    let mut said = ours_around().headers().layer(Answers);
    let mut waits = ours_around().wait(Duration::from_secs(1)).layer(Answers);
    // A layer with next to nothing to do: what passing a request and its answer on costs alone.
    let mut tower = ConcurrencyLimit::new(Answers, 1_000);
    let mut deny = RateLimitLayer::inbound(spent.clone()).layer(Answers);
    for number in 0..count {
        for service in [&mut admit, &mut deny] {
            let _ = call(service, get(number));
        }
    }
    let mut starts = 0..;
    // In an order of its own for each case, so that none finds its next key in the nearest cache.
    let mut request = || {
        let mut wander = wander(count, starts.next().unwrap_or(0));
        move || get(wander())
    };
    let summary = Bench::new(format!("the layer, by the peer's address: {count} keys"))
        .case_with(BARE, request(), |request| call(&mut Answers, request))
        .case_with(ADMIT, request(), move |request| call(&mut admit, request))
        .case_with("exempt", request(), move |request| call(&mut exempt, request))
        .case_with(GLOBAL, request(), move |r| call(&mut global, r))
        .case_with(SAID, request(), move |request| call(&mut said, request))
        .case_with("admitted, where others may wait", request(), move |r| call(&mut waits, r))
        .case_with("tower ConcurrencyLimit", request(), move |request| call(&mut tower, request))
        .case_with(DENY, request(), move |request| call(&mut deny, request))
        .baseline(BARE)
        .calls(500)
        .rounds(400)
        .run()?;
    [&ours, &spent].into_iter().for_each(|limiter| knows(limiter, count));
    let most = if count == 1 { 60.0 } else { 180.0 };
    let mut met = judge("admitted over bare", over(&summary, ADMIT, BARE), most, "ns")?;
    met &= judge("one key for all over bare", over(&summary, GLOBAL, BARE), most, "ns")?;
    met &= judge("denied over bare", over(&summary, DENY, BARE), 1_000.0, "ns")?;
    // A denial says what is left and when to come back. So does an admission, if it is to: then they
    // are to be compared, but what callers flood a server with is the plain one.
    for (name, admitted) in [("denied, in admissions", ADMIT), ("in those with headers", SAID)] {
        if let (Some(admit), Some(deny)) = (summary.case(admitted), summary.case(DENY)) {
            let times = summary.is_timed().then(|| deny.min() / admit.min());
            met &= judge(name, times, 2.0, "times")?;
        }
    }
    Ok(met)
}

/// tower's has to stand in a `Buffer` to be something to clone, and that has a task of its own.
pub(crate) fn buffered(runtime: &Runtime) -> io::Result<()> {
    let _inside = runtime.enter();
    let rate = tower::limit::rate::Rate::new(u64::MAX, Duration::from_secs(1));
    let mut theirs = Buffer::new(TowerRateLimit::new(Answers, rate), 1_024);
    let mut ours =
        RateLimitLayer::outbound(generous().and_then(Local::new).map_err(refused)?).layer(Answers);
    let request = || {
        let mut wander = wander(1, 0);
        move || get(wander())
    };
    Bench::new("on a runtime, one call at a time")
        .case_with(BARE, request(), |r| runtime.block_on(whole(&mut Answers, r)))
        .case_with("RateLimitLayer, outbound", request(), move |r| {
            runtime.block_on(whole(&mut ours, r))
        })
        .case_with("tower RateLimit, Buffer", request(), move |r| {
            runtime.block_on(whole(&mut theirs, r))
        })
        .baseline(BARE)
        .calls(500)
        .rounds(200)
        .run()
        .map(drop)
}

async fn whole<S: Service<Get>>(service: &mut S, request: Get) -> Result<S::Response, S::Error> {
    service.ready().await?.call(request).await
}
