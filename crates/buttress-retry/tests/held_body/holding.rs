use std::{
    future::Future,
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_core::cause;
use buttress_retry::{FirstFrame, Hold};
use buttress_testkit::{BodyFailure, Script};
use http::{Response, StatusCode, Version, header};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, advance};
use tokio_test::task;

use crate::support::{EVENTS, GRPC, JSON, grpc_status, held, held_for, response};

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_before_its_first_frame_is_an_error() {
    for content_type in [EVENTS, JSON, GRPC, "text/plain"] {
        let body = Script::new().wait(Duration::from_millis(300)).fail("connection reset");
        let handle = body.handle();
        let error = Hold::new(response(content_type, body), FirstFrame::new()).await.unwrap_err();
        assert!(cause::<BodyFailure>(&error).is_some());
        assert!(!error.to_string().contains("connection reset"));
        assert!(handle.is_dropped(), "the failed response is gone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_nothing_but_filler_is_an_error() {
    let streams = [
        (EVENTS, vec!["", ": keep-alive\r", "\n\r\n", ": still"]),
        (JSON, vec!["\n", "  \r\n", ""]),
    ];
    for (content_type, chunks) in streams {
        let body = Script::chunks(chunks, 1).fail("connection reset");
        let hold = Hold::new(response(content_type, body), FirstFrame::new());
        assert!(hold.await.is_err(), "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_first_frame_is_the_callers() {
    let body = Script::new().data("data: one\n\n").fail("connection reset");
    let mut body = held(EVENTS, body).await;
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "data: one\n\n");
    assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "connection reset");
}

#[tokio::test(start_paused = true)]
async fn the_first_event_ends_the_wait_and_nothing_is_lost() {
    let body = Script::new()
        .data(": keep-alive\n")
        .wait(Duration::from_millis(700))
        .data("\n")
        .data("")
        .data("data: one\n\n")
        .wait(Duration::from_secs(60))
        .data("data: two\n\n");
    let start = Instant::now();
    let body = held(EVENTS, body).await;
    assert_eq!(start.elapsed(), Duration::from_millis(700));
    let whole = body.collect().await.unwrap().to_bytes();
    assert_eq!(whole, ": keep-alive\n\ndata: one\n\ndata: two\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_slow_first_token_is_held_no_longer_than_the_limit() {
    for (content_type, first) in [(EVENTS, ": hello\n"), (JSON, " "), ("text/plain", "")] {
        let slow = || Script::new().data(first).wait(Duration::from_secs(90)).data("data: x");
        assert_eq!(held_for(content_type, slow()).await, 5000, "{content_type}");
        let body = held(content_type, slow()).await;
        let whole = body.collect().await.unwrap().to_bytes();
        assert_eq!(whole, format!("{first}data: x"), "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn keep_alives_do_not_extend_the_limit() {
    let body =
        (0..100).fold(Script::new(), |script, _| script.wait(Duration::from_secs(1)).data(":\n"));
    assert_eq!(held_for(EVENTS, body).await, 5000);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_nothing_takes_only_what_is_there() {
    let settings = FirstFrame::new().within(Duration::ZERO);
    let start = Instant::now();
    let late = response(EVENTS, Script::new().wait(Duration::from_secs(1)).fail("reset"));
    let mut body = Hold::new(late, settings).await.unwrap().into_body();
    assert!(start.elapsed() <= Duration::from_millis(1), "{:?}", start.elapsed());
    assert!(body.frame().await.unwrap().is_err());
    let early = response(EVENTS, Script::new().data(":\n").fail("reset"));
    assert!(Hold::new(early, settings).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn more_filler_than_is_peeked_at_lets_the_response_go() {
    let body = || Script::new().data(":".repeat(16)).data("x").hold().data("\n");
    let peek = |bytes| FirstFrame::new().peek(bytes);
    let start = Instant::now();
    let gone = Hold::new(response(EVENTS, body()), peek(16)).await.unwrap().into_body();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(gone.size_hint().lower(), 17);
    Hold::new(response(EVENTS, body()), peek(17)).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(5), "17 bytes are not more than 17");
    assert_eq!(FirstFrame::new().peek(usize::MAX), FirstFrame::new().peek(64 * 1024));
}

#[tokio::test(start_paused = true)]
async fn empty_frames_without_end_let_others_run_and_the_time_pass() {
    let body = Script::new().endless("");
    let settings = FirstFrame::new().within(Duration::from_millis(10));
    let mut hold = task::spawn(Hold::new(response("text/plain", body), settings));
    assert!(hold.poll().is_pending());
    assert!(hold.is_woken(), "it would be read on");
    advance(Duration::from_millis(11)).await;
    let Poll::Ready(Ok(kept)) = hold.poll() else {
        panic!("the time has passed");
    };
    assert!(kept.body().trailers().is_none());
    assert_eq!(kept.body().size_hint().lower(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_is_no_failure() {
    for content_type in [EVENTS, GRPC, "text/plain"] {
        let body = Script::new().wait(Duration::from_millis(1)).hide_end();
        let mut body = held(content_type, body).await;
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.frame().await.is_none());
    }
    let body = held(EVENTS, Script::chunks([": bye\n"], 0)).await;
    assert_eq!(body.collect().await.unwrap().to_bytes(), ": bye\n");
}

#[tokio::test(start_paused = true)]
async fn trailers_that_come_first_can_be_looked_at() {
    let body = Script::new().pending(1).data("").trailers(grpc_status("14"));
    let mut body = held(GRPC, body).await;
    assert_eq!(body.trailers().unwrap()["grpc-status"], "14");
    assert!(!body.is_end_stream());
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "14");
    assert!(body.trailers().is_none());
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn trailers_after_data_stay_where_they_are() {
    let body = held(GRPC, Script::new().data("message").trailers(grpc_status("14"))).await;
    assert!(body.trailers().is_none());
    let whole = body.collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["grpc-status"], "14");
    assert_eq!(whole.to_bytes(), "message");
}

#[tokio::test(start_paused = true)]
async fn a_response_with_nothing_to_wait_for_is_given_on_at_once() {
    let slow = || Script::new().wait(Duration::from_secs(1)).fail("reset");
    for status in [100, 101, 204, 205, 304] {
        let body = slow();
        let handle = body.handle();
        let mut response = response(EVENTS, body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let kept = Hold::new(response, FirstFrame::new()).await.unwrap();
        assert_eq!(kept.status(), status);
        assert_eq!(handle.polls(), 0, "{status}");
    }
    let empty = Hold::new(response(EVENTS, Script::new()), FirstFrame::new()).await.unwrap();
    assert!(empty.body().is_end_stream());
}

fn failed(body: Script) -> Response<Script> {
    let mut response = response(EVENTS, body);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_held_to_its_end_so_that_it_keeps_no_connection() {
    let body = Script::new().data("so").pending(2).data("rry");
    let kept = Hold::new(failed(body), FirstFrame::new()).await.unwrap().into_body();
    assert!(kept.is_whole());
    assert_eq!(kept.collect().await.unwrap().to_bytes(), "sorry");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_long_or_slow_is_given_on_as_it_is() {
    let begin = Instant::now();
    let slow = Script::new().data("so").wait(Duration::from_secs(60)).data("rry");
    let kept = Hold::new(failed(slow), FirstFrame::new()).await.unwrap().into_body();
    assert!(!kept.is_whole());
    assert_eq!(begin.elapsed(), Duration::from_millis(500));
    assert_eq!(kept.collect().await.unwrap().to_bytes(), "sorry");

    let long = Script::chunks(vec![vec![b'x'; 1000]; 40], 0);
    let handle = long.handle();
    let kept = Hold::new(failed(long), FirstFrame::new()).await.unwrap().into_body();
    assert!(!kept.is_whole());
    assert!(handle.bytes() <= 17 * 1024, "{}", handle.bytes());
    assert_eq!(kept.collect().await.unwrap().to_bytes().len(), 40_000);
}

#[tokio::test(start_paused = true)]
async fn a_failure_whose_body_breaks_off_keeps_its_status_and_breaks_off_later() {
    let body = Script::new().data("so").fail("reset");
    let kept = Hold::new(failed(body), FirstFrame::new()).await.unwrap();
    assert_eq!(kept.status(), StatusCode::SERVICE_UNAVAILABLE);
    let mut body = kept.into_body();
    assert_eq!(body.size_hint().exact(), None, "a length would let it end cleanly");
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "so");
    assert!(!body.is_end_stream());
    assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "reset");
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn head_extensions_and_version_are_kept() {
    let mut response = response(JSON, Script::new().data("{}"));
    response.extensions_mut().insert(7_u8);
    *response.version_mut() = Version::HTTP_2;
    let kept = Hold::new(response, FirstFrame::new()).await.unwrap();
    assert_eq!(kept.extensions().get(), Some(&7_u8));
    assert_eq!(kept.version(), Version::HTTP_2);
    assert_eq!(kept.headers()[header::CONTENT_TYPE], JSON);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_hold_drops_the_response() {
    let body = Script::new().stall();
    let handle = body.handle();
    let mut hold = Box::pin(Hold::new(response(EVENTS, body), FirstFrame::new()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(hold.as_mut().poll(&mut cx).is_pending());
    assert!(!handle.is_dropped());
    drop(hold);
    assert!(handle.is_dropped());
}
