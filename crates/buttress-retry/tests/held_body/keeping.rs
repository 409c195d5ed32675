use std::task::Poll;

use buttress_retry::HeldBody;
use buttress_testkit::Script;
use bytes::Bytes;
use http_body::Body;
use http_body_util::Full;

use crate::support::{JSON, held, poll};

#[tokio::test(start_paused = true)]
async fn size_and_end_count_what_is_held() {
    let body = Script::new().data(" ").data("[1").data("2]").exact();
    let mut body = held(JSON, body).await;
    assert_eq!(body.size_hint().exact(), Some(5));
    assert!(!body.is_whole());
    for (left, chunk) in [(4, " "), (2, "[1"), (0, "2]")] {
        assert!(!body.is_end_stream());
        let Poll::Ready(Some(Ok(frame))) = poll(&mut body) else { panic!("a frame") };
        assert_eq!(frame.into_data().unwrap(), chunk);
        assert_eq!(body.size_hint().exact(), Some(left));
    }
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_size_that_nobody_knows_stays_unknown() {
    let body = held(JSON, Script::chunks(["{", "}"], 0)).await;
    assert_eq!((body.size_hint().lower(), body.size_hint().upper()), (1, None));
}

#[test]
fn a_body_that_holds_nothing_is_the_body_itself() {
    let mut body = HeldBody::new(Full::new(Bytes::from("secret")));
    assert_eq!(body.size_hint().exact(), Some(6));
    assert!(!body.is_end_stream() && !format!("{body:?}").contains("secret"));
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
    assert!(body.is_end_stream() && body.is_whole());
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_seen_is_not_asked_for_again() {
    let body = Script::new().data(" ").hide_end();
    let handle = body.handle();
    let mut body = held(JSON, body).await;
    assert!(body.is_whole() && !body.is_end_stream());
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
    assert!(body.is_end_stream());
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
    assert_eq!(handle.polls_after_end(), 0);
}
