//! Calls that succeed at the first attempt, whole.

use std::io;

use buttress_core::Deadline;
use buttress_retry::{CloneBody, HttpPolicy, NoRetry, Repeat, RetryLayer};
use buttress_testkit::{Bench, bench::Summary};
use bytes::Bytes;
use http::{Method, Request};
use http_body::Body;
use http_body_util::{Empty, Full};
use tower::{Layer, retry::RetryLayer as TowerLayer};

use crate::{
    BARE, OURS, OURS_FREE, TOWER, TOWER_BUDGET,
    inner::{Adds, Drains, call, head},
    peers::{HttpPeer, Peer},
    say_overhead,
};

pub(crate) fn run() -> io::Result<()> {
    numbers()?;
    http("GET, 10 headers, Empty body", &get())?;
    // The first clone of a header value that owns its bytes allocates, whoever makes it.
    finish(layers("GET, 10 headers, each request made anew", get))?;
    http("GET, 10 headers, with a Deadline", &get_with_deadline())?;
    http("POST, 1 KiB, Idempotency-Key", &post_with_key())?;
    post_without_key()?;
    http("GET that asks for an upgrade, so never again", &upgrade())?;
    http("GET with NoRetry", &not_again())?;
    one_attempt()?;
    held()
}

fn numbers() -> io::Result<()> {
    let ours = RetryLayer::new(Repeat::on_error());
    let (mut budgeted, mut free) = (ours.clone().layer(Adds), ours.no_budget().layer(Adds));
    let mut tower = TowerLayer::new(Peer::free()).layer(Adds);
    let mut tower_budget = TowerLayer::new(Peer::budgeted()).layer(Adds);
    let summary = Bench::new("u64, ready inner service")
        .case(BARE, || call(&mut Adds, 7))
        .case(OURS, || call(&mut budgeted, 7))
        .case(OURS_FREE, || call(&mut free, 7))
        .case(TOWER, || call(&mut tower, 7))
        .case(TOWER_BUDGET, || call(&mut tower_budget, 7))
        .baseline(TOWER_BUDGET)
        .rounds(1000)
        .run()?;
    say_overhead(&summary)
}

/// The four layers around a service that drains the body.
fn layers<'a, B>(title: &str, request: impl Fn() -> Request<B> + Copy + 'a) -> Bench<'a>
where
    B: Body + Clone + CloneBody + 'a,
{
    let mut ours = RetryLayer::http().layer(Drains);
    let mut free = RetryLayer::http().no_budget().layer(Drains);
    let mut tower = TowerLayer::new(HttpPeer::new(Peer::free())).layer(Drains);
    let mut tower_budget = TowerLayer::new(HttpPeer::new(Peer::budgeted())).layer(Drains);
    Bench::new(title)
        .case_with(BARE, request, |request| call(&mut Drains, request))
        .case_with(OURS, request, move |request| call(&mut ours, request))
        .case_with(OURS_FREE, request, move |request| call(&mut free, request))
        .case_with(TOWER, request, move |request| call(&mut tower, request))
        .case_with(TOWER_BUDGET, request, move |request| call(&mut tower_budget, request))
        .baseline(TOWER_BUDGET)
        .calls(200)
        .rounds(500)
}

fn finish(bench: Bench<'_>) -> io::Result<Summary> {
    let summary = bench.run()?;
    say_overhead(&summary)?;
    Ok(summary)
}

/// Measures with clones of one request, as most of a client's are.
fn http<B>(title: &str, template: &Request<B>) -> io::Result<()>
where
    B: Body + Clone + CloneBody,
{
    finish(layers(title, || template.clone())).map(drop)
}

fn get() -> Request<Empty<Bytes>> {
    built(head(Method::GET), Empty::new())
}

fn get_with_deadline() -> Request<Empty<Bytes>> {
    let soon = tokio::time::Instant::now() + std::time::Duration::from_secs(3600);
    let mut request = get();
    request.extensions_mut().insert(Deadline::at(soon.into_std()));
    request
}

fn not_again() -> Request<Empty<Bytes>> {
    let mut request = get();
    request.extensions_mut().insert(NoRetry::new());
    request
}

fn upgrade() -> Request<Empty<Bytes>> {
    built(head(Method::GET).header("upgrade", "websocket"), Empty::new())
}

fn kibibyte() -> Full<Bytes> {
    Full::new(Bytes::from(vec![b'x'; 1024]))
}

fn post_with_key() -> Request<Full<Bytes>> {
    built(head(Method::POST).header("idempotency-key", "a-key"), kibibyte())
}

fn built<B>(head: http::request::Builder, body: B) -> Request<B> {
    match head.body(body) {
        Ok(request) => request,
        Err(error) => unreachable!("the request is well formed: {error}"),
    }
}

/// Ours copies such a request too: if nothing was sent, it goes again. Whoever does not care for
/// that in tower can save the copy.
fn post_without_key() -> io::Result<()> {
    let template = built(head(Method::POST), kibibyte());
    let request = || template.clone();
    let mut careless = TowerLayer::new(HttpPeer::careless(Peer::budgeted())).layer(Drains);
    let bench = layers("POST, 1 KiB, no key", request);
    finish(bench.case_with("tower, TpsBudget, never a POST", request, move |request| {
        call(&mut careless, request)
    }))
    .map(drop)
}

fn one_attempt() -> io::Result<()> {
    let template = get();
    let request = || template.clone();
    let Ok(once) = RetryLayer::http().max_attempts(1) else {
        unreachable!("one attempt is allowed");
    };
    let mut once = once.layer(Drains);
    finish(layers("GET, 10 headers, one attempt at most", request).case_with(
        "buttress, max_attempts(1)",
        &request,
        move |request| call(&mut once, request),
    ))
    .map(drop)
}

/// What holding a response until it has begun costs.
fn held() -> io::Result<()> {
    let template = get();
    let request = || template.clone();
    let mut llm = RetryLayer::llm().layer(Drains);
    let mut grpc = RetryLayer::grpc().layer(Drains);
    let held = RetryLayer::new(HttpPolicy::http().held()).commit(buttress_retry::FirstFrame::new());
    let mut held = held.layer(Drains);
    finish(
        layers("GET, 10 headers, other presets", request)
            .case_with("buttress, http and commit", request, move |r| call(&mut held, r))
            .case_with("buttress, llm", request, move |r| call(&mut llm, r))
            .case_with("buttress, grpc", request, move |r| call(&mut grpc, r)),
    )
    .map(drop)
}
