//! Retries over real HTTP/1.1 connections, with hyper's pooled client.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod wire;

use std::{error::Error, sync::Arc, time::Duration};

use buttress_core::cause;
use buttress_retry::{
    Ending, HttpPolicy, Observer, ReplayLimits, RetryLayer, Retrying, SourceFailed,
};
use buttress_testkit::Script;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{sync::Notify, time::Instant};
use tower::{Layer, Service};
use wire::{
    Endings, Notes, Peer, RefusedAtFirst, client,
    h1::{Conn, Head, answer},
    listen, send, short,
};

const KEY: &str = "idempotency-key";

fn request<B>(peer: &Peer, method: Method, body: B) -> Request<B> {
    Request::builder().method(method).uri(peer.uri()).body(body).unwrap()
}

fn ping() -> Full<Bytes> {
    Full::from("ping")
}

/// Answers 200 to every request on every connection, and notes the requests.
async fn fine(notes: Notes<(usize, Head, Bytes)>) -> Peer {
    listen(move |number, stream| {
        let notes = notes.clone();
        async move {
            let mut conn = Conn::new(stream);
            while let Some((head, body)) = conn.request().await {
                notes.push((number, head, body));
                conn.write(answer("200 OK", "", "fine")).await;
            }
        }
    })
    .await
}

/// Resets the first connection when its request was read whole, and answers on the others.
async fn resets_first(notes: Notes<(usize, Head, Bytes)>) -> Peer {
    listen(move |number, stream| {
        let notes = notes.clone();
        async move {
            let mut conn = Conn::new(stream);
            while let Some((head, body)) = conn.request().await {
                notes.push((number, head, body));
                if number == 1 {
                    conn.reset();
                    return;
                }
                conn.write(answer("200 OK", "", "fine")).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_post_without_a_key_goes_again_when_the_connection_was_refused() {
    let notes = Notes::new();
    let peer = fine(notes.clone()).await;
    let connector = RefusedAtFirst::new(1);
    let client = Client::builder(TokioExecutor::new()).build(connector.clone());
    let endings = Endings::default();
    let layer = RetryLayer::http().backoff(short()).observer(endings.clone());

    let post = request(&peer, Method::POST, ping());
    let response = send(&mut layer.layer(client), post).await.unwrap();

    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((connector.refusals_left(), endings.only()), (0, (2, Ending::Success)));
    let heard = notes.all();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].2, "ping");
}

#[tokio::test]
async fn a_post_without_a_key_is_sent_once_when_the_connection_was_reset_after_it_was_written() {
    let notes = Notes::new();
    let peer = resets_first(notes.clone()).await;
    let endings = Endings::default();
    let layer = RetryLayer::http().backoff(short()).observer(endings.clone());

    let post = request(&peer, Method::POST, ping());
    send(&mut layer.layer(client()), post).await.unwrap_err();

    assert_eq!(endings.only(), (1, Ending::NotIdempotent));
    assert_eq!((notes.all().len(), peer.accepts()), (1, 1));
}

#[tokio::test]
async fn a_post_with_a_key_goes_again_with_the_same_key_when_the_connection_was_reset() {
    let notes = Notes::new();
    let peer = resets_first(notes.clone()).await;
    let mut post = request(&peer, Method::POST, ping());
    post.headers_mut().insert(KEY, "order-7".parse().unwrap());

    let layer = RetryLayer::http().backoff(short());
    let response = send(&mut layer.layer(client()), post).await.unwrap();

    assert_eq!(response.status(), StatusCode::OK);
    let heard = notes.all();
    assert_eq!(heard.len(), 2);
    for (at, (connection, head, body)) in heard.iter().enumerate() {
        assert_eq!(*connection, at + 1);
        assert_eq!(head.line, "POST / HTTP/1.1");
        assert_eq!((head.header(KEY), &**body), (Some("order-7"), &b"ping"[..]));
        assert_eq!(head.header("content-length"), Some("4"));
    }
}

/// Answers 503 on the first connection when one chunk or one byte was read, and leaves the rest of
/// the upload in the socket until the client gives it up; then notes what came of it.
async fn refuses_mid_upload(first: Notes<Option<Bytes>>, later: Notes<(Head, Bytes)>) -> Peer {
    listen(move |number, stream| {
        let (first, later) = (first.clone(), later.clone());
        async move {
            let mut conn = Conn::new(stream);
            if number > 1 {
                later.push(conn.request().await.unwrap());
                conn.write(answer("200 OK", "", "fine")).await;
                return;
            }
            let head = conn.head().await.unwrap();
            if head.header("content-length").is_none() {
                assert_eq!(conn.chunk().await.unwrap(), "one");
            }
            conn.write(answer("503 Service Unavailable", "", "busy")).await;
            first.push(conn.body(&head).await);
        }
    })
    .await
}

#[tokio::test]
async fn an_upload_that_was_answered_early_goes_again_whole() {
    for exact in [false, true] {
        let (first, later) = (Notes::new(), Notes::new());
        let peer = refuses_mid_upload(first.clone(), later.clone()).await;
        let body = Script::new().data("one").hold().data("two").hold().data("three");
        let body = if exact { body.exact() } else { body };
        let source = body.handle();

        let policy = HttpPolicy::http().replay(ReplayLimits::new());
        let mut service = RetryLayer::new(policy).backoff(short()).layer(client());
        let put = request(&peer, Method::PUT, body);
        let (response, ()) = tokio::join!(send(&mut service, put), async {
            // The source goes on only when the second attempt waits for it.
            while peer.accepts() < 2 {
                tokio::task::yield_now().await;
            }
            source.release();
            source.release();
        });

        assert_eq!(response.unwrap().status(), StatusCode::OK);
        let heard = later.all();
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].1, "onetwothree");
        let length = exact.then_some("11");
        assert_eq!(
            heard[0].0.header("content-length"),
            length,
            "the framing is that of the source"
        );
        assert_eq!((source.bytes(), source.polls_after_end()), (11, 0));
        wire::within(async {
            while first.all().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(first.all(), [None], "the first upload never looks complete");
    }
}

#[tokio::test]
async fn an_upload_whose_source_fails_is_not_retried_and_never_looks_complete() {
    for exact in [false, true] {
        let notes = Notes::new();
        let bodies = notes.clone();
        let peer = listen(move |_, stream| {
            let bodies = bodies.clone();
            async move {
                let mut conn = Conn::new(stream);
                let body = match conn.head().await {
                    Some(head) => conn.body(&head).await,
                    None => None,
                };
                bodies.push(body);
            }
        })
        .await;
        let body = Script::new().data("one").pending(1);
        let body = if exact { body.claim(6) } else { body };
        let endings = Endings::default();
        let policy = HttpPolicy::http().replay(ReplayLimits::new());
        let layer = RetryLayer::new(policy).backoff(short()).observer(endings.clone());

        let put = request(&peer, Method::PUT, body.fail("the disk is gone"));
        let error = send(&mut layer.layer(client()), put).await.unwrap_err();

        let failed = cause::<SourceFailed>(&*error).unwrap();
        assert_eq!(failed.source().unwrap().to_string(), "the disk is gone");
        assert_eq!(endings.only(), (1, Ending::NotRetryable));
        wire::within(async {
            while notes.all().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!((notes.all(), peer.accepts()), (vec![None], 1));
    }
}

/// Answers 503 to the first request with the body that `fail` writes, 200 to the others.
async fn busy_once<F, Fut>(fail: F) -> Peer
where
    F: Fn(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Conn> + Send,
{
    listen(move |number, stream| {
        let fail = fail.clone();
        async move {
            let mut conn = Conn::new(stream);
            let mut busy = number == 1;
            while conn.request().await.is_some() {
                if busy {
                    busy = false;
                    conn = fail(conn).await;
                } else {
                    conn.write(answer("200 OK", "", "fine")).await;
                }
            }
        }
    })
    .await
}

async fn get_fine<S, B>(service: &mut S, peer: &Peer)
where
    S: Service<Request<Full<Bytes>>, Response = http::Response<B>>,
    S::Error: std::fmt::Debug,
    B: Body<Error: std::fmt::Debug>,
{
    let get = request(peer, Method::GET, Full::default());
    let response = send(service, get).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "fine");
}

/// Lets a peer go on when an attempt has failed.
#[derive(Clone)]
struct OnRetry(Arc<Notify>);

impl Observer for OnRetry {
    fn retry(&self, _: &Retrying<'_>) {
        self.0.notify_one();
    }
}

/// Fails the first request with a short body, most of which comes only when the retry is decided:
/// what has come before, hyper reads by itself.
async fn busy_in_two_parts(failed: Arc<Notify>) -> Peer {
    busy_once(move |mut conn| {
        let failed = Arc::clone(&failed);
        async move {
            conn.write("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 1000\r\n\r\n").await;
            failed.notified().await;
            conn.write("x".repeat(1000)).await;
            conn
        }
    })
    .await
}

#[tokio::test]
async fn the_connection_of_a_short_failed_response_is_used_again() {
    let failed = Arc::new(Notify::new());
    let peer = busy_in_two_parts(Arc::clone(&failed)).await;
    let layer = RetryLayer::http().backoff(short()).observer(OnRetry(failed));
    let mut service = layer.layer(client());
    get_fine(&mut service, &peer).await;
    assert_eq!(peer.accepts(), 1, "the error was read to its end, so its connection is free");
    get_fine(&mut service, &peer).await;
    assert_eq!(peer.accepts(), 1);
}

#[tokio::test]
async fn a_failed_response_that_is_not_drained_costs_its_connection() {
    let failed = Arc::new(Notify::new());
    let peer = busy_in_two_parts(Arc::clone(&failed)).await;
    let layer = RetryLayer::new(HttpPolicy::http().drain(0)).backoff(short());
    get_fine(&mut layer.observer(OnRetry(failed)).layer(client()), &peer).await;
    assert_eq!(peer.accepts(), 2);
}

#[tokio::test]
async fn an_endless_error_body_does_not_hold_up_the_retry() {
    let ended = Notes::new();
    let notes = ended.clone();
    let peer = busy_once(move |mut conn| {
        let ended = ended.clone();
        async move {
            let head = "HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: chunked\r\n\r\n";
            let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
            conn.write(head).await;
            while conn.write(&chunk).await {}
            ended.push(());
            conn
        }
    })
    .await;
    get_fine(&mut RetryLayer::http().backoff(short()).layer(client()), &peer).await;
    assert_eq!(peer.accepts(), 2);
    // The client hung up on it: the peer cannot write any more.
    wire::within(async {
        while notes.all().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_error_body_of_ten_gibibytes_that_never_comes_does_not_hold_up_the_retry() {
    let peer = busy_once(|mut conn| async move {
        let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 10737418240\r\n\r\n";
        conn.write(head).await;
        conn
    })
    .await;
    get_fine(&mut RetryLayer::http().backoff(short()).layer(client()), &peer).await;
    assert_eq!(peer.accepts(), 2);
}

#[tokio::test]
async fn the_server_is_not_called_earlier_than_it_asked_for() {
    let peer = busy_once(|mut conn| async move {
        conn.write(answer("503 Service Unavailable", "retry-after: 0.3\r\n", "busy")).await;
        conn
    })
    .await;
    let begin = Instant::now();
    get_fine(&mut RetryLayer::http().backoff(short()).layer(client()), &peer).await;
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_server_that_asks_for_too_long_a_wait_has_its_response_returned() {
    let peer = busy_once(|mut conn| async move {
        conn.write(answer("503 Service Unavailable", "retry-after: 600\r\n", "busy")).await;
        conn
    })
    .await;
    let mut service = RetryLayer::http().layer(client());
    let get = request(&peer, Method::GET, ping());
    let response = send(&mut service, get).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "busy");
}
