//! What an upstream says about its quota, and what is made of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use buttress_limit::{DeniedKind, Key, Learn, Lesson, Limiter, Local, Quota, RateLimitLayer, Tier};
use common::{Text, admitted, answering, get, millis, one, per};
use http::{HeaderName, HeaderValue, Response};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

fn answer(status: u16, headers: &[(&str, &str)]) -> Response<Text> {
    let mut response = Response::new(Text::default());
    *response.status_mut() = status.try_into().unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    response
}

#[tokio::test(start_paused = true)]
async fn after_a_429_nobody_starts_until_then_and_few_do_at_first() {
    let (start, times) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&times);
    let (inner, _) = answering(move |number| {
        seen.lock().unwrap().push(millis(start));
        if number == 0 { answer(429, &[("retry-after", "3")]) } else { answer(200, &[]) }
    });
    let limiter = Local::new(per(20, SECOND)).unwrap();
    let service = RateLimitLayer::outbound(limiter.clone()).layer(inner);
    service.clone().oneshot(get("/")).await.unwrap();
    let calls: Vec<_> = (0..50).map(|_| tokio::spawn(service.clone().oneshot(get("/")))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    let times = times.lock().unwrap();
    let within = |from, to| times.iter().filter(|at| (from..to).contains(*at)).count();
    assert_eq!(within(1, 3_000), 0, "{times:?}");
    // 20 a second: a quarter of it, half of it, three quarters of it, for a second each.
    assert!((4..=7).contains(&within(3_000, 4_000)), "{times:?}");
    assert!((8..=12).contains(&within(4_000, 5_000)), "{times:?}");
    assert!((13..=17).contains(&within(5_000, 6_000)), "{times:?}");
    assert_eq!(times.len(), 51);
    assert_eq!(limiter.waiting(), 0);
}

/// How long the limiter is paused after this answer.
async fn pause(response: Response<Text>) -> Duration {
    let limiter = Local::new(per(1_000, SECOND)).unwrap();
    let response = Mutex::new(Some(response));
    let (inner, _) = answering(move |_| response.lock().unwrap().take().unwrap());
    let layer =
        RateLimitLayer::outbound(limiter.clone()).learn(Learn::new().max_pause(60 * SECOND));
    layer.layer(inner).oneshot(get("/")).await.unwrap();
    match limiter.try_acquire(&buttress_limit::Ask::new(Key::GLOBAL, Default::default())).unwrap() {
        Ok(_) => Duration::ZERO,
        Err(denied) => {
            assert_eq!(denied.kind(), DeniedKind::Paused);
            denied.retry_after().unwrap()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_bounded_and_nonsense_is_no_pause() {
    let after = |value| pause(answer(429, &[("retry-after", value)]));
    assert_eq!(after("3").await, 3 * SECOND);
    assert_eq!(after("99999999999").await, 60 * SECOND);
    for nonsense in ["-1", "abc", "", "NaN", "1e9", "Wed, 21 Oct 2015 07:28:00 GMT", "\u{e4}"] {
        assert_eq!(after(nonsense).await, Duration::ZERO, "{nonsense}");
    }
    let reset = |value| {
        let spent = ("x-ratelimit-remaining-requests", "0");
        pause(answer(429, &[spent, ("x-ratelimit-reset-requests", value)]))
    };
    assert_eq!(reset("6m0s").await, 60 * SECOND);
    assert_eq!(reset("20ms").await, Duration::from_millis(20));
    assert_eq!(reset("2099-01-01T00:00:00Z").await, 60 * SECOND);
    assert_eq!(reset("1999-01-01T00:00:00Z").await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_overload_pauses_only_if_it_says_for_how_long() {
    assert_eq!(pause(answer(503, &[])).await, Duration::ZERO);
    assert_eq!(pause(answer(529, &[])).await, Duration::ZERO);
    assert_eq!(pause(answer(503, &[("retry-after", "2")])).await, 2 * SECOND);
    assert_eq!(pause(answer(200, &[("retry-after", "2")])).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_answer_out_of_a_cache_teaches_nothing() {
    let after = ("retry-after", "30");
    assert_eq!(pause(answer(429, &[after, ("age", "10")])).await, Duration::ZERO);
    let hit = ("cache-status", "edge; hit; ttl=30");
    assert_eq!(pause(answer(429, &[after, hit])).await, Duration::ZERO);
    assert_eq!(pause(answer(429, &[after, ("cache-status", "edge; fwd=miss")])).await, 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_is_lowered_near_the_end_and_never_raised() {
    let left = |left: &'static str, limit: &'static str| async move {
        let names = ("x-ratelimit-remaining-requests", "x-ratelimit-limit-requests");
        let (inner, _) = answering(move |_| answer(200, &[(names.0, left), (names.1, limit)]));
        let limiter = Local::new(Quota::per_minute(100).unwrap()).unwrap();
        RateLimitLayer::outbound(limiter.clone()).layer(inner).oneshot(get("/")).await.unwrap();
        let ask = buttress_limit::Ask::new(Key::GLOBAL, Default::default());
        limiter.peek(&ask).unwrap().standings()[0].remaining()
    };
    assert_eq!(left("3", "100").await, 3);
    assert_eq!(left("0", "100").await, 0);
    assert_eq!(left("40", "100").await, 99, "it may be rounded, and is older than what was sent");
    assert_eq!(left("4000", "100000").await, 99);
    for nonsense in ["", "-1", "x", "99999999999999999999999"] {
        assert_eq!(left(nonsense, "100").await, 99, "{nonsense}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_pause_does_not_end_a_longer_one() {
    let limiter = Local::new(per(10, SECOND)).unwrap();
    let key = one("a").key;
    limiter.learn(key, Tier::FIRST, Lesson::Pause(10 * SECOND));
    limiter.learn(key, Tier::FIRST, Lesson::Pause(SECOND));
    sleep(9 * SECOND).await;
    assert_eq!(admitted(&limiter, one("a"), 10), 0);
    assert_eq!(admitted(&limiter, one("b"), 10), 10, "another key is not paused");
    sleep(SECOND).await;
    assert_eq!(admitted(&limiter, one("a"), 10), 1);
}

#[tokio::test(start_paused = true)]
async fn inbound_learns_nothing_unless_told_to() {
    let (inner, calls) = answering(|_| answer(429, &[("retry-after", "30")]));
    let limiter = Local::new(per(10, SECOND)).unwrap();
    let service = RateLimitLayer::inbound(limiter).layer(inner);
    for _ in 0..5 {
        service.clone().oneshot(get("/")).await.unwrap();
    }
    assert_eq!(calls.load(Ordering::Relaxed), 5);
}
