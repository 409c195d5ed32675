//! Retries over real HTTP/2 connections: refused streams, GOAWAY, and gRPC.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod wire;

use std::time::Duration;

use buttress_core::Attempts;
use buttress_retry::{Ending, HttpPolicy, ReplayLimits, RetryLayer};
use buttress_testkit::Script;
use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::{Layer, Service};
use wire::{Endings, Notes, Peer, client_h2, h2 as peer_h2, listen, send, short};

fn post<B>(peer: &Peer, body: B) -> Request<B> {
    Request::builder().method(Method::POST).uri(peer.uri()).body(body).unwrap()
}

fn ping() -> Full<Bytes> {
    Full::from("ping")
}

fn ok() -> Response<()> {
    Response::new(())
}

/// Refuses the first `refusals` streams of a connection unread, and answers the others.
async fn refuses(
    refusals: usize,
    reason: Reason,
    notes: Notes<(HeaderMap, Option<Bytes>)>,
) -> Peer {
    listen(move |_, stream| {
        let notes = notes.clone();
        peer_h2::serve(stream, move |number, request, mut respond| {
            let notes = notes.clone();
            async move {
                if number <= refusals {
                    respond.send_reset(reason);
                    return;
                }
                let headers = request.headers().clone();
                notes.push((headers, peer_h2::body(request).await));
                peer_h2::answer(&mut respond, ok(), "fine", None);
            }
        })
    })
    .await
}

#[tokio::test]
async fn a_refused_stream_goes_again_with_the_exact_bytes_whatever_the_method() {
    for exact in [true, false] {
        let notes = Notes::new();
        let peer = refuses(2, Reason::REFUSED_STREAM, notes.clone()).await;
        let body = Script::chunks(["one", "two", "three"], 1);
        let body = if exact { body.exact() } else { body };
        let source = body.handle();
        let policy = HttpPolicy::http().replay(ReplayLimits::new());
        let mut service = RetryLayer::new(policy).backoff(short()).layer(client_h2());

        let response = send(&mut service, post(&peer, body)).await.unwrap();

        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.extensions().get::<Attempts>().map(Attempts::made), Some(3));
        let heard = notes.all();
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].1.as_deref(), Some(&b"onetwothree"[..]));
        let length = heard[0].0.get("content-length").map(|length| length.to_str().unwrap());
        assert_eq!(length, exact.then_some("11"));
        assert_eq!((source.bytes(), source.polls_after_end()), (11, 0));
        assert_eq!(peer.accepts(), 1, "a refused stream does not cost the connection");
    }
}

#[tokio::test]
async fn a_stream_that_was_cancelled_by_the_server_may_have_been_processed() {
    let notes = Notes::new();
    let peer = refuses(1, Reason::CANCEL, notes.clone()).await;
    let endings = Endings::default();
    let layer = RetryLayer::http().backoff(short()).observer(endings.clone());
    send(&mut layer.layer(client_h2()), post(&peer, ping())).await.unwrap_err();
    assert_eq!(endings.only(), (1, Ending::NotIdempotent));
    assert!(notes.all().is_empty());
}

/// Sends the first connection away, having processed streams up to `last`, and serves the others.
async fn goes_away(last: u32, code: u32, notes: Notes<Option<Bytes>>) -> Peer {
    listen(move |number, stream| {
        let notes = notes.clone();
        async move {
            if number == 1 {
                return peer_h2::go_away(stream, last, code).await;
            }
            peer_h2::serve(stream, move |_, request, mut respond| {
                let notes = notes.clone();
                async move {
                    notes.push(peer_h2::body(request).await);
                    peer_h2::answer(&mut respond, ok(), "fine", None);
                }
            })
            .await;
        }
    })
    .await
}

#[tokio::test]
async fn a_stream_above_the_last_one_of_a_goaway_goes_again_whatever_the_method() {
    let notes = Notes::new();
    let peer = goes_away(0, 0, notes.clone()).await;
    let layer = RetryLayer::http().backoff(short());
    let response = send(&mut layer.layer(client_h2()), post(&peer, ping())).await;
    assert_eq!(response.unwrap().status(), StatusCode::OK);
    assert_eq!((notes.all(), peer.accepts()), (vec![Some(Bytes::from("ping"))], 2));
}

#[tokio::test]
async fn a_stream_that_a_goaway_leaves_open_is_not_repeated_when_it_dies() {
    let notes = Notes::new();
    let peer = goes_away(1, 0, notes.clone()).await;
    let endings = Endings::default();
    let layer = RetryLayer::http().backoff(short()).observer(endings.clone());
    send(&mut layer.layer(client_h2()), post(&peer, ping())).await.unwrap_err();
    assert_eq!(endings.only(), (1, Ending::NotIdempotent), "stream 1 may have been processed");
    assert_eq!(peer.accepts(), 1);
}

/// Fails the first call with what `fail` sends, answers the second with a message and status 0.
async fn grpc<F>(fail: F, notes: Notes<(HeaderMap, Instant)>) -> Peer
where
    F: Fn(&mut h2::server::SendResponse<Bytes>) + Clone + Send + Sync + 'static,
{
    listen(move |_, stream| {
        let (fail, notes) = (fail.clone(), notes.clone());
        peer_h2::serve(stream, move |number, request, mut respond| {
            let (fail, notes) = (fail.clone(), notes.clone());
            async move {
                let headers = request.headers().clone();
                assert!(peer_h2::body(request).await.is_some());
                notes.push((headers, Instant::now()));
                if number == 1 {
                    return fail(&mut respond);
                }
                let trailers = fields(&[("grpc-status", "0")]);
                peer_h2::answer(&mut respond, grpc_head(), "message", Some(trailers));
            }
        })
    })
    .await
}

fn grpc_head() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn unavailable(pushback: &'static str) -> HeaderMap {
    fields(&[("grpc-status", "14"), ("grpc-retry-pushback-ms", pushback)])
}

fn message(peer: &Peer) -> Request<Full<Bytes>> {
    let mut post = post(peer, Full::from("question"));
    post.headers_mut().extend(fields(&[("content-type", "application/grpc"), ("te", "trailers")]));
    post
}

async fn status_of<S, B>(service: &mut S, request: Request<Full<Bytes>>) -> (Bytes, String)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let response = send(service, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap();
    let status = body.trailers().unwrap()["grpc-status"].to_str().unwrap().to_owned();
    (body.to_bytes(), status)
}

#[tokio::test]
async fn a_grpc_status_in_trailers_goes_again_when_the_server_said_and_not_before() {
    let notes = Notes::new();
    let fail = |respond: &mut h2::server::SendResponse<Bytes>| {
        peer_h2::answer(respond, grpc_head(), "", Some(unavailable("150")));
    };
    let peer = grpc(fail, notes.clone()).await;
    let mut service = RetryLayer::grpc().layer(client_h2());

    let (data, status) = status_of(&mut service, message(&peer)).await;

    assert_eq!((&*data, &*status), (&b"message"[..], "0"));
    let heard = notes.all();
    assert_eq!(heard.len(), 2);
    let waited = heard[1].1 - heard[0].1;
    assert!(waited >= Duration::from_millis(150), "{waited:?}");
    let counted: Vec<_> =
        heard.iter().map(|(headers, _)| headers.get("grpc-previous-rpc-attempts")).collect();
    assert_eq!(counted, [None, Some(&"1".parse().unwrap())]);
}

#[tokio::test]
async fn a_grpc_server_that_pushes_back_for_good_is_not_called_again() {
    for pushback in ["-1", "abc"] {
        let notes = Notes::new();
        let fail = move |respond: &mut h2::server::SendResponse<Bytes>| {
            peer_h2::answer(respond, grpc_head(), "", Some(unavailable(pushback)));
        };
        let peer = grpc(fail, notes.clone()).await;
        let endings = Endings::default();
        let mut service = RetryLayer::grpc().observer(endings.clone()).layer(client_h2());

        let (data, status) = status_of(&mut service, message(&peer)).await;

        assert_eq!((&*data, &*status), (&b""[..], "14"), "{pushback}");
        assert_eq!((notes.all().len(), endings.only()), (1, (1, Ending::ServerSaidNo)));
    }
}

#[tokio::test]
async fn a_grpc_status_after_a_message_belongs_to_the_caller() {
    let notes = Notes::new();
    let fail = |respond: &mut h2::server::SendResponse<Bytes>| {
        peer_h2::answer(respond, grpc_head(), "half", Some(unavailable("1")));
    };
    let peer = grpc(fail, notes.clone()).await;
    let mut service = RetryLayer::grpc().layer(client_h2());
    let (data, status) = status_of(&mut service, message(&peer)).await;
    assert_eq!((&*data, &*status), (&b"half"[..], "14"));
    assert_eq!(notes.all().len(), 1);
}

#[tokio::test]
async fn a_grpc_status_without_trailers_is_read_from_the_headers() {
    let notes = Notes::new();
    let fail = |respond: &mut h2::server::SendResponse<Bytes>| {
        let mut head = grpc_head();
        head.headers_mut().extend(unavailable("1"));
        respond.send_response(head, true).unwrap();
    };
    let peer = grpc(fail, notes.clone()).await;
    let mut service = RetryLayer::grpc().layer(client_h2());
    let (_, status) = status_of(&mut service, message(&peer)).await;
    assert_eq!((&*status, notes.all().len()), ("0", 2));
}
