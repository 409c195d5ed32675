//! Readiness, cancellation, and what is held while a call waits.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{io::ErrorKind, time::Duration};

use buttress_core::{BoxError, Phase, TimedOut, cause};
use buttress_retry::{Backoff, Budget, Ending, RetryLayer};
use buttress_testkit::{Planted, Replies, Script, Strict};
use common::{Reply, Watcher, get, response, send, upstream};
use http::Response;
use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceBuilder, limit::ConcurrencyLimitLayer};

const SECOND: Duration = Duration::from_secs(1);

fn busy(body: Script) -> Response<Script> {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    response
}

fn slow_backoff() -> Backoff {
    Backoff::fixed(10 * SECOND)
}

/// Lets every task and future that can go on do so.
async fn settle() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_failed_response_is_gone_before_the_wait() {
    let body = Script::new().data("sorry").stall();
    let long = Script::new().endless("x");
    for (body, name) in [(body, "stalled"), (long, "endless")] {
        let watched = body.handle();
        let inner = upstream([Reply::Now(Ok(busy(body)))]);
        let layer = RetryLayer::http().backoff(slow_backoff());
        let begin = Instant::now();
        let mut service = layer.layer(inner.clone());
        let call = tokio::spawn(async move { send(&mut service, get()).await });
        settle().await;
        advance(5 * SECOND).await;
        settle().await;
        assert!(watched.bytes() <= 17 * 1024, "{name}: {}", watched.bytes());
        if name == "endless" {
            assert!(watched.is_dropped(), "too long to be read to the end");
        }
        call.await.unwrap().unwrap();
        assert!(watched.is_dropped());
        assert_eq!(begin.elapsed(), 10 * SECOND, "{name}: draining holds nothing up");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_failed_response_is_read_to_its_end() {
    let body = Script::new().data("so").pending(2).data("rry");
    let watched = body.handle();
    let inner = upstream([Reply::Now(Ok(busy(body)))]);
    send(&mut RetryLayer::http().layer(inner), get()).await.unwrap();
    assert!(watched.is_dropped());
    assert_eq!(watched.bytes(), 5);
}

#[tokio::test(start_paused = true)]
async fn no_permit_is_held_while_a_call_waits() {
    let inner = upstream([Reply::Now(response(503))]);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::http().backoff(slow_backoff()))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(inner.clone());
    let begin = Instant::now();
    let (mut first, mut second) = (service.clone(), service);
    let (one, two) = tokio::join!(
        async {
            send(&mut first, get()).await.unwrap();
            begin.elapsed()
        },
        async {
            send(&mut second, get()).await.unwrap();
            begin.elapsed()
        }
    );
    assert_eq!((one, two), (10 * SECOND, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn two_callers_that_retry_make_progress_over_one_permit() {
    let inner = upstream((0..6).map(|_| Reply::After(SECOND, response(503))));
    let service = ServiceBuilder::new()
        .layer(RetryLayer::http().max_attempts(4).unwrap())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(inner.clone());
    let (mut first, mut second) = (service.clone(), service);
    let (one, two) = tokio::join!(send(&mut first, get()), send(&mut second, get()));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(inner.calls(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_become_ready_in_time_gives_the_last_error_back() {
    let replies = Replies::<Response<Script>>::each(|_| Err(Planted::new(4)));
    let (inner, handle) = Strict::new(replies);
    let watcher = Watcher::default();
    let layer = RetryLayer::http()
        .backoff(Backoff::fixed(SECOND))
        .ready_timeout(2 * SECOND)
        .observer(watcher.clone());
    let mut service = layer.layer(inner);
    let begin = Instant::now();
    let call = tokio::spawn(async move { send(&mut service, get()).await });
    settle().await;
    handle.block_ready();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(cause(&*error), Some(&Planted::new(4)));
    assert_eq!(begin.elapsed(), 3 * SECOND);
    assert_eq!((handle.calls(), watcher.ending()), (1, Ending::ReadyTimeout));
    handle.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn where_the_last_failure_was_a_response_that_is_gone_a_timeout_says_so() {
    let replies = Replies::<_>::each(|_| Ok(busy(Script::new())));
    let (inner, handle) = Strict::new(replies);
    let layer = RetryLayer::http().ready_timeout(2 * SECOND);
    let mut service = layer.layer(inner);
    let call = tokio::spawn(async move { send(&mut service, get()).await });
    settle().await;
    handle.block_ready();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(cause(&*error), Some(&TimedOut::new(Phase::Ready, 2 * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_readiness_is_final() {
    let replies = Replies::<_>::each(|_| Ok(busy(Script::new())));
    let (inner, handle) = Strict::new(replies);
    let watcher = Watcher::default();
    let mut service = RetryLayer::http().observer(watcher.clone()).layer(inner);
    std::future::poll_fn(|cx| {
        Service::<http::Request<common::Payload>>::poll_ready(&mut service, cx)
    })
    .await
    .unwrap();
    handle.fail_next_ready(Planted::new(9));
    let error: BoxError = service.call(get()).await.unwrap_err();
    assert_eq!(cause(&*error), Some(&Planted::new(9)));
    assert_eq!((handle.calls(), watcher.ending()), (1, Ending::NotReady));
}

/// Starts a call whose attempts fail with a 503, runs it for `time`, drops it, and returns what the
/// observer was told, together with the tokens left of two.
async fn dropped_after(time: Duration, blocked: bool) -> (Watcher, f64, usize) {
    let replies = Replies::<_>::each(|_| Ok(busy(Script::new())));
    let (inner, handle) = Strict::new(replies);
    let budget = Budget::percent(0.0).unwrap().floor_per_sec(0).unwrap().burst(2).unwrap();
    let watcher = Watcher::default();
    let layer =
        RetryLayer::http().backoff(slow_backoff()).budget(budget.clone()).observer(watcher.clone());
    let mut service = layer.layer(inner);
    if time.is_zero() {
        handle.hold();
    }
    let call = tokio::spawn(async move { send(&mut service, get()).await });
    settle().await;
    if blocked {
        handle.block_ready();
    }
    advance(time).await;
    settle().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    handle.assert_clean();
    (watcher, budget.balance(), handle.in_flight() + handle.instances())
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_during_an_attempt_leaves_nothing() {
    let (watcher, tokens, left) = dropped_after(Duration::ZERO, false).await;
    assert_eq!(watcher.told().cancelled, [1]);
    assert!(watcher.told().done.is_empty());
    assert_eq!((tokens, left), (2.0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_while_it_waits_gives_its_token_back() {
    let (watcher, tokens, left) = dropped_after(5 * SECOND, false).await;
    assert_eq!(watcher.told().cancelled, [1]);
    assert_eq!((tokens, left), (2.0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_before_the_service_is_ready_gives_its_token_back() {
    let (watcher, tokens, left) = dropped_after(11 * SECOND, true).await;
    assert_eq!(watcher.told().cancelled, [1]);
    assert_eq!((tokens, left), (2.0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_spent_when_the_attempt_is_sent() {
    let (watcher, tokens, left) = dropped_after(15 * SECOND, false).await;
    assert_eq!(watcher.told().cancelled, [2], "during the second wait");
    assert_eq!((tokens, left), (1.0, 0), "the second token came back, the first did not");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_done_or_cancelled_but_not_both() {
    let watcher = Watcher::default();
    let reset = || Err(std::io::Error::from(ErrorKind::ConnectionReset).into());
    let inner = upstream([Reply::Now(reset()), Reply::Now(response(200))]);
    send(&mut RetryLayer::http().observer(watcher.clone()).layer(inner), get()).await.unwrap();
    assert_eq!(watcher.told().done, [(2, Ending::Success)]);
    assert!(watcher.told().cancelled.is_empty());
    assert_eq!(watcher.told().retries.len(), 1);
}
