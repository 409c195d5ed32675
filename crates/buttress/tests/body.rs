//! The body type and what the types promise.

use buttress::{
    Body, Client, Setup, cause,
    client::ResponseFuture,
    transport::{self, Transport, TransportBody},
};
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt, Empty, Full, StreamBody};

const fn send<T: Send>() {}
const fn sync<T: Sync>() {}
const fn unpin<T: Unpin>() {}

#[test]
fn everything_may_cross_threads_and_bodies_need_no_pin() {
    send::<Body>();
    unpin::<Body>();
    send::<TransportBody>();
    sync::<TransportBody>();
    unpin::<TransportBody>();
    send::<Client>();
    sync::<Client>();
    send::<Transport>();
    sync::<Transport>();
    send::<ResponseFuture>();
    send::<transport::ResponseFuture>();
    send::<Setup>();
    sync::<Setup>();
}

#[tokio::test]
async fn what_is_in_memory_stays_cloneable_whatever_it_came_from() {
    let full = Full::new(Bytes::from_static(b"abc"));
    let bodies = [
        Body::from("abc"),
        Body::from(String::from("abc")),
        Body::from(vec![b'a', b'b', b'c']),
        Body::from(Bytes::from_static(b"abc")),
        Body::from(&b"abc"[..]),
        Body::from(full.clone()),
        Body::new(full),
        Body::new(Body::new(Body::from("abc"))),
    ];
    for body in bodies {
        assert_eq!(body.size_hint().exact(), Some(3));
        let copy = body.try_clone().unwrap();
        assert_eq!(copy.bytes(3).await.unwrap(), "abc");
        assert_eq!(body.text(3).await.unwrap(), "abc");
    }
}

#[test]
fn what_is_empty_is_known_to_be() {
    let bodies = [
        Body::empty(),
        Body::default(),
        Body::from(()),
        Body::from(""),
        Body::from(Empty::new()),
        Body::new(Empty::new()),
        Body::new(Full::new(Bytes::new())),
        Body::new(String::new()),
    ];
    for body in bodies {
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.try_clone().is_some());
    }
}

#[tokio::test]
async fn a_failed_stream_is_an_error_and_not_an_end() {
    let pieces = [Ok(Bytes::from_static(b"one")), Err(std::io::Error::other("torn"))];
    let mut body = Body::from_stream(futures_util::stream::iter(pieces));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(cause::<std::io::Error>(&*error).is_some());
}

#[tokio::test]
async fn trailers_pass() {
    let trailers = http::HeaderMap::from_iter([(http::header::ETAG, "1".parse().unwrap())]);
    let frame = http_body::Frame::trailers(trailers.clone());
    let frames = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(frame)]);
    let mut body = Body::new(StreamBody::new(frames));
    assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
}

#[tokio::test]
async fn text_that_is_no_utf8_is_an_error() {
    let error = Body::from(&b"\xff"[..]).text(8).await.unwrap_err();
    assert!(cause::<std::string::FromUtf8Error>(&*error).is_some());
}
