//! The scripted body and its handle.

use buttress_testkit::Script;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll(
    body: &mut Script,
    waker: &Waker,
) -> Poll<Option<Result<Frame<Bytes>, buttress_testkit::BodyFailure>>> {
    Pin::new(body).poll_frame(&mut Context::from_waker(waker))
}

fn is_data(polled: Poll<Option<Result<Frame<Bytes>, buttress_testkit::BodyFailure>>>) -> bool {
    matches!(polled, Poll::Ready(Some(Ok(frame))) if frame.is_data())
}

#[tokio::test]
async fn frames_come_in_order_and_the_trailers_last() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Script::chunks(["a", "b"], 3).trailers(trailers.clone());
    let handle = body.handle();

    let collected = body.collect().await.unwrap();

    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "ab");
    assert_eq!(handle.frames(), 3);
    assert_eq!(handle.bytes(), 2);
    assert_eq!(handle.polls(), 6 + 3 + 1, "six pending, three frames, the end");
    assert!(handle.is_ended() && handle.is_dropped());
}

#[test]
fn a_pending_step_wakes_its_task_and_a_stall_does_not() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut body = Script::new().pending(2).data("x").stall();
    assert!(poll(&mut body, &waker).is_pending());
    assert!(poll(&mut body, &waker).is_pending());
    assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    assert!(is_data(poll(&mut body, &waker)));
    for _ in 0..5 {
        assert!(poll(&mut body, &waker).is_pending());
    }
    assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    assert_eq!(body.handle().polls(), 8);
    assert!(!body.is_end_stream());
}

#[test]
fn a_hold_wakes_the_task_that_polled_last_and_each_release_opens_one() {
    let (first, last) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    let mut body = Script::new().hold().data("a").hold().data("b");
    let handle = body.handle();
    assert!(poll(&mut body, &Waker::from(Arc::clone(&first))).is_pending());
    let waker = Waker::from(Arc::clone(&last));
    assert!(poll(&mut body, &waker).is_pending());
    handle.release();
    assert_eq!((first.0.load(Ordering::Relaxed), last.0.load(Ordering::Relaxed)), (0, 1));
    assert!(is_data(poll(&mut body, &waker)));
    assert!(poll(&mut body, &waker).is_pending());
    handle.release();
    assert!(is_data(poll(&mut body, &waker)));
}

#[tokio::test(start_paused = true)]
async fn a_wait_takes_its_time_on_the_clock_of_tokio() {
    let start = tokio::time::Instant::now();
    let body = Script::new().data("a").wait(Duration::from_secs(5)).data("b");
    assert_eq!(body.collect().await.unwrap().to_bytes(), "ab");
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(6), "{waited:?}");
}

#[test]
fn a_failure_ends_the_body_and_later_polls_are_counted() {
    let mut body = Script::new().data("x").fail("reset").data("never");
    let handle = body.handle();
    assert!(is_data(poll(&mut body, Waker::noop())));
    let Poll::Ready(Some(Err(failure))) = poll(&mut body, Waker::noop()) else {
        panic!("no failure");
    };
    assert_eq!(failure.to_string(), "reset");
    assert_eq!(handle.polls_after_end(), 0);
    assert!(matches!(poll(&mut body, Waker::noop()), Poll::Ready(None)));
    assert_eq!(handle.polls_after_end(), 1);
    assert_eq!(handle.taken(), "x");
}

#[test]
fn an_endless_body_goes_on_and_its_handle_keeps_a_bounded_part() {
    let chunk = vec![b'x'; 64 * 1024];
    let mut body = Script::new().endless(chunk);
    let handle = body.handle();
    for _ in 0..100 {
        assert!(is_data(poll(&mut body, Waker::noop())));
    }
    assert_eq!(handle.bytes(), 100 * 64 * 1024);
    assert_eq!(handle.taken().len(), 1 << 20);
}

#[test]
fn the_size_hint_is_unknown_exact_or_claimed() {
    let unknown = Script::new().data("abc");
    assert_eq!((unknown.size_hint().lower(), unknown.size_hint().upper()), (0, None));

    let mut exact = Script::new().data("abc").pending(1).data("de").exact();
    assert_eq!(exact.size_hint().exact(), Some(5));
    assert!(is_data(poll(&mut exact, Waker::noop())));
    assert_eq!(exact.size_hint().exact(), Some(2));

    let mut claimed = Script::new().data("abc").claim(100);
    assert_eq!(claimed.size_hint().exact(), Some(100));
    assert!(is_data(poll(&mut claimed, Waker::noop())));
    assert_eq!(claimed.size_hint().exact(), Some(97));
}

#[test]
fn the_end_is_announced_unless_it_is_hidden() {
    assert!(Script::new().is_end_stream());
    assert!(!Script::new().hide_end().is_end_stream());
    let mut body = Script::new().data("x");
    assert!(!body.is_end_stream());
    assert!(is_data(poll(&mut body, Waker::noop())));
    assert!(body.is_end_stream());
    assert!(!body.handle().is_ended(), "nobody has polled for the end yet");
}
