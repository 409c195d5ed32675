//! Beside `tower::retry` with a policy of the same rules: as many sends, the same end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    cell::{Cell, RefCell},
    future::{Ready, ready},
    time::Duration,
};

use buttress_core::{BoxError, cause};
use buttress_retry::{Backoff, Repeat, RetryLayer};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use tower::{
    Layer, Service, ServiceExt,
    retry::{Policy, RetryLayer as TowerLayer},
    service_fn,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reset(usize);

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "connection {} was reset", self.0)
    }
}

impl std::error::Error for Reset {}

/// So many attempts at most, whenever the rule says that the last one failed.
#[derive(Clone)]
struct Times<F> {
    left: u32,
    failed: F,
}

impl<Req, Res, F> Policy<Req, Res, BoxError> for Times<F>
where
    Req: Clone,
    F: Fn(&Req, &Result<Res, BoxError>) -> bool,
{
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut Req,
        result: &mut Result<Res, BoxError>,
    ) -> Option<Ready<()>> {
        if self.left == 0 || !(self.failed)(request, result) {
            return None;
        }
        self.left -= 1;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

/// All sequences of `length` items.
fn sequences<T: Copy>(items: &[T], length: usize) -> Vec<Vec<T>> {
    (0..length).fold(vec![Vec::new()], |shorter, _| {
        let longer = |one: &Vec<T>| {
            items.iter().map(|item| [&one[..], &[*item]].concat()).collect::<Vec<_>>()
        };
        shorter.iter().flat_map(longer).collect()
    })
}

/// What every call of a service came to, and how often what is below was called.
type Told<T> = (Vec<Result<T, Option<Reset>>>, usize);

async fn told<S, R, T>(mut service: S, request: R, sends: &Cell<usize>) -> Told<T>
where
    S: Service<R, Response = T, Error = BoxError>,
    R: Clone,
{
    sends.set(0);
    let mut ends = Vec::new();
    // A second call through the same service: nothing of the first is left.
    for _ in 0..2 {
        let end = match service.ready().await {
            Ok(service) => service.call(request.clone()).await,
            Err(error) => Err(error),
        };
        ends.push(end.map_err(|error| cause::<Reset>(&*error).copied()));
    }
    (ends, sends.get())
}

fn at_once<P>(layer: RetryLayer<P>, attempts: u32) -> RetryLayer<P> {
    layer.no_budget().backoff(Backoff::fixed(Duration::ZERO)).max_attempts(attempts).unwrap()
}

#[tokio::test(start_paused = true)]
async fn as_many_plain_calls_are_sent_as_by_tower() {
    for script in sequences(&[true, false], 8) {
        for attempts in 1..=4 {
            let sends = Cell::new(0);
            let inner = service_fn(|request: u64| {
                let send = sends.get();
                sends.set(send + 1);
                let fine = script.get(send).copied().unwrap_or(true);
                ready(if fine { Ok(request + 1) } else { Err(BoxError::from(Reset(send))) })
            });
            let ours = at_once(RetryLayer::new(Repeat::on_error()), attempts).layer(inner);
            let failed = |_: &u64, result: &Result<u64, BoxError>| result.is_err();
            let tower = TowerLayer::new(Times { left: attempts - 1, failed }).layer(inner);
            assert_eq!(
                told(ours, 7, &sends).await,
                told(tower, 7, &sends).await,
                "{script:?}, {attempts} attempts"
            );
        }
    }
}

/// The rules of `RetryLayer::http`, as far as these answers go.
fn goes_again(
    request: &Request<Empty<Bytes>>,
    result: &Result<Response<Empty<Bytes>>, BoxError>,
) -> bool {
    let safe =
        request.method().is_idempotent() || request.headers().contains_key("idempotency-key");
    safe && match result {
        Ok(response) => matches!(response.status().as_u16(), 500 | 503),
        Err(_) => true,
    }
}

fn requests() -> Vec<Request<Empty<Bytes>>> {
    let of = |method, key: bool| {
        let head = Request::builder().method(method).uri("http://api.example/");
        let head = if key { head.header("idempotency-key", "a-key") } else { head };
        head.body(Empty::new()).unwrap()
    };
    vec![
        of(Method::GET, false),
        of(Method::DELETE, false),
        of(Method::POST, false),
        of(Method::POST, true),
        of(Method::PATCH, false),
    ]
}

#[tokio::test(start_paused = true)]
async fn as_many_http_calls_are_sent_as_by_tower() {
    // `None` is a connection that broke.
    for script in sequences(&[Some(200), Some(500), Some(503), Some(404), None], 4) {
        for request in requests() {
            let sends = Cell::new(0);
            let inner = service_fn(|_: Request<Empty<Bytes>>| {
                let send = sends.get();
                sends.set(send + 1);
                let Some(code) = script.get(send).copied().unwrap_or(Some(200)) else {
                    return ready(Err(BoxError::from(Reset(send))));
                };
                let mut response = Response::new(Empty::<Bytes>::new());
                *response.status_mut() = StatusCode::from_u16(code).unwrap();
                ready(Ok(response))
            });
            let status = |response: Response<Empty<Bytes>>| response.status();
            let ours = at_once(RetryLayer::http(), 3).layer(inner).map_response(status);
            let tower = TowerLayer::new(Times { left: 2, failed: goes_again });
            let tower = tower.layer(inner).map_response(status);
            assert_eq!(
                told(ours, request.clone(), &sends).await,
                told(tower, request.clone(), &sends).await,
                "{script:?}, {request:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_attempt_sees_the_request_as_it_came() {
    let seen = RefCell::new(Vec::new());
    let inner = service_fn(|request: Request<Empty<Bytes>>| {
        seen.borrow_mut().push((
            request.method().clone(),
            request.uri().clone(),
            request.headers().clone(),
        ));
        ready(Err::<Response<Empty<Bytes>>, _>(BoxError::from(Reset(0))))
    });
    let request = requests().remove(3);
    at_once(RetryLayer::http(), 3).layer(inner).oneshot(request.clone()).await.unwrap_err();
    let failed = |_: &Request<Empty<Bytes>>, _: &Result<Response<Empty<Bytes>>, BoxError>| true;
    TowerLayer::new(Times { left: 2, failed }).layer(inner).oneshot(request).await.unwrap_err();
    let seen = seen.into_inner();
    assert_eq!(seen.len(), 6);
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}
