//! gRPC statuses, and responses that end before they have begun.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress_core::{Attempts, cause};
use buttress_retry::{
    Backoff, BeforeFirstFrame, Ending, FirstFrame, HttpPolicy, ReplayBody, ReplayLimits, RetryLayer,
};
use buttress_testkit::{BodyFailure, Script};
use bytes::Bytes;
use common::{Reply, Watcher, get, post, send, upstream};
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::{Layer, ServiceBuilder, service_fn};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn grpc(body: Script) -> Reply {
    let mut response = Response::new(body);
    response.headers_mut().extend(map(&[("content-type", "application/grpc")]));
    Reply::Now(Ok(response))
}

fn stream(content_type: &'static str, body: Script) -> Reply {
    let mut response = Response::new(body);
    response.headers_mut().extend(map(&[("content-type", content_type)]));
    Reply::Now(Ok(response))
}

/// The status in trailers that come first, and the wait and the ending that follow.
async fn after_trailers(fields: &[(&'static str, &'static str)]) -> (Vec<Duration>, Ending) {
    let inner = upstream([grpc(Script::new().pending(1).trailers(map(fields)))]);
    let watcher = Watcher::default();
    let layer = RetryLayer::grpc().backoff(Backoff::fixed(ms(5))).observer(watcher.clone());
    send(&mut layer.layer(inner.clone()), post()).await.unwrap();
    (inner.waits(), watcher.ending())
}

#[tokio::test(start_paused = true)]
async fn a_grpc_status_in_trailers_is_a_failure_like_any_other() {
    let (waits, ending) = after_trailers(&[("grpc-status", "14")]).await;
    assert_eq!((waits, ending), (vec![ms(5)], Ending::Success));
}

#[tokio::test(start_paused = true)]
async fn a_grpc_status_in_headers_is_too() {
    let mut answer = Response::new(Script::new());
    answer.headers_mut().extend(map(&[("grpc-status", "14")]));
    let inner = upstream([Reply::Now(Ok(answer))]);
    send(&mut RetryLayer::grpc().layer(inner.clone()), post()).await.unwrap();
    assert_eq!(inner.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_unavailable_goes_again_unless_more_codes_are_named() {
    for code in ["1", "3", "4", "5", "8", "13", "what"] {
        let (waits, ending) = after_trailers(&[("grpc-status", code)]).await;
        assert_eq!((waits.len(), ending), (0, Ending::NotRetryable), "{code}");
    }
    let inner = upstream([grpc(Script::new().trailers(map(&[("grpc-status", "8")])))]);
    let layer =
        RetryLayer::new(HttpPolicy::grpc().grpc_codes([8, 14]).held()).commit(FirstFrame::new());
    send(&mut layer.layer(inner.clone()), post()).await.unwrap();
    assert_eq!(inner.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_503_from_something_on_the_way_counts_as_unavailable() {
    let inner = upstream([common::status(503)]);
    send(&mut RetryLayer::grpc().layer(inner.clone()), post()).await.unwrap();
    assert_eq!(inner.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn pushback_says_when_and_whether() {
    let with = |pushback| [("grpc-status", "14"), ("grpc-retry-pushback-ms", pushback)];
    let (waits, _) = after_trailers(&with("50")).await;
    assert!(ms(50) <= waits[0] && waits[0] <= ms(56), "{waits:?}");
    for never in ["-1", "abc", ""] {
        let (waits, ending) = after_trailers(&with(never)).await;
        assert_eq!((waits.len(), ending), (0, Ending::ServerSaidNo), "{never:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pushback_starts_the_backoff_over() {
    let failed = |fields: &[_]| grpc(Script::new().trailers(map(fields)));
    let inner = upstream([
        failed(&[("grpc-status", "14")]),
        failed(&[("grpc-status", "14"), ("grpc-retry-pushback-ms", "0")]),
        failed(&[("grpc-status", "14")]),
        failed(&[("grpc-status", "14")]),
    ]);
    let backoff = Backoff::exponential(ms(100), ms(10_000)).unwrap();
    let layer = RetryLayer::grpc()
        .max_attempts(5)
        .unwrap()
        .backoff(backoff.jitter(buttress_retry::Jitter::None));
    send(&mut layer.layer(inner.clone()), post()).await.unwrap();
    assert_eq!(inner.waits(), [ms(100), ms(0), ms(100), ms(200)]);
}

#[tokio::test(start_paused = true)]
async fn a_grpc_call_that_has_sent_a_message_is_committed() {
    let body = Script::new().data("message").trailers(map(&[("grpc-status", "14")]));
    let inner = upstream([grpc(body)]);
    let answer = send(&mut RetryLayer::grpc().layer(inner.clone()), post()).await.unwrap();
    let whole = answer.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["grpc-status"], "14");
    assert_eq!((whole.to_bytes(), inner.calls()), (Bytes::from("message"), 1));
}

#[tokio::test(start_paused = true)]
async fn a_grpc_timeout_is_a_deadline() {
    let begin = Instant::now();
    let mut request = post();
    request.headers_mut().insert("grpc-timeout", "200m".parse().unwrap());
    let error = send(&mut RetryLayer::grpc().layer(upstream([Reply::Never])), request).await;
    assert!(error.is_err());
    assert_eq!(begin.elapsed(), ms(200));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_off_before_its_first_event_goes_again() {
    for broken in [
        Script::new().fail("reset"),
        Script::new().data(": keep-alive\n\n").data("\n").fail("reset"),
    ] {
        let inner = upstream([stream("text/event-stream", broken)]);
        let answer = send(&mut RetryLayer::llm().layer(inner.clone()), post()).await.unwrap();
        assert_eq!(answer.extensions().get::<Attempts>().unwrap().made(), 2);
        assert_eq!(inner.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_begins_fails_with_the_reason() {
    let broken = || stream("text/event-stream", Script::new().fail("reset"));
    let inner = upstream((0..6).map(|_| broken()));
    let error = send(&mut RetryLayer::llm().layer(inner.clone()), post()).await.unwrap_err();
    assert!(cause::<BeforeFirstFrame>(&*error).is_some());
    assert!(cause::<BodyFailure>(&*error).is_some());
    assert_eq!(inner.calls(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_after_its_first_event_ends_with_the_error() {
    let inner =
        upstream([stream("text/event-stream", Script::new().data("data: a\n\n").fail("reset"))]);
    let answer = send(&mut RetryLayer::llm().layer(inner.clone()), post()).await.unwrap();
    let mut body = answer.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: a\n\n");
    assert!(body.frame().await.unwrap().is_err());
    assert_eq!(inner.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_first_token_delays_the_head_no_longer_than_it_is_told() {
    let begin = Instant::now();
    let inner =
        upstream([stream("text/event-stream", Script::new().wait(ms(60_000)).data("data: a\n\n"))]);
    let layer =
        RetryLayer::new(HttpPolicy::llm().held()).commit(FirstFrame::new().within(ms(3000)));
    let answer = send(&mut layer.layer(inner), post()).await.unwrap();
    assert_eq!(begin.elapsed(), ms(3000));
    let whole = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&whole[..], b"data: a\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_streamed_upload_is_sent_again_byte_for_byte() {
    // The inner service reads `read` frames, then answers; the third time it reads everything.
    for read in 0..4 {
        let calls = Arc::new(AtomicUsize::new(0));
        let received = Arc::new(Mutex::new(Vec::new()));
        let seen = received.clone();
        let inner = service_fn(move |request: http::Request<ReplayBody<Script>>| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            let seen = seen.clone();
            async move {
                let mut body = request.into_body();
                if call < 2 {
                    for _ in 0..read {
                        drop(body.frame().await);
                    }
                    let mut busy = Response::new(Script::new());
                    *busy.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                    return Ok::<_, buttress_core::BoxError>(busy);
                }
                let whole = body.collect().await?.to_bytes();
                seen.lock().unwrap().push(whole);
                Ok(Response::new(Script::new()))
            }
        });
        let policy = HttpPolicy::http().replay(ReplayLimits::new());
        let mut service = ServiceBuilder::new().layer(RetryLayer::new(policy)).service(inner);
        let body = Script::chunks(["one ", "two ", "three"], 1);
        let request = http::Request::put("http://api.example/").body(body).unwrap();
        send(&mut service, request).await.unwrap();
        assert_eq!(*received.lock().unwrap(), ["one two three"], "after {read} frames");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_too_long_to_record_is_sent_once_and_the_failure_says_why() {
    let watcher = Watcher::default();
    let inner = service_fn(|request: http::Request<ReplayBody<Script>>| async {
        request.into_body().collect().await?;
        let mut busy = Response::new(Script::new());
        *busy.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        Ok::<_, buttress_core::BoxError>(busy)
    });
    let policy = HttpPolicy::http().replay(ReplayLimits::new().per_request(64 * 1024));
    let layer = RetryLayer::new(policy).observer(watcher.clone());
    let body = Script::chunks(vec![vec![b'x'; 1024]; 65], 0);
    let request = http::Request::put("http://api.example/").body(body).unwrap();
    let answer = send(&mut layer.layer(inner), request).await.unwrap();
    assert_eq!((answer.status().as_u16(), watcher.ending()), (503, Ending::BodyNotReplayable));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_fails_is_not_sent_again() {
    let watcher = Watcher::default();
    let inner = service_fn(|request: http::Request<ReplayBody<Script>>| async {
        request.into_body().collect().await?;
        Ok::<_, buttress_core::BoxError>(Response::new(Script::new()))
    });
    let policy = HttpPolicy::http().replay(ReplayLimits::new());
    let layer = RetryLayer::new(policy).observer(watcher.clone());
    let body = Script::new().data("half").fail("the disk is gone");
    let request = http::Request::put("http://api.example/").body(body).unwrap();
    let error = send(&mut layer.layer(inner), request).await.unwrap_err();
    assert_eq!(cause::<BodyFailure>(&*error).unwrap().to_string(), "the disk is gone");
    assert_eq!(watcher.told().done.len(), 1);
    assert!(matches!(watcher.ending(), Ending::BodyNotReplayable | Ending::NotRetryable));
}

#[tokio::test(start_paused = true)]
async fn plain_responses_are_not_held() {
    let inner = upstream([Reply::Now(Ok(Response::new(Script::new().stall())))]);
    let answer = send(&mut RetryLayer::http().layer(inner), get()).await;
    assert!(answer.is_ok(), "its head is there, its body never will be");
}
