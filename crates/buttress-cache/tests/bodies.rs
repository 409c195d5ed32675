//! Bodies: streamed, shared while they arrive, and whole or not at all.

mod support;

use std::{sync::Arc, time::Duration};

use buttress_cache::{BoxError, CacheResult, FillError};
use buttress_core::cause;
use buttress_testkit::{BodyFailure, Script};
use bytes::Bytes;
use http::Request;
use http_body::Body;
use http_body_util::BodyExt;
use proptest::prelude::*;
use support::{
    Client, Origin, Reply, URI, fresh, get, layer, ok, pass, read, request, respond_with, send,
    settle,
};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, limit::ConcurrencyLimitLayer, load_shed::LoadShedLayer};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

/// Ten pieces, 100 ms apart.
fn slow(fields: &[(&str, &str)]) -> http::Response<Script> {
    let body = (0..10).fold(Script::new(), |body, piece| {
        body.wait(Duration::from_millis(100)).data(piece.to_string())
    });
    respond_with(200, fields, body)
}

#[tokio::test(start_paused = true)]
async fn a_miss_arrives_piece_by_piece() {
    for fields in [FRESH, &[("cache-control", "no-store")]] {
        let origin = Origin::new(move |_, _| slow(fields));
        let client = origin.cached();
        let begun = Instant::now();
        let mut body = send(&client, request("GET", URI, &[])).await.unwrap().into_body();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for piece in 1..=10_u32 {
            body.frame().await.unwrap().unwrap();
            assert_eq!(begun.elapsed(), Duration::from_millis(100) * piece);
        }
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_ask_at_once_make_one_call() {
    let origin = Origin::new(|_, _| Reply::from(slow(FRESH)).after(Duration::from_secs(1)));
    let client = origin.cached();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { get(&client).await })
        })
        .collect();
    let mut collapsed = 0;
    for task in tasks {
        let got = task.await.unwrap();
        assert_eq!(got.text(), "0123456789");
        collapsed += u32::from(got.result == Some(CacheResult::Collapsed));
    }
    assert_eq!((origin.calls(), collapsed), (1, 99));
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_reads_along_at_once() {
    let origin = Origin::new(|_, _| slow(FRESH));
    let client = origin.cached();
    let first = tokio::spawn({
        let client = client.clone();
        async move { get(&client).await }
    });
    sleep(Duration::from_millis(550)).await;
    let begun = Instant::now();
    let mut body = send(&client, request("GET", URI, &[])).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let rest = body.collect().await.unwrap().to_bytes();
    assert_eq!(rest, "123456789");
    assert_eq!(first.await.unwrap().text(), "0123456789");
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_to_leave_takes_nothing_from_the_others() {
    let origin = Origin::new(|_, _| slow(FRESH));
    let client = origin.cached();
    let first = send(&client, request("GET", URI, &[])).await.unwrap();
    let second = send(&client, request("GET", URI, &[])).await.unwrap();
    let mut first = first.into_body();
    first.frame().await.unwrap().unwrap();
    drop(first);
    assert_eq!(read(second).await.unwrap().text(), "0123456789");
    assert_eq!(get(&client).await.result, Some(CacheResult::Hit));
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_all_leave_the_download_ends_and_nothing_is_stored() {
    let body = Script::chunks(["0", "1", "2"], 0);
    let handle = body.handle();
    let body = std::sync::Mutex::new(Some(body));
    let origin = Origin::new(move |_, number| match number {
        0 => respond_with(200, FRESH, body.lock().unwrap().take().unwrap()),
        _ => fresh("second"),
    });
    let layer = layer();
    let client = origin.behind(&layer);
    let mut one = send(&client, request("GET", URI, &[])).await.unwrap().into_body();
    let two = send(&client, request("GET", URI, &[])).await.unwrap();
    one.frame().await.unwrap().unwrap();
    drop(one);
    assert!(!handle.is_dropped());
    drop(two);
    assert!(handle.is_dropped());
    assert_eq!(layer.handle().statistics().in_flight_bytes, 0);
    assert_eq!(get(&client).await.text(), "second");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_before_the_head_hands_the_fetch_on() {
    let origin = Origin::new(|_, _| Reply::from(fresh("a")).after(Duration::from_secs(5)));
    let client = origin.cached();
    let first = tokio::spawn({
        let client = client.clone();
        async move { get(&client).await }
    });
    settle().await;
    let second = tokio::spawn({
        let client = client.clone();
        async move { get(&client).await }
    });
    settle().await;
    first.abort();
    assert_eq!(second.await.unwrap().text(), "a");
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_fails_for_all_and_is_not_stored() {
    let broken = |number: usize| match number {
        0 => respond_with(200, FRESH, Script::new().data("half").hold().fail("reset")),
        1 => respond_with(
            200,
            &[("cache-control", "max-age=60"), ("content-length", "9")],
            Script::new().data("half"),
        ),
        _ => fresh("whole"),
    };
    let body = std::sync::Mutex::new(None);
    let body = Arc::new(body);
    let kept = Arc::clone(&body);
    let origin = Origin::new(move |_, number| {
        let response = broken(number);
        *kept.lock().unwrap() = Some(response.body().handle());
        response
    });
    let client = origin.cached();
    let one = send(&client, request("GET", URI, &[])).await.unwrap();
    let two = send(&client, request("GET", URI, &[])).await.unwrap();
    body.lock().unwrap().as_ref().unwrap().release();
    for response in [one, two] {
        let error = read(response).await.unwrap_err();
        assert!(cause::<BodyFailure>(&*error).is_some() && cause::<FillError>(&*error).is_some());
    }
    let short = send(&client, request("GET", URI, &[])).await.unwrap();
    let error = read(short).await.unwrap_err();
    assert_eq!(error.to_string(), "the body has 4 bytes, and 9 were announced");
    assert_eq!(get(&client).await.text(), "whole");
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_shared_releases_all_at_once_and_is_remembered() {
    let origin = Origin::new(|_, _| {
        Reply::from(ok(&[("cache-control", "private")], "mine")).after(Duration::from_secs(1))
    });
    let client = origin.cached();
    let begun = Instant::now();
    let all = |many: usize| {
        let client = client.clone();
        async move {
            let tasks: Vec<_> = (0..many)
                .map(|_| {
                    let client = client.clone();
                    tokio::spawn(async move { get(&client).await })
                })
                .collect();
            let mut last = None;
            for task in tasks {
                last = Some(task.await.unwrap());
            }
            last.unwrap()
        }
    };
    all(100).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(2), "one wait for the head, then all together");
    let got = all(100).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(3), "nobody waits for anybody");
    assert!(got.field("cache-status").unwrap().contains("detail=hit-for-miss"), "{got:?}");
    assert_eq!(origin.calls(), 200);
    pass(11).await;
    assert!(!get(&client).await.field("cache-status").unwrap().contains("hit-for-miss"));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_not_waited_for_longer_than_allowed() {
    let origin = Origin::new(|_, number| {
        Reply::from(fresh("a")).after(Duration::from_secs(if number == 0 { 3600 } else { 0 }))
    });
    let client = origin.cached();
    let first = tokio::spawn({
        let client = client.clone();
        async move { get(&client).await }
    });
    settle().await;
    let begun = Instant::now();
    assert_eq!(get(&client).await.text(), "a");
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    first.abort();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_failure_tries_once_more_together() {
    let origin = Origin::new(|_, number| match number {
        0 => Reply::failure().after(Duration::from_secs(1)),
        _ => Reply::from(fresh("a")).after(Duration::from_secs(1)),
    });
    let client = origin.cached();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { whole(&client).await.is_ok() })
        })
        .collect();
    let mut failed = 0;
    for task in tasks {
        failed += u32::from(!task.await.unwrap());
    }
    assert_eq!((failed, origin.calls()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_large_body_streams_through_with_a_bounded_window() {
    let piece = Bytes::from(vec![b'x'; 64 << 10]);
    let origin = Origin::new(move |_, _| {
        respond_with(200, FRESH, Script::chunks(vec![piece.clone(); 1600], 1))
    });
    let layer = layer().max_body(1 << 20);
    let (client, handle) = (origin.behind(&layer), layer.handle());
    let response = send(&client, request("GET", URI, &[])).await.unwrap();
    let slow = send(&client, request("GET", URI, &[])).await.unwrap();
    let (mut fast, mut slow) = (response.into_body(), slow.into_body());
    let mut read = 0;
    let mut most = 0;
    loop {
        tokio::select! {
            biased;
            frame = fast.frame() => match frame {
                Some(frame) => read += frame.unwrap().into_data().unwrap().len(),
                None => break,
            },
            frame = slow.frame() => drop(frame.unwrap().unwrap()),
        }
        most = most.max(handle.statistics().in_flight_bytes);
    }
    assert_eq!(read, 100 << 20);
    assert!(most <= 3 << 20, "{most}");
    drop((fast, slow));
    assert_eq!(handle.statistics().in_flight_bytes, 0);
    assert_eq!(get(&client).await.result, Some(CacheResult::Miss));
}

#[tokio::test(start_paused = true)]
async fn bytes_in_flight_are_bounded_over_all_bodies() {
    let origin =
        Origin::new(|_, _| respond_with(200, FRESH, Script::chunks(["0123456789"; 10], 0)));
    let layer = layer().max_in_flight(150);
    let client = origin.behind(&layer);
    let one = send(&client, request("GET", "http://a.example/1", &[])).await.unwrap();
    let mut one = one.into_body();
    for _ in 0..9 {
        one.frame().await.unwrap().unwrap();
    }
    let two = support::ask(&client, "GET", "http://a.example/2", &[]).await;
    assert_eq!(two.body.len(), 100);
    assert_eq!(
        support::ask(&client, "GET", "http://a.example/2", &[]).await.result,
        Some(CacheResult::Miss)
    );
    drop(one.collect().await.unwrap());
    assert_eq!(
        support::ask(&client, "GET", "http://a.example/1", &[]).await.result,
        Some(CacheResult::Hit)
    );
}

#[tokio::test(start_paused = true)]
async fn hits_are_served_while_the_inner_service_is_saturated() {
    let origin = Origin::new(|parts, _| {
        let wait = if parts.uri.path() == "/x" { 0 } else { 3600 };
        Reply::from(fresh("a")).after(Duration::from_secs(wait))
    });
    let inner = tower::ServiceBuilder::new()
        .buffer::<Request<http_body_util::Empty<Bytes>>>(8)
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(origin.clone());
    let service = layer().layer(inner);
    let call = |uri: &str| service.clone().oneshot(request("GET", uri, &[]));
    call(URI).await.unwrap().into_body().collect().await.unwrap();
    let stuck = tokio::spawn(call("http://a.example/stuck"));
    settle().await;
    for _ in 0..100 {
        let hit = call(URI).await.unwrap();
        assert_eq!(hit.into_body().collect().await.unwrap().to_bytes(), "a");
    }
    assert!(call("http://a.example/other").await.is_err(), "the shed load's own error arrives");
    stuck.abort();
}

#[tokio::test(start_paused = true)]
async fn an_inner_service_that_is_never_ready_still_has_hits() {
    let (inner, handle) = buttress_testkit::Strict::new(Origin::new(|_, _| fresh("a")));
    let mut service = layer().layer(inner);
    let response = (&mut service).oneshot(request("GET", URI, &[])).await.unwrap();
    response.into_body().collect().await.unwrap();
    handle.block_ready();
    for _ in 0..3 {
        let hit = (&mut service).oneshot(request("GET", URI, &[])).await.unwrap();
        assert_eq!(hit.into_body().collect().await.unwrap().to_bytes(), "a");
    }
    handle.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_hit_yields_the_very_bytes_that_are_stored() {
    let body = Bytes::from(vec![b'x'; 1 << 20]);
    let stored = body.clone();
    let origin = Origin::new(move |_, _| {
        respond_with(200, FRESH, Script::new().data(stored.clone()).exact())
    });
    let client = origin.cached();
    get(&client).await;
    let hit = send(&client, request("GET", URI, &[])).await.unwrap().into_body();
    assert_eq!(hit.size_hint().exact(), Some(1 << 20));
    let mut hit = hit;
    let piece = hit.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(piece.as_ptr(), body.as_ptr());
    assert!(hit.is_end_stream());
}

async fn whole(client: &Client) -> Result<Bytes, BoxError> {
    Ok(read(send(client, request("GET", URI, &[])).await?).await?.body)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_chunking_hit_and_miss_and_reader_agree(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40_000), 0..8),
        pending in 0_u32..3,
        exact: bool,
        hide_end: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        let sent = pieces.concat();
        let (miss, follower, hit) = runtime.block_on(async move {
            let origin = Origin::new(move |_, _| {
                let body = Script::chunks(pieces.clone(), pending);
                let body = if exact { body.exact() } else { body };
                respond_with(200, FRESH, if hide_end { body.hide_end() } else { body })
            });
            let client = origin.cached();
            let (miss, follower) = tokio::join!(whole(&client), whole(&client));
            let hit = whole(&client).await;
            assert_eq!(origin.calls(), 1);
            (miss.unwrap(), follower.unwrap(), hit.unwrap())
        });
        prop_assert_eq!(&*miss, &*sent);
        prop_assert_eq!(&*follower, &*sent);
        prop_assert_eq!(&*hit, &*sent);
    }
}

#[tokio::test(start_paused = true)]
async fn any_number_of_empty_frames_may_follow_the_last_byte() {
    let origin = Origin::new(|_, _| {
        let body = (0..200_000).fold(Script::new().data("body"), |body, _| body.data(""));
        respond_with(200, &[("cache-control", "max-age=60"), ("content-length", "4")], body)
    });
    let client = origin.cached();
    assert_eq!(get(&client).await.text(), "body");
    assert_eq!(get(&client).await.result, Some(CacheResult::Hit));
    assert_eq!(origin.calls(), 1);
}
