//! Which endpoints are left out, for how long, and how they come back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use buttress_balance::{
    Ask, BalanceError, BalanceErrorKind, BalanceLayer, Balancer, Event, Health, LeastRequest,
    Moment, NextUpstream, Observation, Panic, RoundRobin, State, Unavailable, Verdict,
};
use buttress_core::cause;
use common::{Net, endpoint, get, in_flight, pass, post, set};
use futures_util::future::join_all;
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use tower::{Layer, Service, ServiceExt};

const GOOD: Observation = Observation::new(Verdict::Success);
const BAD: Observation = Observation::new(Verdict::Failure);

fn health() -> Health {
    Health::new().no_jitter()
}

fn no_failover() -> NextUpstream {
    NextUpstream::default().tries(1).unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment::from_millis(seconds * 1_000)
}

/// Calls until one goes to `host`, with successes elsewhere, and fails that one.
fn fail_at(balancer: &mut Balancer<LeastRequest>, host: &str, now: Moment) {
    let mut aside = Vec::new();
    loop {
        let mut lease = balancer.lease(&Ask::new(), now).unwrap();
        if lease.endpoint().shown_as().ends_with(host) {
            balancer.observe(&mut lease, &BAD, now);
            return;
        }
        aside.push(lease);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_endpoint_costs_three_calls_and_then_one_each_time_it_is_due() {
    let (net, set) = (Net::new(), set(["a", "b", "c"]));
    net.refuses("a");
    let layer = BalanceLayer::new(set.clone())
        .policy(RoundRobin::new())
        .health(health().fail_timeout(Duration::from_secs(10)).unwrap());
    let mut client = layer.layer(net.clone());
    for tenths in 0..600 {
        let response = client.ready().await.unwrap().call(get()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "at {tenths}");
        drop(response);
        pass(0.1).await;
    }
    // 10 s, 20 s and 30 s after its failures: three probes in a minute, for they grow.
    assert!((5..=6).contains(&net.calls("a")), "{} calls", net.calls("a"));
    assert_eq!(in_flight(&set), 0);
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_callers_exactly_one_tries_an_endpoint_that_is_due() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.answers("a", 500);
    let layer = BalanceLayer::new(set.clone())
        .least_request()
        .health(health())
        .next_upstream(no_failover());
    let client = layer.layer(net.clone());
    while set.snapshot()[0].state == State::InUse {
        drop(client.clone().oneshot(get()).await);
    }
    assert_eq!(net.calls("a"), 3);
    net.takes("a", Duration::from_secs(1), 200);
    pass(30.0).await;
    let calls = (0..1_000).map(|_| client.clone().oneshot(get()));
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(net.calls("a"), 4);
    assert_eq!(set.snapshot()[0].state, State::InUse);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_timed_out_or_panics_leaves_its_turn_to_the_next() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.answers("a", 500);
    let client = BalanceLayer::new(set.clone())
        .least_request()
        .health(health())
        .next_upstream(no_failover())
        .layer(net.clone());
    while set.snapshot()[0].state == State::InUse {
        drop(client.clone().oneshot(get()).await);
    }
    pass(30.0).await;

    net.hangs("a");
    drop(client.clone().oneshot(get()));
    let mut unpolled = client.clone();
    drop(unpolled.call(get()));
    let timed = tokio::time::timeout(Duration::from_secs(1), client.clone().oneshot(get()));
    assert!(timed.await.is_err());
    assert_eq!((net.calls("a"), set.snapshot()[0].state), (4, State::Ejected));

    net.on("a", |_| async { panic!("of the service") });
    let task = tokio::spawn(client.clone().oneshot(get()));
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!((net.calls("a"), set.snapshot()[0].state), (5, State::Ejected));

    net.answers("a", 200);
    drop(client.clone().oneshot(get()).await);
    assert_eq!((net.calls("a"), set.snapshot()[0].state), (6, State::InUse));
    assert_eq!(in_flight(&set), 0);
}

#[test]
fn failures_from_before_an_ejection_do_not_extend_it_and_successes_do_not_lift_it() {
    let set = set(["a", "b"]);
    let mut balancer = Balancer::new(set.clone(), LeastRequest::new(), health());
    let mut late: Vec<_> = (0..20).map(|_| balancer.lease(&Ask::new(), at(0)).unwrap()).collect();
    late.retain(|lease| lease.endpoint().shown_as().ends_with("a"));
    for _ in 0..3 {
        balancer.observe(&mut late.pop().unwrap(), &BAD, at(1));
    }
    // 30 s from the first second on.
    let is_out = |balancer: &mut Balancer<LeastRequest>, now| {
        let leases: Vec<_> = (0..8).map(|_| balancer.lease(&Ask::new(), now).unwrap()).collect();
        leases.iter().all(|lease| lease.endpoint().shown_as().ends_with("b"))
    };
    balancer.observe(&mut late.pop().unwrap(), &GOOD, at(2));
    assert!(is_out(&mut balancer, at(2)));
    for _ in 0..3 {
        balancer.observe(&mut late.pop().unwrap(), &BAD, at(20));
    }
    assert!(is_out(&mut balancer, Moment::from_millis(30_999)));
    assert!(!is_out(&mut balancer, at(31)), "the probe");
}

/// One failure every 7 seconds at one of two endpoints, among many successes: when it is ejected.
fn failures_seven_seconds_apart(health: Health) -> Option<u64> {
    let set = set(["a", "b"]);
    let health = health.fail_timeout(Duration::from_secs(10)).unwrap();
    let mut balancer = Balancer::new(set.clone(), LeastRequest::new(), health);
    let mut events = set.subscribe();
    for tenths in 0..700_u64 {
        let now = Moment::from_millis(tenths * 100);
        for _ in 0..10 {
            let mut lease = balancer.lease(&Ask::new(), now).unwrap();
            balancer.observe(&mut lease, &GOOD, now);
        }
        if tenths % 70 == 10 {
            fail_at(&mut balancer, "a", now);
            if matches!(events.try_next(), Some(Event::Ejected { .. })) {
                return Some(tenths / 10);
            }
        }
    }
    None
}

#[test]
fn failures_seven_seconds_apart_among_successes_eject_nobody() {
    assert_eq!(failures_seven_seconds_apart(health()), None);
}

#[test]
fn nginx_s_own_rule_ejects_at_the_third_of_them() {
    assert_eq!(failures_seven_seconds_apart(health().nginx_exact()), Some(15));
}

#[test]
fn one_percent_of_errors_everywhere_ejects_nobody() {
    let set = set(["a", "b", "c"]);
    let mut balancer = Balancer::new(set.clone(), RoundRobin::new(), health());
    let mut random = fastrand::Rng::with_seed(7);
    for call in 0..60 * 600_u64 {
        let now = Moment::from_micros(call * 1_000_000 / 600);
        let mut lease = balancer.lease(&Ask::new(), now).unwrap();
        let bad = random.u32(..100) == 0;
        balancer.observe(&mut lease, if bad { &BAD } else { &GOOD }, now);
    }
    assert!(set.snapshot().iter().all(|endpoint| endpoint.state == State::InUse));
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_calls_go_on_or_fail_at_once_as_was_set() {
    for panic in [Panic::UseAll, Panic::FailFast] {
        let (net, set) = (Net::new(), set(["a", "b"]));
        net.answers("a", 500);
        net.answers("b", 500);
        let health = health().max_ejected_percent(100).unwrap().panic(panic);
        let client =
            BalanceLayer::new(set.clone()).least_request().health(health).layer(net.clone());
        let mut events = set.subscribe();
        // The fleet's own rate of errors raises the bar: 30 in a row at most.
        for _ in 0..100 {
            drop(client.clone().oneshot(get()).await);
        }
        let states: Vec<_> = set.snapshot().iter().map(|endpoint| endpoint.state).collect();
        assert_eq!(states, [State::Ejected; 2]);
        let before = tokio::time::Instant::now();
        let result = client.clone().oneshot(get()).await;
        assert!(before.elapsed() < Duration::from_millis(1));
        match panic {
            Panic::UseAll => {
                assert_eq!(result.unwrap().status(), 500);
                let panicked = std::iter::from_fn(|| events.try_next());
                assert_eq!(panicked.last(), Some(Event::Panic { on: true }));
                // One that recovers is in use after its first good answer and the next call.
                net.answers("a", 200);
                for _ in 0..10 {
                    drop(client.clone().oneshot(get()).await);
                }
                assert_eq!(set.snapshot()[0].state, State::InUse);
            }
            _ => {
                let error = result.unwrap_err();
                let error = cause::<BalanceError>(&*error).unwrap();
                assert_eq!(error.kind(), BalanceErrorKind::Ejected);
                assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
                net.answers("a", 200);
                pass(30.0).await;
                let response = client.clone().oneshot(get()).await.unwrap();
                assert_eq!(response.status(), 200, "the probe");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_capped_share_is_out() {
    let (net, set) = (Net::new(), set(["a", "b", "c", "d", "e"]));
    for host in ["a", "b", "c", "d"] {
        net.refuses(host);
    }
    let client = BalanceLayer::new(set.clone()).least_request().health(health()).layer(net.clone());
    for _ in 0..200 {
        drop(client.clone().oneshot(get()).await);
    }
    let out = set.snapshot().iter().filter(|endpoint| endpoint.state == State::Ejected).count();
    assert!((2..=3).contains(&out), "{out} of at most 3");
    assert_eq!(set.snapshot()[4].state, State::InUse);
}

#[tokio::test(start_paused = true)]
async fn retry_after_holds_an_endpoint_and_ejects_it_not() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.on("a", |_| async {
        let mut response = common::plain(503);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
        Ok(response)
    });
    let client = BalanceLayer::new(set.clone()).least_request().health(health()).layer(net.clone());
    for _ in 0..50 {
        assert_eq!(client.clone().oneshot(get()).await.unwrap().status(), 200);
    }
    assert_eq!((net.calls("a"), set.snapshot()[0].state), (1, State::Held));
    net.answers("a", 200);
    pass(2.0).await;
    for _ in 0..50 {
        drop(client.clone().oneshot(get()).await);
    }
    assert!(net.calls("a") > 10);
}

#[tokio::test(start_paused = true)]
async fn where_all_ask_to_be_left_alone_a_call_waits_for_the_first_of_them() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    for (host, seconds) in [("a", "3"), ("b", "1")] {
        net.on(host, move |_| async move {
            let mut response = common::plain(503);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
            Ok(response)
        });
    }
    let client = BalanceLayer::new(set.clone())
        .least_request()
        .next_upstream(no_failover())
        .layer(net.clone());
    drop(client.clone().oneshot(get()).await);
    drop(client.clone().oneshot(get()).await);
    net.answers("b", 200);
    let before = tokio::time::Instant::now();
    assert_eq!(client.clone().oneshot(get()).await.unwrap().status(), 200);
    let waited = before.elapsed();
    assert!((Duration::from_millis(999)..Duration::from_millis(1_010)).contains(&waited));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_comes_back_or_is_added_starts_slowly() {
    let set = set(["a"]);
    let health = health().slow_start(Duration::from_secs(10));
    let mut balancer = Balancer::new(set.clone(), RoundRobin::new(), health);
    pass(100.0).await;
    let id = set.insert(endpoint("b"));
    let mut share = |now: Moment| {
        let leases: Vec<_> =
            (0..1_000).map(|_| balancer.lease(&Ask::new(), now).unwrap()).collect();
        leases.iter().filter(|lease| lease.id() == id).count()
    };
    let early = share(set.now().after(Duration::from_secs(1)));
    let late = share(set.now().after(Duration::from_secs(60)));
    assert!(early < late, "{early} {late}");
    assert!((490..=510).contains(&late), "{late}");
}

#[tokio::test(start_paused = true)]
async fn a_post_is_not_the_first_to_try_an_ejected_endpoint() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.answers("a", 500);
    let client = BalanceLayer::new(set.clone())
        .least_request()
        .health(health())
        .next_upstream(no_failover())
        .layer(net.clone());
    while set.snapshot()[0].state == State::InUse {
        drop(client.clone().oneshot(get()).await);
    }
    net.answers("a", 200);
    pass(30.0).await;
    drop(client.clone().oneshot(post()).await);
    assert_eq!(net.calls("a"), 3);
    pass(15.0).await;
    drop(client.clone().oneshot(post()).await);
    assert_eq!(net.calls("a"), 4, "nobody else did");
}

#[test]
fn a_lone_endpoint_is_never_ejected() {
    for health in [health(), health().max_ejected_percent(100).unwrap(), health().nginx_exact()] {
        let set = set(["a"]);
        let mut balancer = Balancer::new(set.clone(), LeastRequest::new(), health);
        for _ in 0..100 {
            let mut lease = balancer.lease(&Ask::new(), at(1)).unwrap();
            balancer.observe(&mut lease, &BAD, at(1));
        }
        assert_eq!(set.snapshot()[0].state, State::InUse);
    }
}

#[test]
fn max_fails_of_zero_ejects_nobody() {
    let set = set(["a", "b"]);
    let mut balancer = Balancer::new(set.clone(), LeastRequest::new(), health().max_fails(0));
    for _ in 0..100 {
        fail_at(&mut balancer, "a", at(1));
    }
    assert_eq!(set.snapshot()[0].state, State::InUse);
}

#[test]
fn a_set_without_endpoints_says_so() {
    let set = buttress_balance::EndpointSet::empty();
    let mut balancer = Balancer::new(set.clone(), LeastRequest::new(), health());
    assert_eq!(balancer.lease(&Ask::new(), at(0)).unwrap_err(), Unavailable::Empty);
    let id = set.insert(endpoint("a"));
    assert_eq!(balancer.lease(&Ask::new(), at(0)).unwrap().id(), id);
    assert_eq!(set.set_weight(id, 0), Ok(true));
    assert_eq!(balancer.lease(&Ask::new(), at(0)).unwrap_err(), Unavailable::Empty);
}
