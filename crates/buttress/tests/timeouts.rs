//! What happens when the other side stalls.

mod support;

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use buttress::{
    Body, BoxError, Client, Outcome, Phase, Setup, TimedOut, cause,
    transport::{Name, Transport},
};
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, channel::Channel};
use support::Server;
use tokio::time::Instant;
use tower::{Service, ServiceExt};

fn phase(error: &BoxError) -> Option<Phase> {
    cause::<TimedOut>(&**error).map(TimedOut::phase)
}

fn once() -> Setup {
    Client::builder().no_retry()
}

#[tokio::test(start_paused = true)]
async fn a_name_lookup_that_stalls_ends_with_the_connect_timeout() {
    let resolver = tower::service_fn(|_: Name| pending::<Result<Vec<SocketAddr>, Infallible>>());
    let client = once().resolver(resolver).build().unwrap();
    let start = Instant::now();
    let error = client.get("http://upstream.example/").await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(phase(&error), Some(Phase::Connect));
    assert_eq!(Outcome::of_error(&*error), Outcome::NotSent);
}

/// A resolver that is never ready.
#[derive(Clone)]
struct Busy;

impl Service<Name> for Busy {
    type Response = Vec<SocketAddr>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Vec<SocketAddr>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Name) -> Self::Future {
        unreachable!("it was never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_never_becomes_ready_ends_with_the_connect_timeout() {
    let client = once().resolver(Busy).connect_timeout(Duration::from_secs(2)).build().unwrap();
    let start = Instant::now();
    let error = client.get("http://upstream.example/").await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    assert_eq!(phase(&error), Some(Phase::Connect));
}

#[cfg(feature = "tls")]
#[tokio::test(start_paused = true)]
async fn a_tls_handshake_that_stalls_ends_with_the_connect_timeout() {
    let server = Server::accept(|stream| async move {
        let _open = stream;
        pending::<()>().await;
    })
    .await;
    let client = once().build().unwrap();
    let start = Instant::now();
    let error = client.get(format!("https://{}/", server.address)).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(phase(&error), Some(Phase::Connect));
    assert_eq!(Outcome::of_error(&*error), Outcome::NotSent);
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_one_http2_connection_fail_together() {
    let resolver = tower::service_fn(|_: Name| pending::<Result<Vec<SocketAddr>, Infallible>>());
    let client = once().resolver(resolver).http2_prior_knowledge().build().unwrap();
    let start = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let client = client.clone();
        calls.spawn(async move { client.get("http://upstream.example/").await.unwrap_err() });
    }
    for error in calls.join_all().await {
        assert_eq!(Outcome::of_error(&*error), Outcome::NotSent);
    }
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn a_server_that_does_not_answer_ends_with_the_first_byte_timeout() {
    let server = Server::start(|_| pending()).await;
    let limit = Duration::from_secs(30);
    let client = once().first_byte_timeout(limit).build().unwrap();
    tokio::time::pause();
    let start = Instant::now();
    let error = client.get(server.uri("/")).await.unwrap_err();
    assert!(start.elapsed() >= limit && start.elapsed() < limit + Duration::from_secs(1));
    assert_eq!(cause(&*error), Some(&TimedOut::new(Phase::FirstByte, limit)));
    assert_eq!(Outcome::of_error(&*error), Outcome::Timeout);
}

/// A server that sends what it is given, and a client with an idle-read timeout of 10 s.
async fn stream() -> (http_body_util::channel::Sender<bytes::Bytes>, Body) {
    let (sender, body) = Channel::new(1);
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
    let server = Server::start(move |_| {
        let body = body.lock().ok().and_then(|mut body| body.take());
        async { Response::new(body.map(Body::new).unwrap_or_default()) }
    })
    .await;
    let client = once().idle_read_timeout(Duration::from_secs(10)).build();
    let answer = match client {
        Ok(client) => client.get(server.uri("/")).await,
        Err(error) => Err(error.into()),
    };
    (sender, answer.map(Response::into_body).unwrap_or_default())
}

#[tokio::test]
async fn a_body_that_stalls_ends_with_the_idle_read_timeout() {
    let (mut sender, mut body) = stream().await;
    for _ in 0..3 {
        sender.send_data("data".into()).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data");
    }
    tokio::time::pause();
    let start = Instant::now();
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(start.elapsed() >= Duration::from_secs(10));
    assert!(start.elapsed() < Duration::from_secs(11));
    assert_eq!(cause(&*error), Some(&TimedOut::new(Phase::IdleRead, Duration::from_secs(10))));
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_reader_that_takes_its_time_is_not_cut_off() {
    let (mut sender, mut body) = stream().await;
    let waiting = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await;
    assert!(waiting.is_pending(), "the alarm is set now");
    sender.send_data("late".into()).await.unwrap();
    // Until it has come as far as it can without being asked for.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3600)).await;
    tokio::time::resume();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "late");
}

#[tokio::test]
async fn the_transport_alone_has_the_same_limits() {
    let server = Server::start(|_| pending()).await;
    let limit = Duration::from_secs(1);
    let transport = Transport::builder().first_byte_timeout(limit).transport().unwrap();
    tokio::time::pause();
    let request = Request::get(server.uri("/")).body(Body::empty()).unwrap();
    let error = transport.oneshot(request).await.unwrap_err();
    assert_eq!(cause(&*error), Some(&TimedOut::new(Phase::FirstByte, limit)));
}

#[tokio::test]
async fn a_slow_upload_puts_the_first_byte_timeout_off() {
    let server = Server::start(|_| pending()).await;
    let limit = Duration::from_secs(10);
    let client = once().first_byte_timeout(limit).build().unwrap();
    let (mut upload, body) = Channel::<bytes::Bytes>::new(1);
    let request = Request::post(server.uri("/")).body(Body::new(body)).unwrap();
    tokio::time::pause();
    let start = Instant::now();
    let pieces = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(8)).await;
            upload.send_data("piece".into()).await.unwrap();
        }
        pending::<()>().await;
    };
    tokio::select! {
        () = pieces => {}
        result = client.send(request) => {
            let error = result.unwrap_err();
            assert_eq!(phase(&error), Some(Phase::FirstByte));
        }
    }
    let expected = Duration::from_secs(5 * 8) + limit;
    assert!(start.elapsed() >= expected && start.elapsed() < expected + Duration::from_secs(1));
}
