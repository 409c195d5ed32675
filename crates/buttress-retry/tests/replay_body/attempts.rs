use std::task::Poll;

use buttress_retry::ReplayBody;
use buttress_testkit::Script;
use bytes::{Buf, Bytes};
use http_body::Body;
use http_body_util::BodyExt;
use tokio_test::assert_pending;

use crate::support::{KIB, bounds, data, limits, poll, read, record, text, trailers};

#[test]
fn a_body_that_was_never_polled_is_sent_once_by_the_next_attempt() {
    let (first, replay) = record(Script::new().data("hello"));
    let mut second = replay.body().unwrap();
    assert_eq!(text(&mut second), "hello");
    assert!(second.is_end_stream());
    drop(first);
}

#[test]
fn nothing_is_read_before_a_reader_is_polled() {
    let source = Script::new().data("hello");
    let handle = source.handle();
    let (first, replay) = record(source);
    let second = replay.body().unwrap();
    let third = replay.body().unwrap();
    assert_eq!(handle.polls(), 0);
    drop((first, second, third));
}

#[test]
fn a_body_read_in_part_continues_where_the_attempt_before_stopped() {
    for polls in 0..=9 {
        let source = Script::chunks(["a", "bb", "ccc"], 2).trailers(trailers("x"));
        let handle = source.handle();
        let (mut first, replay) = record(source);
        for _ in 0..polls {
            let _ = poll(&mut first);
        }
        let mut second = replay.body().unwrap();
        let (bytes, map, _) = read(&mut second).unwrap();
        assert_eq!(bytes, b"abbccc", "after {polls} polls");
        assert_eq!(map, Some(trailers("x")), "after {polls} polls");
        assert_eq!(handle.bytes(), 6, "the source was read once");
    }
}

#[test]
fn an_attempt_after_the_whole_body_was_sent_does_not_touch_the_source() {
    let source = Script::chunks(["one", "two"], 0);
    let handle = source.handle();
    let (mut first, replay) = record(source);
    assert_eq!(text(&mut first), "onetwo");
    assert!(handle.is_dropped(), "an ended source is of no use");
    for _ in 0..3 {
        assert_eq!(text(&mut replay.body().unwrap()), "onetwo");
    }
    assert_eq!(handle.polls(), 2);
}

#[test]
fn every_attempt_says_the_size_of_the_source_at_its_start() {
    for source in
        [Script::new().data("12345").data("678").exact(), Script::new().data("12345").data("678")]
    {
        let at_start = bounds(&source.size_hint());
        let (mut first, replay) = record(source);
        assert_eq!(bounds(&first.size_hint()), at_start);
        assert!(!first.is_end_stream());
        let _ = data(poll(&mut first));
        for _ in 0..3 {
            let mut next = replay.body().unwrap();
            assert_eq!(bounds(&next.size_hint()), at_start);
            assert!(!next.is_end_stream());
            let _ = data(poll(&mut next));
            let left = at_start.1.map(|_| 3);
            assert_eq!(bounds(&next.size_hint()), (left.unwrap_or(0), left));
            assert_eq!(text(&mut next), "678");
            assert!(next.is_end_stream());
        }
    }
}

#[test]
fn the_end_is_known_with_the_last_frame() {
    let source = Script::new().data("one").pending(1).data("two");
    let handle = source.handle();
    let (mut first, replay) = record(source);
    let _ = data(poll(&mut first));
    assert!(!first.is_end_stream());
    assert_pending!(poll(&mut first));
    let _ = data(poll(&mut first));
    assert!(first.is_end_stream());
    let mut second = replay.body().unwrap();
    let (bytes, _, _) = read(&mut second).unwrap();
    assert_eq!(bytes, b"onetwo");
    assert!(second.is_end_stream());
    assert_eq!(handle.polls(), 3);
    assert!(matches!(poll(&mut second), Poll::Ready(None)));
    assert_eq!(handle.polls(), 3, "an ended source is not polled");
}

#[test]
fn an_end_that_only_a_poll_can_find_is_found_and_kept() {
    let (mut first, replay) = record(Script::new().data("one").hide_end());
    let _ = data(poll(&mut first));
    assert!(!first.is_end_stream());
    assert!(matches!(poll(&mut first), Poll::Ready(None)));
    assert!(first.is_end_stream());
    assert_eq!(text(&mut replay.body().unwrap()), "one");
}

#[test]
fn trailers_are_sent_again_and_after_the_data() {
    let (mut first, replay) = record(Script::new().data("x").trailers(trailers("1")));
    assert_eq!(read(&mut first).unwrap().1, Some(trailers("1")));
    let mut second = replay.body().unwrap();
    let _ = data(poll(&mut second));
    assert!(!second.is_end_stream(), "trailers are still to come");
    assert_eq!(read(&mut second).unwrap().1, Some(trailers("1")));
    assert!(second.is_end_stream());
}

#[test]
fn data_in_several_pieces_is_recorded_whole() {
    let scattered = Script::new()
        .data("he")
        .map_frame(|frame| frame.map_data(|data| data.chain(Bytes::from_static(b"llo"))));
    let (mut first, replay) = record(scattered);
    assert_eq!(text(&mut first), "hello");
    assert_eq!(text(&mut replay.body().unwrap()), "hello");
}

#[test]
fn the_last_attempt_records_nothing_more() {
    let (limits, memory) = limits(64 * KIB);
    let source = Script::new().data("a").data("b").data("c");
    let (mut first, replay) = ReplayBody::record(source, &limits);
    let _ = data(poll(&mut first));
    let mut last = replay.unwrap().into_body().unwrap();
    assert_eq!(data(poll(&mut last)), "a");
    assert_eq!(memory.used(), 0, "what was read is let go");
    assert_eq!(text(&mut last), "bc");
    assert_eq!(memory.used(), 0);
}
