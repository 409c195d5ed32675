//! What is in flight, exactly, whatever becomes of the calls.

mod common;

use std::{
    future::Future,
    io,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use buttress_balance::{BalanceLayer, EndpointSet, Health, LeastRequest, State};
use bytes::Bytes;
use common::{Net, endpoint, get, in_flight, pass, set, streamed};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt};

type Client = <BalanceLayer<LeastRequest> as Layer<Net>>::Service;

fn client(set: &EndpointSet, net: &Net) -> Client {
    BalanceLayer::new(set.clone())
        .least_request()
        .health(Health::new().max_fails(0))
        .layer(net.clone())
}

#[tokio::test(start_paused = true)]
async fn a_stream_counts_until_its_last_byte_is_read() {
    let (net, set) = (Net::new(), set(["a"]));
    let senders = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = senders.clone();
    net.on("a", move |_| {
        let (response, send) = streamed();
        kept.lock().unwrap().push(send);
        async move { Ok(response) }
    });
    let client = client(&set, &net);
    let mut body = client.oneshot(get()).await.unwrap().into_body();
    let mut send = senders.lock().unwrap().pop().unwrap();
    for _ in 0..600 {
        send.send_data(Bytes::from_static(b"data: x\n\n")).await.unwrap();
        assert!(body.frame().await.unwrap().is_ok());
        pass(1.0).await;
        assert_eq!(in_flight(&set), 1);
    }
    send.send_trailers(HeaderMap::new()).await.unwrap();
    drop(send);
    assert!(body.frame().await.unwrap().unwrap().is_trailers());
    assert!(body.frame().await.is_none());
    assert_eq!(in_flight(&set), 0, "though the body is still here");
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_body_counts_until_its_head() {
    let (net, set) = (Net::new(), set(["a"]));
    net.answers("a", 204);
    let mut request = get();
    *request.method_mut() = Method::HEAD;
    let response = client(&set, &net).oneshot(request).await.unwrap();
    assert_eq!(in_flight(&set), 0);
    drop(response);
    assert_eq!(in_flight(&set), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_is_one_failure_and_one_that_is_dropped_is_none() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    for host in ["a", "b"] {
        net.on(host, |_| async {
            let (response, send) = streamed();
            send.abort(io::ErrorKind::ConnectionReset.into());
            Ok(response)
        });
    }
    let client = BalanceLayer::new(set.clone()).least_request().layer(net.clone());
    let rate = |set: &EndpointSet| {
        set.snapshot().iter().map(|endpoint| endpoint.success_rate).sum::<f32>()
    };
    let response = client.clone().oneshot(get()).await.unwrap();
    drop(response);
    assert!((rate(&set) - 2.0).abs() < 0.001, "the client went away");
    let mut body = client.oneshot(get()).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().is_err());
    assert!((rate(&set) - 1.95).abs() < 0.001, "{}", rate(&set));
    drop(body);
    assert!((rate(&set) - 1.95).abs() < 0.001);
    assert_eq!(in_flight(&set), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_bodies_break_is_ejected_though_its_heads_are_good() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.on("a", |_| async {
        let (response, send) = streamed();
        send.abort(io::ErrorKind::ConnectionReset.into());
        Ok(response)
    });
    let client = BalanceLayer::new(set.clone()).least_request().layer(net.clone());
    for _ in 0..40 {
        drop(client.clone().oneshot(get()).await.unwrap().into_body().collect().await);
    }
    assert_eq!(set.snapshot()[0].state, State::Ejected);
}

#[tokio::test(start_paused = true)]
async fn grpc_trailers_that_say_so_are_a_failure() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.on("a", |_| async {
        let (response, mut send) = streamed();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("14"));
        send.send_trailers(trailers).await.unwrap();
        Ok(response)
    });
    let client = BalanceLayer::new(set.clone()).least_request().grpc().layer(net.clone());
    for _ in 0..40 {
        drop(client.clone().oneshot(get()).await.unwrap().into_body().collect().await);
    }
    assert_eq!(set.snapshot()[0].state, State::Ejected);
}

#[tokio::test(start_paused = true)]
async fn a_future_may_be_dropped_at_any_time_and_after_its_endpoint_went() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.hangs("a");
    net.hangs("b");
    let mut client = client(&set, &net);
    client.ready().await.unwrap();
    drop(client.clone());
    let unpolled = client.call(get());
    assert_eq!(in_flight(&set), 1);
    drop(unpolled);
    let mut pending = Box::pin(client.call(get()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pending.as_mut().poll(&mut cx).is_pending());
    let candidates = set.candidates();
    for candidate in &candidates {
        assert!(set.remove(candidate.id()));
    }
    assert!(pending.as_mut().poll(&mut cx).is_pending());
    drop(pending);
    assert_eq!(candidates.iter().map(|candidate| candidate.in_flight()).sum::<u32>(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_removed_endpoint_finishes_its_streams_and_is_new_when_it_returns() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.on("a", |_| async {
        let (response, send) = streamed();
        tokio::spawn(async move {
            let mut send = send;
            tokio::time::sleep(Duration::from_secs(60)).await;
            let _ = send.send_data(Bytes::from_static(b"end")).await;
        });
        Ok(response)
    });
    net.refuses("b");
    let client = client(&set, &net);
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(client.clone().oneshot(get()).await.unwrap());
    }
    let gone = set.candidates().swap_remove(0);
    assert!(set.remove(gone.id()));
    let before = net.calls("a");
    for _ in 0..20 {
        assert!(client.clone().oneshot(get()).await.is_err(), "b alone is left");
    }
    assert_eq!((net.calls("a"), gone.in_flight()), (before, 100));

    let back = set.insert(endpoint("a"));
    assert_ne!(back, gone.id());
    let status = set.snapshot().pop().unwrap();
    assert_eq!((status.in_flight, status.picks, status.success_rate), (0, 0, 1.0));
    for stream in streams {
        assert_eq!(stream.into_body().collect().await.unwrap().to_bytes(), "end");
    }
    assert_eq!(gone.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_draining_endpoint_takes_nothing_more_and_can_be_watched() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    let client = client(&set, &net);
    let id = set.id_of("http://a").unwrap();
    assert!(set.drain(id));
    for _ in 0..20 {
        drop(client.clone().oneshot(get()).await);
    }
    assert_eq!((net.calls("a"), set.snapshot()[0].state), (0, State::Draining));
    assert_eq!(set.insert(endpoint("a")), id, "taken back");
    for _ in 0..20 {
        drop(client.clone().oneshot(get()).await);
    }
    assert!(net.calls("a") > 0);
    assert!(set.remove(id) && !set.remove(id) && !set.drain(id));
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_outside_counts_as_a_failure_where_that_was_asked_for() {
    for (limit, state) in [(None, State::InUse), (Some(Duration::from_secs(1)), State::Ejected)] {
        let (net, set) = (Net::new(), set(["a", "b"]));
        net.hangs("a");
        let mut layer = BalanceLayer::new(set.clone()).least_request();
        if let Some(limit) = limit {
            layer = layer.cancel_after(limit).unwrap();
        }
        let client = layer.layer(net.clone());
        for _ in 0..30 {
            let call = client.clone().oneshot(get());
            drop(tokio::time::timeout(Duration::from_secs(1), call).await);
        }
        assert_eq!(set.snapshot()[0].state, state);
        assert_eq!(in_flight(&set), 0);
    }
}
