//! Streamed answers over real connections: what may go again when one breaks off.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod wire;

use std::io;

use buttress_core::{Attempts, cause};
use buttress_retry::RetryLayer;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::Layer;
use wire::{Notes, Peer, client, h1::Conn, listen, send, short};

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const EVENT: &str = "data: {\"delta\":\"Hi\"}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Breaks the first answer off after `before` was written, and gives the others whole.
async fn breaks_off(before: Vec<String>, bodies: Notes<Bytes>) -> Peer {
    listen(move |number, stream| {
        let (before, bodies) = (before.clone(), bodies.clone());
        async move {
            let mut conn = Conn::new(stream);
            let Some((_, body)) = conn.request().await else { return };
            bodies.push(body);
            conn.write(HEAD).await;
            if number > 1 {
                conn.write(format!("{}{}0\r\n\r\n", chunk(EVENT), chunk(DONE))).await;
                return conn.closed().await;
            }
            for part in before {
                conn.write(part).await;
            }
            // A clean end of the connection within a chunked body is as much of a break as a reset,
            // and lets the client read first what was written before.
            drop(conn);
        }
    })
    .await
}

fn chat(peer: &Peer) -> Request<Full<Bytes>> {
    Request::builder().method(Method::POST).uri(peer.uri()).body(Full::from("{}")).unwrap()
}

#[tokio::test]
async fn a_stream_that_breaks_off_before_its_first_event_goes_again() {
    let comment = chunk(": keep-alive\n\n");
    for before in [vec![], vec![comment.clone()], vec![comment, chunk("\n")]] {
        let bodies = Notes::new();
        let peer = breaks_off(before, bodies.clone()).await;
        let mut service = RetryLayer::llm().backoff(short()).layer(client());

        let response = send(&mut service, chat(&peer)).await.unwrap();

        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.extensions().get::<Attempts>().map(Attempts::made), Some(2));
        let text = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(text, format!("{EVENT}{DONE}"));
        assert_eq!(bodies.all(), ["{}", "{}"]);
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_after_its_first_event_ends_in_an_error() {
    let bodies = Notes::new();
    let peer = breaks_off(vec![chunk(": hello\n\n"), chunk(EVENT)], bodies.clone()).await;
    let mut service = RetryLayer::llm().backoff(short()).layer(client());

    let mut body = send(&mut service, chat(&peer)).await.unwrap().into_body();

    let mut text = Vec::new();
    let error = loop {
        match wire::within(body.frame()).await {
            Some(Ok(frame)) => text.extend_from_slice(frame.data_ref().unwrap()),
            Some(Err(error)) => break error,
            None => panic!("the stream was cut short and ended as if it were whole"),
        }
    };
    let kind = cause::<io::Error>(&error).map(io::Error::kind);
    assert_eq!(kind, Some(io::ErrorKind::UnexpectedEof), "{error:?}");
    assert_eq!(String::from_utf8(text).unwrap(), format!(": hello\n\n{EVENT}"));
    assert_eq!((bodies.all().len(), peer.accepts()), (1, 1));
}

#[tokio::test]
async fn a_reset_before_the_first_event_goes_again() {
    let peer = listen(|number, stream| async move {
        let mut conn = Conn::new(stream);
        if conn.request().await.is_none() {
            return;
        }
        conn.write(HEAD).await;
        if number == 1 {
            return conn.reset();
        }
        conn.write(format!("{}0\r\n\r\n", chunk(EVENT))).await;
        conn.closed().await;
    })
    .await;
    let mut service = RetryLayer::llm().backoff(short()).layer(client());
    let body = send(&mut service, chat(&peer)).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), EVENT);
    assert_eq!(peer.accepts(), 2);
}

#[tokio::test]
async fn under_the_http_rules_a_post_whose_answer_broke_off_is_the_callers() {
    let bodies = Notes::new();
    let peer = breaks_off(vec![], bodies.clone()).await;
    let mut service = RetryLayer::http().backoff(short()).layer(client());
    let response = send(&mut service, chat(&peer)).await.unwrap();
    response.into_body().collect().await.unwrap_err();
    assert_eq!(bodies.all().len(), 1);
}

#[tokio::test]
async fn a_stream_is_passed_on_event_by_event() {
    let (release, gate) = tokio::sync::oneshot::channel::<()>();
    let gate = std::sync::Mutex::new(Some(gate));
    let peer = listen(move |_, stream| {
        let gate = gate.lock().unwrap().take();
        async move {
            let mut conn = Conn::new(stream);
            conn.request().await.unwrap();
            conn.write(format!("{HEAD}{}", chunk(EVENT))).await;
            gate.unwrap().await.unwrap();
            conn.write(format!("{}0\r\n\r\n", chunk(DONE))).await;
            conn.closed().await;
        }
    })
    .await;
    let mut service = RetryLayer::llm().layer(client());
    let mut body = send(&mut service, chat(&peer)).await.unwrap().into_body();
    let mut next = async || {
        let frame = wire::within(body.frame()).await.unwrap().unwrap();
        frame.into_data().unwrap()
    };
    assert_eq!(next().await, EVENT);
    // The server says no more until the first event has arrived.
    release.send(()).unwrap();
    assert_eq!(next().await, DONE);
}
