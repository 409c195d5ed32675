use buttress_core::BoxError;
use buttress_retry::{Replay, ReplayBody, ReplayLimits};
use buttress_testkit::Script;
use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};

use crate::support::{data, poll, record};

fn assert_send_sync<T: Send + Sync>() {}

#[test]
fn a_source_that_is_send_makes_bodies_that_are_send_and_sync() {
    type NotSync = UnsyncBoxBody<Bytes, BoxError>;
    assert_send_sync::<ReplayBody<NotSync>>();
    assert_send_sync::<Replay<NotSync>>();
    assert_send_sync::<ReplayLimits>();
}

#[test]
fn debug_shows_no_content() {
    let (mut first, replay) = record(Script::new().data("secret").data("more"));
    let _ = data(poll(&mut first));
    let second = replay.body().unwrap();
    let pass = ReplayBody::pass(Script::new().data("secret"));
    let shown = format!("{first:?} {second:?} {replay:?} {pass:?}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(shown.contains("recorded: Some(6)"), "{shown}");
}

#[test]
fn a_recorded_body_goes_wherever_a_boxed_one_goes() {
    fn takes_any(_: impl Body<Data = Bytes, Error = BoxError> + Unpin + Send + Sync + 'static) {}
    let (first, _replay) = record(Script::new().data("x").boxed_unsync());
    takes_any(first);
}
