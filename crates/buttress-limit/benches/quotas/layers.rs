//! The whole layer around a service that answers at once.

use std::{io, time::Duration};

use buttress_limit::{Global, Local, Quota, RateLimitLayer, SettingError};
use buttress_testkit::{Bench, bench::Summary};
use tokio::runtime::Runtime;
use tower::{
    Layer, Service, ServiceExt,
    buffer::Buffer,
    limit::{ConcurrencyLimit, RateLimit as TowerRateLimit},
};

use crate::{
    judge, over,
    raw::{generous, knows, refused},
    service::{Answers, Callers, Get, InLine, call, get},
};

const BARE: &str = "bare service";
const ADMIT: &str = "admitted";
const GLOBAL: &str = "admitted, one key for all";
const SAID: &str = "admitted, with headers";
const DENY: &str = "denied";

fn local(quota: Result<Quota, SettingError>) -> io::Result<Local> {
    quota.and_then(|quota| Local::new(quota)?.max_keys(200_000)).map_err(refused)
}

const fn most(count: u32) -> f64 {
    if count == 1 { 60.0 } else { 180.0 }
}

/// What the layer costs a request that passes.
pub(crate) fn admissions(count: u32) -> io::Result<bool> {
    // One limiter for all that is admitted, so that there are as many keys as is said.
    let (ours, of_all) = (local(generous())?, local(generous())?);
    let ours_around = || RateLimitLayer::inbound(ours.clone());
    let mut admit = ours_around().layer(Answers);
    let mut in_line = ours_around().layer(InLine);
    let mut exempt = ours_around().exempt(|_| true).layer(Answers);
    let mut global = RateLimitLayer::inbound(of_all).key(Global::new()).layer(Answers);
    let mut said = ours_around().headers().layer(Answers);
    let mut waits = ours_around().wait(Duration::from_secs(1)).layer(Answers);
    // A layer with next to nothing to do: what passing a request and its answer on costs alone.
    let mut tower = ConcurrencyLimit::new(Answers, 1_000);
    for number in 0..count {
        let _ = call(&mut admit, get(number));
    }
    let mut callers = Callers::new(count);
    let summary = Bench::new(format!("the layer, by the peer's address: {count} keys"))
        .case_with(BARE, callers.requests(), |r| call(&mut Answers, r))
        .case_with(ADMIT, callers.requests(), move |r| call(&mut admit, r))
        .case_with("exempt", callers.requests(), move |r| call(&mut exempt, r))
        .case_with(GLOBAL, callers.requests(), move |r| call(&mut global, r))
        .case_with(SAID, callers.requests(), move |r| call(&mut said, r))
        .case_with("admitted, where others may wait", callers.requests(), move |r| {
            call(&mut waits, r)
        })
        .case_with("tower ConcurrencyLimit", callers.requests(), move |r| call(&mut tower, r))
        .case_with("bare service, in line", callers.requests(), |r| call(&mut InLine, r))
        .case_with("admitted, in line", callers.requests(), move |r| call(&mut in_line, r))
        .baseline(BARE)
        .calls(200)
        .rounds(1_000)
        .run()?;
    knows(&ours, count);
    let mut met = judge("admitted over bare", over(&summary, ADMIT, BARE), most(count), "ns")?;
    met &= judge("one key for all over bare", over(&summary, GLOBAL, BARE), most(count), "ns")?;
    Ok(met)
}

/// What a denial costs beside an admission. Each has a limiter of its own, so that none finds what
/// another has just left in the cache.
pub(crate) fn denials(count: u32) -> io::Result<bool> {
    let limiters = [local(generous())?, local(generous())?, local(Quota::per_day(1))?];
    let [mut admit, mut said, mut deny] = {
        let [plain, aloud, spent] = limiters.clone().map(RateLimitLayer::inbound);
        [plain, aloud.headers(), spent].map(|layer| layer.layer(Answers))
    };
    for number in 0..count {
        for service in [&mut admit, &mut said, &mut deny] {
            let _ = call(service, get(number));
        }
    }
    let mut callers = Callers::new(count);
    let summary = Bench::new(format!("a denial beside an admission: {count} keys"))
        .case_with(BARE, callers.requests(), |r| call(&mut Answers, r))
        .case_with(ADMIT, callers.requests(), move |r| call(&mut admit, r))
        .case_with(SAID, callers.requests(), move |r| call(&mut said, r))
        .case_with(DENY, callers.requests(), move |r| call(&mut deny, r))
        .baseline(BARE)
        .calls(200)
        .rounds(1_000)
        .run()?;
    limiters.iter().for_each(|limiter| knows(limiter, count));
    // What an admission costs is judged where there are no more keys than is said.
    let mut met = judge("denied over bare", over(&summary, DENY, BARE), 1_000.0, "ns")?;
    // A denial says what is left and when to come back. So does an admission, if it is to: then they
    // are to be compared, but what callers flood a server with is the plain one.
    met &= judge("denied, in admissions", times(&summary, DENY, ADMIT), 2.0, "times")?;
    met &= judge("in those with headers", times(&summary, DENY, SAID), 2.0, "times")?;
    Ok(met)
}

fn times(summary: &Summary, case: &str, base: &str) -> Option<f64> {
    summary.is_timed().then_some(())?;
    Some(summary.case(case)?.min() / summary.case(base)?.min())
}

/// tower's has to stand in a `Buffer` to be something to clone, and that has a task of its own.
pub(crate) fn buffered(runtime: &Runtime) -> io::Result<()> {
    let _inside = runtime.enter();
    let rate = tower::limit::rate::Rate::new(u64::MAX, Duration::from_secs(1));
    let mut theirs = Buffer::new(TowerRateLimit::new(Answers, rate), 1_024);
    let mut ours =
        RateLimitLayer::outbound(generous().and_then(Local::new).map_err(refused)?).layer(Answers);
    let mut callers = Callers::new(1);
    Bench::new("on a runtime, one call at a time")
        .case_with(BARE, callers.requests(), |r| runtime.block_on(whole(&mut Answers, r)))
        .case_with("RateLimitLayer, outbound", callers.requests(), move |r| {
            runtime.block_on(whole(&mut ours, r))
        })
        .case_with("tower RateLimit, Buffer", callers.requests(), move |r| {
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
