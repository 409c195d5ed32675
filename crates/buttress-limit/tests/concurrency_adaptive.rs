//! Limits that are found: simulations in virtual time, one for each way in which such limits are
//! known to go wrong.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod overload_common;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress_core::{ByGrpcStatus, Phase, TimedOut};
use buttress_limit::{
    Concurrency, ConcurrencyLimitLayer,
    concurrency::{Aimd, Gradient, Limit, Observer, Wait},
};
use buttress_testkit::Script;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use overload_common::{get, status};
use tower::{BoxError, Layer, ServiceExt, service_fn};

/// A server of which the tests say how it behaves.
#[derive(Clone)]
struct Server {
    /// How long an answer takes with nothing else to do, in microseconds.
    base: Arc<AtomicU64>,
    /// As many as it serves at once; more wait for their turn.
    turn: Arc<tokio::sync::Semaphore>,
}

impl Server {
    fn new(base: Duration, width: usize) -> Self {
        Self {
            base: Arc::new(AtomicU64::new(base.as_micros().try_into().unwrap())),
            turn: Arc::new(tokio::sync::Semaphore::new(width)),
        }
    }

    fn becomes(&self, base: Duration) {
        self.base.store(base.as_micros().try_into().unwrap(), Ordering::Relaxed);
    }

    async fn serve(&self) -> Response<Full<Bytes>> {
        let _turn = self.turn.acquire().await.unwrap();
        let base = self.base.load(Ordering::Relaxed);
        // A few percent up and down, the same in each run.
        let jitter = fastrand::u64(0..base / 5 + 1);
        tokio::time::sleep(Duration::from_micros(base + jitter)).await;
        status(200)
    }
}

/// So many callers, each with one call after the other, until it is dropped.
struct Load {
    callers: Vec<tokio::task::JoinHandle<()>>,
    done: Arc<AtomicUsize>,
}

impl Load {
    fn start(limit: &Concurrency, server: &Server, callers: usize) -> Self {
        let server = server.clone();
        let inner = service_fn(move |_: Request<Empty<Bytes>>| {
            let server = server.clone();
            async move { Ok::<_, io::Error>(server.serve().await) }
        });
        let wait = Wait::fifo().max(Duration::from_secs(3600)).max_queue(100_000);
        let client = ConcurrencyLimitLayer::outbound(limit.clone()).wait(wait).layer(inner);
        let done = Arc::new(AtomicUsize::new(0));
        let caller = |_| {
            let (client, done) = (client.clone(), done.clone());
            tokio::spawn(async move {
                loop {
                    client.clone().oneshot(get()).await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        Self { callers: (0..callers).map(caller).collect(), done }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.callers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// The same for so long.
async fn drive(limit: &Concurrency, server: &Server, callers: usize, time: Duration) {
    let load = Load::start(limit, server, callers);
    tokio::time::sleep(time).await;
    drop(load);
    tokio::time::sleep(MS).await;
}

fn gradient(start: u32) -> Concurrency {
    Concurrency::new(Gradient::new().between(1, start, 1_000).unwrap())
}

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_latency_that_steps_up_does_not_bring_the_limit_down() {
    fastrand::seed(1);
    let (limit, server) = (gradient(200), Server::new(10 * MS, 10_000));
    drive(&limit, &server, 150, SECOND).await;
    assert!(limit.snapshot().limit >= 200);
    // Not because of a queue: what takes three times as long does so with one call as with many.
    server.becomes(30 * MS);
    let mut lowest = u32::MAX;
    let _load = Load::start(&limit, &server, 150);
    for _ in 0..100 {
        tokio::time::sleep(100 * MS).await;
        lowest = lowest.min(limit.snapshot().limit);
    }
    assert!(lowest >= 50, "it fell to {lowest}");
    assert!(limit.snapshot().limit >= 150, "it is back: {:?}", limit.snapshot());
}

#[tokio::test(start_paused = true)]
async fn one_fast_answer_does_not_pin_the_limit() {
    fastrand::seed(2);
    let (limit, server) = (gradient(20), Server::new(10 * MS, 10_000));
    drive(&limit, &server, 100, SECOND).await;
    server.becomes(Duration::from_micros(50));
    drive(&limit, &server, 1, 2 * MS).await;
    server.becomes(10 * MS);
    drive(&limit, &server, 100, 2 * SECOND).await;
    assert!(limit.snapshot().limit >= 100, "{:?}", limit.snapshot());
}

#[tokio::test(start_paused = true)]
async fn a_queue_in_the_server_is_found_and_kept_short() {
    fastrand::seed(3);
    // It serves 20 at once; with 200 callers and no limit an answer would take ten times as long.
    let (limit, server) = (gradient(20), Server::new(10 * MS, 20));
    drive(&limit, &server, 15, SECOND).await;
    drive(&limit, &server, 200, 10 * SECOND).await;
    let mut sum = 0;
    let load = Load::start(&limit, &server, 200);
    for _ in 0..50 {
        tokio::time::sleep(200 * MS).await;
        sum += limit.snapshot().limit;
    }
    let (mean, answered) = (sum / 50, load.done.load(Ordering::Relaxed));
    assert!((15..=60).contains(&mean), "the limit is about {mean}");
    // What it could serve at best is 10 s x 20 / 10.5 ms.
    assert!(answered >= 14_000, "it was kept busy: {answered}");
}

#[tokio::test(start_paused = true)]
async fn a_baseline_that_was_measured_under_load_does_not_last() {
    fastrand::seed(4);
    // The first that is ever seen of the server is a queue.
    let (limit, server) = (gradient(100), Server::new(50 * MS, 20));
    drive(&limit, &server, 120, 130 * SECOND).await;
    let found = limit.snapshot().limit;
    assert!(found <= 60, "it found out that 100 were too many: {found}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_not_used_does_not_grow() {
    fastrand::seed(5);
    let server = Server::new(10 * MS, 1_000);
    for limit in [
        Concurrency::new(Aimd::new().between(1, 10, 1_000).unwrap()),
        Concurrency::new(Gradient::new().between(1, 10, 1_000).unwrap()),
    ] {
        drive(&limit, &server, 1, 5 * SECOND).await;
        assert_eq!(limit.snapshot().limit, 10);
        drive(&limit, &server, 50, 5 * SECOND).await;
        assert!(limit.snapshot().limit > 10, "used, it does");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_of_two_kinds_do_not_bring_the_limit_down() {
    fastrand::seed(6);
    // As LLMs have them: short and long ones, and no queue at all.
    let limit = gradient(20);
    let inner = service_fn(|_: Request<Empty<Bytes>>| async {
        let long = fastrand::u8(..3) == 0;
        tokio::time::sleep(if long { 8 * SECOND } else { 200 * MS }).await;
        Ok::<_, io::Error>(status(200))
    });
    let wait = Wait::fifo().max(Duration::from_secs(3600));
    let client = ConcurrencyLimitLayer::outbound(limit.clone()).wait(wait).layer(inner);
    for _ in 0..40 {
        let client = client.clone();
        tokio::spawn(async move {
            loop {
                client.clone().oneshot(get()).await.unwrap();
            }
        });
    }
    tokio::time::sleep(600 * SECOND).await;
    assert!(limit.snapshot().limit >= 20, "{:?}", limit.snapshot());
}

/// A client whose calls all end in the same way, all together.
async fn burst(
    limit: &Concurrency,
    calls: usize,
    end: fn() -> Result<Response<Full<Bytes>>, BoxError>,
) {
    let inner = service_fn(move |_: Request<Empty<Bytes>>| async move {
        tokio::time::sleep(MS).await;
        end()
    });
    let client = ConcurrencyLimitLayer::outbound(limit.clone()).layer(inner);
    let calls: Vec<_> = (0..calls).map(|_| tokio::spawn(client.clone().oneshot(get()))).collect();
    for call in calls {
        let _ = call.await.unwrap();
    }
}

fn both(start: u32) -> [Concurrency; 2] {
    [
        Concurrency::new(Aimd::new().between(1, start, 1_000).unwrap()),
        Concurrency::new(Gradient::new().between(1, start, 1_000).unwrap()),
    ]
}

#[tokio::test(start_paused = true)]
async fn the_failures_of_one_burst_lower_the_limit_once() {
    for limit in both(100) {
        burst(&limit, 60, || Ok(status(503))).await;
        assert_eq!(limit.snapshot().limit, 90);
        burst(&limit, 60, || Ok(status(503))).await;
        assert_eq!(limit.snapshot().limit, 81);
    }
}

#[tokio::test(start_paused = true)]
async fn busy_answers_and_timeouts_are_overload_and_other_failures_are_not() {
    let late = || Err(TimedOut::new(Phase::FirstByte, SECOND).into());
    let not_connected = || Err(TimedOut::new(Phase::Connect, SECOND).into());
    let overload: [fn() -> _; 6] = [
        || Ok(status(429)),
        || Ok(status(503)),
        || Ok(status(529)),
        || Ok(status(504)),
        late,
        not_connected,
    ];
    for end in overload {
        for limit in both(100) {
            burst(&limit, 60, end).await;
            assert_eq!(limit.snapshot().limit, 90);
        }
    }
    let neutral: [fn() -> _; 4] = [
        || Ok(status(500)),
        || Ok(status(404)),
        || Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
        || Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
    ];
    for end in neutral {
        for limit in both(100) {
            burst(&limit, 100, end).await;
            assert_eq!(limit.snapshot().limit, 100);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_says_nothing() {
    for limit in both(10) {
        let inner = service_fn(|_: Request<Empty<Bytes>>| async {
            tokio::time::sleep(SECOND).await;
            Ok::<_, io::Error>(status(503))
        });
        let client = ConcurrencyLimitLayer::outbound(limit.clone()).layer(inner);
        for _ in 0..10 {
            let call = client.clone().oneshot(get());
            assert!(tokio::time::timeout(MS, call).await.is_err());
        }
        assert_eq!((limit.snapshot().limit, limit.snapshot().in_flight), (10, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_take_long_are_no_overload_unless_that_is_said() {
    let slow = |limit: Concurrency| async move {
        let server = Server::new(900 * MS, 10_000);
        drive(&limit, &server, 40, 30 * SECOND).await;
        limit.snapshot().limit
    };
    let aimd = || Aimd::new().between(1, 20, 1_000).unwrap();
    assert!(slow(Concurrency::new(aimd())).await > 20);
    assert!(slow(Concurrency::new(aimd().slow(100 * MS))).await < 20);
}

#[tokio::test(start_paused = true)]
async fn a_grpc_status_in_the_trailers_counts() {
    let limit = Concurrency::new(Aimd::new().between(1, 100, 1_000).unwrap());
    let inner = service_fn(|_: Request<Empty<Bytes>>| async {
        tokio::time::sleep(MS).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("8"));
        let body = Script::new().data("x").trailers(trailers).hide_end();
        Ok::<_, io::Error>(Response::new(body))
    });
    let layer = ConcurrencyLimitLayer::outbound(limit.clone()).classify(ByGrpcStatus::default());
    let response = layer.layer(inner).oneshot(get()).await.unwrap();
    assert_eq!(limit.snapshot().limit, 100);
    response.into_body().collect().await.unwrap();
    assert_eq!(limit.snapshot().limit, 90);
}

#[derive(Clone, Default)]
struct Changes(Arc<std::sync::Mutex<Vec<(u32, u32)>>>);

impl Observer for Changes {
    fn limit(&self, before: u32, after: u32) {
        self.0.lock().unwrap().push((before, after));
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_each_change() {
    let (changes, limit) = (Changes::default(), Concurrency::new(Aimd::new()));
    let inner = service_fn(|_: Request<Empty<Bytes>>| async {
        tokio::time::sleep(MS).await;
        Ok::<_, io::Error>(status(503))
    });
    let layer = ConcurrencyLimitLayer::outbound(limit).observer(changes.clone());
    for _ in 0..2 {
        layer.layer(inner).oneshot(get()).await.unwrap();
    }
    assert_eq!(*changes.0.lock().unwrap(), [(20, 18), (18, 16)]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_set_is_where_the_search_goes_on_within_its_bounds() {
    for limit in both(20) {
        limit.set_limit(50).unwrap();
        assert_eq!(limit.snapshot().limit, 50);
        burst(&limit, 40, || Ok(status(503))).await;
        assert_eq!(limit.snapshot().limit, 45);
        limit.set_limit(5_000).unwrap();
        assert_eq!(limit.snapshot().limit, 1_000);
    }
}

#[test]
fn bounds_that_do_not_rise_are_refused_by_name() {
    assert_eq!(Aimd::new().between(5, 3, 9).unwrap_err().setting(), "concurrency.between");
    assert!(Gradient::new().between(0, 3, 9).is_err());
    assert!(Gradient::new().tolerance(1.0).is_err());
    assert!(Gradient::new().tolerance(f64::NAN).is_err());
    assert!(Gradient::new().remeasure(MS).is_err());
    assert!(Aimd::new().decrease(1.0).is_err());
    assert!(matches!(Limit::from(Aimd::new()), Limit::Aimd(_)));
}
