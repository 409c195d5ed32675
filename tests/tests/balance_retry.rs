//! `RetryLayer` around `BalanceLayer`: one count of attempts, and no endpoint twice while there is
//! another one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::HashSet,
    future::ready,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_balance::{
    BalanceError, BalanceErrorKind, BalanceLayer, Endpoint, EndpointSet, Health, NextUpstream, On,
    Panic, Random, RoundRobin, Served,
};
use buttress_core::{Attempts, AttemptsFailed, BoxError, Outcome, cause};
use buttress_retry::{Backoff, Budget, RetryLayer};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use support::{in_flight, picks};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

type Answer = Result<Response<Full<Bytes>>, BoxError>;

/// What each endpoint says to every call.
#[derive(Clone, Copy, Debug)]
enum Says {
    Unavailable,
    Refused,
    Reset,
}

impl Says {
    fn answer(self) -> Answer {
        match self {
            Self::Unavailable => Ok(status(503)),
            Self::Refused => Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
            Self::Reset => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
        }
    }
}

fn status(code: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// The hosts that were called, in order.
type Log = Arc<Mutex<Vec<String>>>;

fn network(
    log: &Log,
    answer: impl Fn(&str) -> Answer + Clone,
) -> impl Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError> + Clone
{
    let log = Arc::clone(log);
    service_fn(move |request: Request<Full<Bytes>>| {
        let host = request.uri().host().unwrap().to_owned();
        let answer = answer(&host);
        log.lock().unwrap().push(host);
        ready(answer)
    })
}

fn set(endpoints: usize) -> EndpointSet {
    let of = |number| Endpoint::new(format!("http://host-{number}")).unwrap();
    EndpointSet::new((0..endpoints).map(of)).unwrap()
}

fn get() -> Request<Full<Bytes>> {
    Request::get("http://service.test/x").body(Full::default()).unwrap()
}

fn retry(attempts: u32) -> RetryLayer<buttress_retry::HttpPolicy> {
    RetryLayer::http()
        .max_attempts(attempts)
        .unwrap()
        .budget(Budget::unlimited())
        .backoff(Backoff::fixed(Duration::from_millis(5)))
}

/// Nothing is ejected, so that only the attempts decide where a call goes.
fn balance(set: &EndpointSet, tries: u32) -> BalanceLayer<Random> {
    let next = NextUpstream::default().tries(tries).unwrap();
    BalanceLayer::new(set.clone())
        .policy(Random::new())
        .health(Health::new().max_fails(0))
        .next_upstream(next)
}

#[tokio::test(start_paused = true)]
async fn attempts_of_both_layers_are_one_count() {
    for says in [Says::Unavailable, Says::Refused, Says::Reset] {
        for (endpoints, attempts, tries) in combinations() {
            let (log, set) = (Log::default(), set(endpoints));
            let client = ServiceBuilder::new()
                .layer(retry(attempts))
                .layer(balance(&set, tries))
                .service(network(&log, move |_| says.answer()));
            let result = client.oneshot(get()).await;

            let hosts = std::mem::take(&mut *log.lock().unwrap());
            let case = format!("{says:?}, {endpoints} endpoints, {attempts}, {tries}: {hosts:?}");
            // The first attempt is the balancer's own affair; every further one is counted by both.
            let first = tries.min(u32::try_from(endpoints).unwrap());
            let most = usize::try_from(attempts.max(first)).unwrap();
            assert_eq!(hosts.len(), most, "{case}");
            let made = match &result {
                Ok(response) => Attempts::made_in(response.extensions()),
                Err(error) => cause::<AttemptsFailed>(&**error).unwrap().attempts().made(),
            };
            assert_eq!(made, attempts.max(first), "{case}");
            // As many endpoints as there are, before one is asked again.
            let (fresh, _) = hosts.split_at(endpoints.min(hosts.len()));
            assert_eq!(fresh.iter().collect::<HashSet<_>>().len(), fresh.len(), "{case}");
            assert_eq!(picks(&set).iter().sum::<u64>(), hosts.len() as u64, "{case}");
            assert_eq!(in_flight(&set), 0, "{case}");
        }
    }
}

fn combinations() -> impl Iterator<Item = (usize, u32, u32)> {
    (1..=5).flat_map(|endpoints| {
        (1..=4).flat_map(move |attempts| (1..=4).map(move |tries| (endpoints, attempts, tries)))
    })
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_to_the_other_one_of_two_endpoints() {
    for _ in 0..50 {
        let (log, set) = (Log::default(), set(2));
        let first = Mutex::new(None);
        let first = Arc::new(first);
        // Whichever is called first fails from then on.
        let answer = move |host: &str| {
            let mut first = first.lock().unwrap();
            let bad = first.get_or_insert_with(|| host.to_owned()) == host;
            Ok(status(if bad { 503 } else { 200 }))
        };
        let client = ServiceBuilder::new()
            .layer(retry(2))
            .layer(balance(&set, 1))
            .service(network(&log, answer));
        let response = client.oneshot(get()).await.unwrap();
        let hosts = log.lock().unwrap().clone();
        assert_eq!(response.status(), StatusCode::OK, "{hosts:?}");
        assert_eq!(response.extensions().get::<Served>().unwrap().uri().host(), Some(&*hosts[1]));
        assert_eq!(Attempts::made_in(response.extensions()), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_to_the_only_endpoint_again() {
    let (log, set) = (Log::default(), set(1));
    let calls = Arc::clone(&log);
    let answer = move |_: &str| Ok(status(if calls.lock().unwrap().len() < 2 { 503 } else { 200 }));
    let client = ServiceBuilder::new()
        .layer(retry(3))
        .layer(balance(&set, 3))
        .service(network(&log, answer));
    assert_eq!(client.oneshot(get()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(log.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_was_sent_goes_out_once_and_one_that_was_not_goes_on() {
    let post = || Request::post("http://service.test/x").body(Full::from("order")).unwrap();
    for (says, calls) in [(Says::Reset, 1), (Says::Refused, 3)] {
        let (log, set) = (Log::default(), set(3));
        let client = ServiceBuilder::new()
            .layer(retry(3))
            .layer(balance(&set, 2))
            .service(network(&log, move |_| says.answer()));
        assert!(client.oneshot(post()).await.is_err());
        assert_eq!(log.lock().unwrap().len(), calls, "{says:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_out_the_time_in_which_no_endpoint_could_be_had() {
    let (log, set) = (Log::default(), EndpointSet::empty());
    let balance = BalanceLayer::new(set.clone()).queue(0, Duration::ZERO);
    let client = ServiceBuilder::new()
        .layer(retry(3))
        .layer(balance)
        .service(network(&log, |_| Ok(status(200))));
    let late = async {
        tokio::time::sleep(Duration::from_millis(7)).await;
        let _ = set.insert(Endpoint::new("http://late").unwrap());
    };
    let (response, ()) = tokio::join!(client.clone().oneshot(get()), late);
    assert_eq!(response.unwrap().status(), StatusCode::OK);

    let id = set.id_of("http://late").unwrap();
    assert!(set.remove(id));
    let error = client.oneshot(get()).await.err().unwrap();
    assert_eq!(cause::<BalanceError>(&*error).unwrap().kind(), BalanceErrorKind::Empty);
    assert_eq!(Outcome::of_error(&*error), Outcome::NotSent, "of three that were not sent");
    assert_eq!(log.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_endpoint_can_take_is_not_retried() {
    let (log, set) = (Log::default(), set(2));
    let client = ServiceBuilder::new()
        .layer(retry(3))
        .layer(balance(&set, 3))
        .service(network(&log, |_| Ok(status(200))));
    let star = Request::options("*").body(Full::default()).unwrap();
    let error = client.oneshot(star).await.err().unwrap();
    assert_eq!(cause::<BalanceError>(&*error).unwrap().kind(), BalanceErrorKind::BadTarget);
    assert!(cause::<AttemptsFailed>(&*error).is_none(), "one attempt, of which nothing was sent");
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn retries_come_back_once_ejected_endpoints_are_tried_again() {
    let (log, set) = (Log::default(), set(2));
    let down = Arc::new(Mutex::new(true));
    let state = Arc::clone(&down);
    let answer = move |_: &str| match *state.lock().unwrap() {
        true => Says::Refused.answer(),
        false => Ok(status(200)),
    };
    let health = Health::new().max_fails(1).max_ejected_percent(100).unwrap().no_jitter();
    let balance = BalanceLayer::new(set.clone())
        .policy(RoundRobin::new())
        .health(health)
        .panic(Panic::FailFast)
        .fail_timeout(Duration::from_secs(1))
        .unwrap()
        .next_upstream(NextUpstream::on([On::Error]));
    let client = ServiceBuilder::new()
        .layer(retry(3).backoff(Backoff::fixed(Duration::from_millis(600))))
        .layer(balance)
        .service(network(&log, answer));
    assert!(client.clone().oneshot(get()).await.is_err());
    let calls = log.lock().unwrap().len();
    *down.lock().unwrap() = false;
    // Both are out for a second more or less: one of the attempts after that finds one back.
    let response: Result<_, BoxError> = client.oneshot(get()).await;
    assert_eq!(response.unwrap().status(), StatusCode::OK);
    assert_eq!(log.lock().unwrap().len(), calls + 1, "what was out was not called");
}
