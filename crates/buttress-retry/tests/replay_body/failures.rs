use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::cause;
use buttress_retry::{NotReplayable, ReplayBody, SourceFailed};
use buttress_testkit::{BodyFailure, Script};
use bytes::Bytes;
use http_body::{Body, Frame};
use tokio_test::assert_pending;

use crate::support::{KIB, data, error, limits, poll, read, record};

#[test]
fn a_source_that_failed_is_never_taken_for_one_that_ended() {
    // After its failure a `Script` yields `None`, as many bodies do.
    let (mut first, replay) = record(Script::new().data("half").fail("upload reset"));
    assert_eq!(data(poll(&mut first)), "half");
    assert_eq!(replay.replayable(), Ok(()));
    for _ in 0..3 {
        let error = error(poll(&mut first));
        assert!(cause::<SourceFailed>(&*error).is_some());
        assert_eq!(cause::<BodyFailure>(&*error).unwrap().to_string(), "upload reset");
        assert!(!first.is_end_stream());
    }
    assert_eq!(replay.replayable(), Err(NotReplayable::SourceFailed));
    assert_eq!(replay.body().unwrap_err(), NotReplayable::SourceFailed);
}

#[test]
fn a_failure_after_the_replayed_part_reaches_the_later_attempt() {
    let source = Script::new().data("half").pending(1).fail("upload reset");
    let (mut first, replay) = record(source);
    let _ = data(poll(&mut first));
    let mut second = replay.body().unwrap();
    assert_eq!(data(poll(&mut second)), "half");
    assert_pending!(poll(&mut second));
    assert!(error(poll(&mut second)).is::<SourceFailed>());
    assert!(error(poll(&mut second)).is::<SourceFailed>());
}

#[test]
fn a_failed_source_is_let_go() {
    let (limits, memory) = limits(64 * KIB);
    let source = Script::new().data("half").fail("upload reset");
    let handle = source.handle();
    let (mut first, replay) = ReplayBody::record(source, &limits);
    let _ = read(&mut first).unwrap_err();
    assert!(handle.is_dropped() && memory.used() == 0);
    drop(replay);
}

/// Panics at its second poll.
struct Panicking(u32);

impl Body for Panicking {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0 += 1;
        assert_eq!(self.0, 1, "planted");
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

#[test]
fn a_source_that_panicked_has_failed_and_nothing_else_panics() {
    let (mut first, replay) = record(Panicking(0));
    let _ = data(poll(&mut first));
    let panicked = catch_unwind(AssertUnwindSafe(|| poll(&mut first)));
    assert!(panicked.is_err());
    assert!(error(poll(&mut first)).is::<SourceFailed>());
    assert_eq!(replay.replayable(), Err(NotReplayable::SourceFailed));
    assert_eq!(replay.body().unwrap_err(), NotReplayable::SourceFailed);
}

#[test]
fn a_message_does_not_repeat_its_source() {
    let (mut first, _replay) = record(Script::new().fail("upload reset"));
    let error = error(poll(&mut first));
    assert!(!error.to_string().contains("upload reset"));
    assert_eq!(error.source().unwrap().to_string(), "upload reset");
}
