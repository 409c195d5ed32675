use std::{task::Poll, time::Duration};

use buttress_retry::{Drain, Drained};
use buttress_testkit::Script;
use tokio::time::timeout;
use tokio_test::task;

use crate::support::grpc_status;

#[tokio::test(start_paused = true)]
async fn a_short_body_is_read_to_its_end_and_dropped() {
    let body = Script::chunks(["busy", ", sorry"], 1).trailers(grpc_status("14")).hide_end();
    let handle = body.handle();
    let mut drain = Drain::new(body);
    assert_eq!((&mut drain).await, Drained::Ended);
    assert!(handle.is_ended() && handle.is_dropped());
    assert_eq!(handle.bytes(), 11);
}

#[test]
fn reading_stops_at_the_cap() {
    let endless = Script::new().endless(vec![0; 1000]);
    let handle = endless.handle();
    let mut drain = task::spawn(Drain::new(endless));
    assert_eq!(drain.poll(), Poll::Ready(Drained::TooLong));
    assert_eq!(handle.bytes(), 17_000, "at most one frame beyond 16 KiB");
    assert!(handle.is_dropped());
}

#[test]
fn a_body_as_long_as_the_cap_is_drained() {
    for (cap, drained) in [(8, Drained::Ended), (7, Drained::TooLong)] {
        let body = Script::chunks(["1234", "5678"], 0).hide_end();
        let mut drain = task::spawn(Drain::at_most(body, cap));
        assert_eq!(drain.poll(), Poll::Ready(drained), "{cap}");
    }
}

#[test]
fn a_body_that_says_it_is_too_long_is_dropped_unread() {
    let huge = Script::new().endless("x").claim(10 << 30);
    let handle = huge.handle();
    let mut drain = task::spawn(Drain::new(huge));
    assert!(handle.is_dropped(), "before anything is polled");
    assert_eq!(drain.poll(), Poll::Ready(Drained::TooLong));
    assert_eq!(handle.polls(), 0);
}

#[test]
fn a_failure_ends_it() {
    let body = Script::new().data("x").fail("reset");
    let handle = body.handle();
    let mut drain = task::spawn(Drain::new(body));
    assert_eq!(drain.poll(), Poll::Ready(Drained::Failed));
    assert!(handle.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_dropped_with_the_drain() {
    let body = Script::new().data("x").stall();
    let handle = body.handle();
    let backoff = timeout(Duration::from_millis(200), Drain::new(body)).await;
    assert!(backoff.is_err());
    assert!(handle.is_dropped());
}

#[test]
fn empty_frames_without_end_let_others_run() {
    let mut drain = task::spawn(Drain::new(Script::new().endless("")));
    assert!(drain.poll().is_pending());
    assert!(drain.is_woken());
}
