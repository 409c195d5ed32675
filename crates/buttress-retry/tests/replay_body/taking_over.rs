use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use allocation_counter::measure;
use buttress_retry::{ReplayBody, Superseded};
use buttress_testkit::{BodyFailure, Script};
use bytes::Bytes;
use http_body::{Body, Frame};
use tokio_test::{assert_pending, task};

use crate::support::{KIB, data, error, limits, poll, read, record, text};

#[test]
fn the_reader_before_is_woken_and_told_that_it_is_superseded() {
    let source = Script::new().data("one").hold().data("two").data("three");
    let gate = source.handle();
    let (first, replay) = record(source);
    let mut held = task::spawn(first);
    let frame = held.enter(|cx, body| body.poll_frame(cx));
    assert_eq!(data(frame), "one");
    assert_pending!(held.enter(|cx, body| body.poll_frame(cx)));

    let mut second = replay.body().unwrap();
    assert!(held.is_woken());
    for _ in 0..2 {
        let error = error(held.enter(|cx, body| body.poll_frame(cx)));
        assert!(error.is::<Superseded>());
        assert!(!held.is_end_stream(), "never a clean end");
    }
    gate.release();
    assert_eq!(text(&mut second), "onetwothree");
    assert_eq!(replay.replayable(), Ok(()), "the one before does no harm");
}

#[test]
fn a_superseded_reader_keeps_nothing_alive() {
    let (limits, memory) = limits(64 * KIB);
    let source = Script::new().data("one").data("two").data("three");
    let handle = source.handle();
    let (mut stuck, replay) = ReplayBody::record(source, &limits);
    let replay = replay.unwrap();
    let _ = data(poll(&mut stuck));
    let mut second = replay.body().unwrap();
    let _ = data(poll(&mut second));
    let third = replay.body().unwrap();
    drop(replay);
    assert!(memory.used() > 0, "the third attempt has read nothing yet");
    drop(third);
    assert_eq!(memory.used(), 0);
    assert!(handle.is_dropped(), "nobody can read the source any more");
    assert!(error(poll(&mut stuck)).is::<Superseded>());
    let last = measure(|| assert!(error(poll(&mut second)).is::<Superseded>()));
    assert!(last.bytes_current < 0, "once told, it lets the shared state go");
}

#[test]
fn a_reader_that_left_before_the_backup_did_leaves_nothing_behind() {
    let (limits, memory) = limits(64 * KIB);
    let source = Script::new().data("one").data("two");
    let handle = source.handle();
    let (stuck, replay) = ReplayBody::record(source, &limits);
    let replay = replay.unwrap();
    let mut second = replay.body().unwrap();
    let _ = data(poll(&mut second));
    drop(second);
    assert!(!handle.is_dropped() && memory.used() > 0, "another attempt may come");
    drop(replay);
    assert!(handle.is_dropped() && memory.used() == 0);
    drop(stuck);
}

#[test]
fn the_task_that_polled_last_is_the_one_that_is_woken() {
    let source = Script::new().hold().data("x");
    let gate = source.handle();
    let (mut body, _replay) = record(source);
    let mut one = task::spawn(());
    assert_pending!(one.enter(|cx, _| Pin::new(&mut body).poll_frame(cx)));
    let mut other = task::spawn(());
    assert_pending!(other.enter(|cx, _| Pin::new(&mut body).poll_frame(cx)));
    gate.release();
    assert!(other.is_woken() && !one.is_woken());
    assert_eq!(data(poll(&mut body)), "x");
}

/// Drops, while it is polled, whatever was put into its slot.
struct Dropping<T> {
    slot: Arc<Mutex<Option<T>>>,
    rest: Script,
}

impl<T> Body for Dropping<T> {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        let dropped = self.slot.lock().ok().and_then(|mut slot| slot.take());
        drop(dropped);
        Pin::new(&mut self.rest).poll_frame(cx)
    }
}

#[test]
fn a_source_may_drop_the_backup_and_earlier_readers_while_it_is_polled() {
    let (limits, memory) = limits(64 * KIB);
    let slot: Arc<Mutex<Option<Box<dyn Send>>>> = Arc::default();
    let source = Dropping { slot: Arc::clone(&slot), rest: Script::chunks(["a", "b", "c"], 0) };
    let (mut first, replay) = ReplayBody::record(source, &limits);
    let replay = replay.unwrap();
    let _ = data(poll(&mut first));
    let mut second = replay.body().unwrap();
    let _ = data(poll(&mut second));

    *slot.lock().unwrap() = Some(Box::new((first, replay)));
    assert_eq!(text(&mut second), "bc");
    assert_eq!(memory.used(), 0, "and the backup is known to be gone");
}

#[test]
fn readers_on_other_threads_lose_and_duplicate_nothing() {
    const CHUNKS: usize = 400;
    let whole: Vec<u8> = (0..CHUNKS).map(|i| u8::try_from(i % 251).unwrap()).collect();
    for round in 0..20 {
        let source = Script::chunks(whole.chunks(1).map(Bytes::copy_from_slice), 1);
        let (first, replay) = record(source);
        std::thread::scope(|scope| {
            let mut readers = vec![first];
            for takeover in 0..8 {
                let mut reader = readers.pop().unwrap();
                let polled = Arc::new(AtomicBool::new(false));
                let seen = Arc::clone(&polled);
                scope.spawn(move || {
                    // Ends by the end or by `Superseded`, whichever comes first.
                    let mut had = 0;
                    while let Poll::Pending | Poll::Ready(Some(Ok(_))) = poll(&mut reader) {
                        had += 1;
                        seen.store(had > takeover * 20 + round, Ordering::Release);
                    }
                    seen.store(true, Ordering::Release);
                });
                while !polled.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                readers.push(replay.body().unwrap());
            }
            let (bytes, _, _) = read(&mut readers.pop().unwrap()).unwrap();
            assert_eq!(bytes, whole, "round {round}");
        });
    }
}
