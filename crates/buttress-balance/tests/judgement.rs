//! What answers and errors say about an endpoint.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{io, time::Duration};

use buttress_balance::{BalanceLayer, Endpoint, EndpointSet, Health, NextUpstream, On, State};
use buttress_core::Outcome;
use bytes::Bytes;
use common::{Answer, Net, get, plain, set};
use http::{HeaderValue, Request, Uri, header::RETRY_AFTER};
use http_body_util::{BodyExt as _, Full, channel::Channel};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tower::{Layer as _, ServiceBuilder, ServiceExt as _, service_fn};

fn once() -> NextUpstream {
    NextUpstream::default().tries(1).unwrap()
}

fn with_retry_after(status: u16, seconds: &'static str) -> Answer {
    let mut response = plain(status);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    Ok(response)
}

/// A server that answers everything with 200.
async fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    if stream.write_all(answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

/// What rustls makes of a certificate that nobody trusts is an `InvalidData`.
#[tokio::test]
async fn an_endpoint_with_a_wrong_certificate_is_left_out_and_costs_no_call() {
    let connect = service_fn(|uri: Uri| {
        Box::pin(async move {
            if uri.host() == Some("wrong.test") {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "certificate expired"));
            }
            let (host, port) = (uri.host().unwrap(), uri.port_u16().unwrap());
            Ok(TokioIo::new(TcpStream::connect((host, port)).await?))
        })
    });
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connect);
    let urls = ["http://wrong.test".to_owned(), server().await, server().await];
    let set = EndpointSet::new(urls.map(|url| Endpoint::new(url).unwrap())).unwrap();
    let client = BalanceLayer::new(set.clone()).least_request().layer(client);
    for _ in 0..60 {
        let request = Request::post("/").body(Full::from("sent once")).unwrap();
        let response = client.clone().oneshot(request).await.unwrap();
        drop(response.into_body().collect().await.unwrap());
    }
    let wrong = &set.snapshot()[0];
    assert_eq!((wrong.state, wrong.latency), (State::Ejected, None));
}

#[tokio::test]
async fn an_upload_that_the_client_breaks_off_says_nothing_of_its_endpoint() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let silent = tokio::spawn(async move {
        let mut streams = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            streams.push(stream);
        }
    });
    let client: Client<_, Channel<Bytes, io::Error>> =
        Client::builder(TokioExecutor::new()).build_http();
    let set = EndpointSet::new([Endpoint::new(&url).unwrap()]).unwrap();
    let client = BalanceLayer::new(set.clone()).without_failover().layer(client);
    let (mut upload, body) = Channel::<Bytes, io::Error>::new(4);
    let call = tokio::spawn(client.oneshot(Request::post("/").body(body).unwrap()));
    upload.send_data(Bytes::from_static(b"half")).await.unwrap();
    upload.abort(io::ErrorKind::ConnectionReset.into());
    assert!(call.await.unwrap().is_err());
    let endpoint = &set.snapshot()[0];
    assert_eq!((endpoint.latency, endpoint.success_rate, endpoint.in_flight), (None, 1.0, 0));
    silent.abort();
}

#[tokio::test(start_paused = true)]
async fn a_404_makes_no_endpoint_look_quick_and_may_make_it_look_slow() {
    let (net, set) = (Net::new(), set(["a"]));
    let client = BalanceLayer::new(set.clone()).layer(net.clone());
    let mut latencies = Vec::new();
    for (time, status) in [(1, 404), (50, 200), (1, 404), (500, 404)] {
        net.takes("a", Duration::from_millis(time), status);
        drop(client.clone().oneshot(get()).await);
        latencies.push(set.snapshot()[0].latency.map(|latency| latency.as_millis()));
    }
    assert_eq!((latencies[0], latencies[1]), (None, latencies[2]));
    assert!(latencies[1] < Some(60) && latencies[3] > Some(60), "{latencies:?}");
}

#[tokio::test(start_paused = true)]
async fn a_503_that_asks_for_no_pause_is_a_failure() {
    for after in ["0", "Wed, 21 Oct 2015 07:28:00 GMT"] {
        let (net, set) = (Net::new(), set(["a", "b"]));
        net.on("a", move |_| async move { with_retry_after(503, after) });
        let layer = BalanceLayer::new(set.clone()).least_request().next_upstream(once());
        let client = layer.layer(net.clone());
        for _ in 0..200 {
            drop(client.clone().oneshot(get()).await);
        }
        assert_eq!((net.calls("a"), set.snapshot()[0].state), (3, State::Ejected), "{after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_of_one_caller_stops_no_other() {
    let (net, set) = (Net::new(), set(["a", "b", "c"]));
    for host in ["a", "b", "c"] {
        net.on(host, |request| async move {
            if request.headers().contains_key("x-greedy") {
                return with_retry_after(429, "60");
            }
            Ok(plain(200))
        });
    }
    let client = BalanceLayer::new(set.clone()).layer(net.clone());
    for held in 1..=3 {
        let mut greedy = get();
        greedy.headers_mut().insert("x-greedy", HeaderValue::from_static("1"));
        assert_eq!(client.clone().oneshot(greedy).await.unwrap().status(), 429);
        let states = set.snapshot();
        let count = states.iter().filter(|endpoint| endpoint.state == State::Held).count();
        assert_eq!(count, held, "others are preferred meanwhile");
    }
    let before = tokio::time::Instant::now();
    assert_eq!(client.clone().oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_lone_endpoint_is_never_held() {
    let (net, set) = (Net::new(), set(["a"]));
    net.on("a", |_| async { with_retry_after(503, "3") });
    let client = BalanceLayer::new(set.clone()).layer(net.clone());
    let before = tokio::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(client.clone().oneshot(get()).await.unwrap().status(), 503);
    }
    assert_eq!((before.elapsed(), set.snapshot()[0].state), (Duration::ZERO, State::InUse));
}

#[tokio::test(start_paused = true)]
async fn what_a_bulkhead_before_an_endpoint_refuses_goes_on_and_is_no_failure() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    for host in ["a", "b"] {
        net.takes(host, Duration::from_secs(1), 200);
    }
    // A place for two at `a`, and for all at `b`.
    let layer = BalanceLayer::new(set.clone())
        .least_request()
        .per_endpoint(|endpoint: &Endpoint, inner: &Net| {
            let most = if endpoint.shown_as().ends_with('a') { 2 } else { 1_000 };
            ServiceBuilder::new().load_shed().concurrency_limit(most).service(inner.clone())
        })
        .classify_error(|error| {
            error.is::<tower::load_shed::error::Overloaded>().then_some(Outcome::NotSent)
        });
    let client = layer.layer(net);
    let calls = (0..20).map(|_| tokio::spawn(client.clone().oneshot(get())));
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    let states: Vec<_> = set.snapshot().iter().map(|endpoint| endpoint.state).collect();
    assert_eq!(states, [State::InUse; 2]);
}

#[tokio::test(start_paused = true)]
async fn nginx_counts_no_status_that_is_not_listed() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.answers("a", 500);
    let layer = BalanceLayer::new(set.clone()).least_request();
    let exact = layer.health(Health::new().nginx_exact());
    let client = exact.next_upstream(NextUpstream::on([On::Error, On::Timeout])).layer(net);
    for _ in 0..50 {
        drop(client.clone().oneshot(get()).await);
    }
    assert_eq!(set.snapshot()[0].state, State::InUse);
}
