use std::task::Poll;

use allocation_counter::measure;
use buttress_retry::ReplayBody;
use buttress_testkit::{BodyFailure, Script};
use bytes::Bytes;
use http_body::Body;
use http_body_util::Empty;

use crate::support::{bounds, data, error, limits, poll, text};

#[test]
fn a_body_that_says_it_is_too_long_is_passed_on_unrecorded() {
    let (limits, memory) = limits(8);
    let source = Script::new().data("123456789").exact();
    let (mut body, replay) = ReplayBody::record(source, &limits);
    assert!(replay.is_none());
    assert_eq!(bounds(&body.size_hint()), (9, Some(9)));
    assert_eq!(text(&mut body), "123456789");
    assert_eq!(memory.used(), 0);
    let (_, replay) = ReplayBody::record(Script::new().data("12345678").exact(), &limits);
    assert!(replay.is_some(), "a body as long as the cap can be kept");
}

#[test]
fn a_passed_body_keeps_its_own_error() {
    let mut body = ReplayBody::pass(Script::new().data("x").fail("gone"));
    let _ = data(poll(&mut body));
    assert!(error(poll(&mut body)).is::<BodyFailure>());
}

#[test]
fn a_request_without_a_body_can_be_sent_again_and_costs_nothing() {
    let (limits, memory) = limits(0);
    let costs = measure(|| {
        let (first, replay) = ReplayBody::record(Empty::<Bytes>::new(), &limits);
        let replay = replay.expect("nothing is easy to send again");
        assert_eq!(replay.replayable(), Ok(()));
        let mut second = replay.body().unwrap();
        for body in [&first, &second] {
            assert!(body.is_end_stream());
            assert_eq!(body.size_hint().exact(), Some(0));
        }
        assert!(matches!(poll(&mut second), Poll::Ready(None)));
    });
    assert_eq!(costs.count_total, 0);
    assert_eq!(memory.used(), 0);
    assert!(ReplayBody::<Script>::empty().is_end_stream());
}
