//! What goes wrong, and how it is told.
#![expect(clippy::unwrap_used, reason = "a socket that cannot be opened is a failed test")]

mod support;

use std::{error::Error, io, net::SocketAddr};

use buttress::{
    Body, BoxError, Client, InvalidRequest, Outcome, Setup, cause, causes,
    transport::{HttpInfo, Name},
};
use http::Request;
use http_body_util::BodyExt;
use support::{Server, read_head, resolver};
use tokio::{io::AsyncWriteExt, net::TcpListener};

fn once() -> Setup {
    Client::builder().no_retry()
}

/// An address where nobody listens.
async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).unwrap()
}

fn whole(error: &BoxError) -> String {
    causes(&**error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_refused_connection_means_that_nothing_was_sent() {
    let address = closed().await;
    let client = once().build().unwrap();
    let error = client.get(format!("http://{address}/")).await.unwrap_err();
    assert_eq!(Outcome::of_error(&*error), Outcome::NotSent);
    assert!(whole(&error).contains(&format!("cannot connect to {address}")), "{error:?}");
    let refused = causes(&*error)
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    assert!(refused, "{error:?}");
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_is_named() {
    let failing = tower::service_fn(|_: Name| async {
        Err::<Vec<SocketAddr>, _>(io::Error::other("the resolver is down"))
    });
    let client = once().resolver(failing).build().unwrap();
    let error = client.get("http://upstream.example/").await.unwrap_err();
    let message = whole(&error);
    assert!(message.contains("cannot look up the name `upstream.example`"), "{message}");
    assert!(message.ends_with("the resolver is down"), "{message}");
    assert_eq!(Outcome::of_error(&*error), Outcome::NotSent);

    let client = once().resolver(resolver([])).build().unwrap();
    let error = client.get("http://upstream.example/").await.unwrap_err();
    assert!(whole(&error).contains("`upstream.example` has no address"), "{error:?}");
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let server = Server::start(|_| async { http::Response::new(Body::from("here")) }).await;
    let addresses = [closed().await, closed().await, server.address];
    let client = once().resolver(resolver(addresses)).build().unwrap();
    // The resolver chooses the port where the URI names none.
    let response = client.get("http://upstream.example/").await.unwrap();
    let info = response.extensions().get::<HttpInfo>().unwrap();
    assert_eq!(info.remote_addr(), server.address);
    assert_eq!(response.into_body().text(8).await.unwrap(), "here");
}

#[tokio::test]
async fn a_port_in_the_uri_wins_over_the_resolver() {
    let server = Server::start(|_| async { http::Response::new(Body::from("here")) }).await;
    let client = once().resolver(resolver([closed().await])).build().unwrap();
    let uri = format!("http://upstream.example:{}/", server.address.port());
    assert!(client.get(uri).await.is_ok());
}

#[tokio::test]
async fn addresses_of_the_other_family_are_left_out_with_a_local_address() {
    let server = Server::start(|_| async { http::Response::new(Body::from("here")) }).await;
    let here = [127, 0, 0, 1].into();
    let client = once()
        .local_address(here)
        .resolver(resolver([SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9)), server.address]))
        .build()
        .unwrap();
    let response = client.get("http://upstream.example/").await.unwrap();
    assert_eq!(response.extensions().get::<HttpInfo>().unwrap().local_addr().ip(), here);
}

#[tokio::test]
async fn a_uri_that_is_not_absolute_is_refused_by_name() {
    let request = Request::get("/v1/models").body(()).unwrap();
    let error = once().build().unwrap().send(request).await.unwrap_err();
    assert!(cause::<InvalidRequest>(&*error).is_some());
    assert!(error.to_string().contains("`/v1/models`"), "{error}");
    assert!(once().build().unwrap().get("not a uri").await.is_err());
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_of_a_body_is_an_error() {
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let server = Server::accept(move |mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(head.as_bytes()).await.unwrap();
        })
        .await;
        let response = once().build().unwrap().get(server.uri("/")).await.unwrap();
        let mut body = response.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(cause::<hyper::Error>(&*error).is_some(), "{error:?}");
        assert_eq!(Outcome::of_error(&*error), Outcome::Transient);
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_without_an_answer_may_have_done_the_work() {
    let server = Server::accept(|mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let error = once().build().unwrap().get(server.uri("/")).await.unwrap_err();
    assert_eq!(Outcome::of_error(&*error), Outcome::Transient);
}

#[tokio::test]
async fn a_body_longer_than_its_reader_allows_is_refused() {
    let server = Server::start(|_| async { http::Response::new(Body::from("x".repeat(1000))) });
    let server = server.await;
    let client = Client::new();
    let body = client.get(server.uri("/")).await.unwrap().into_body();
    let error = body.bytes(999).await.unwrap_err();
    assert_eq!(cause::<buttress::TooLarge>(&*error).map(|error| error.limit()), Some(999));

    let body = client.get(server.uri("/")).await.unwrap().into_body();
    assert_eq!(body.bytes(1000).await.unwrap().len(), 1000);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_by_name() {
    use std::time::Duration;
    let zero = Duration::ZERO;
    let refused = |setup: Setup| setup.build().unwrap_err().setting();
    assert_eq!(refused(once().connect_timeout(zero)), "connect_timeout");
    assert_eq!(refused(once().first_byte_timeout(zero)), "first_byte_timeout");
    assert_eq!(refused(once().idle_read_timeout(zero)), "idle_read_timeout");
    assert_eq!(refused(once().pool_idle_timeout(zero)), "pool_idle_timeout");
    assert_eq!(refused(once().tcp_keepalive(zero)), "tcp_keepalive");
    assert_eq!(refused(once().http2_keep_alive(zero, zero)), "http2_keep_alive");
    let error = once().happy_eyeballs_delay(Duration::from_millis(9)).transport().unwrap_err();
    assert_eq!(error.to_string(), "`happy_eyeballs_delay` is 9ms, less than 10ms");
    assert!(error.source().is_none());
}
