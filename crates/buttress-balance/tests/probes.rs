//! The one call that tries whether an ejected endpoint is back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    future::Future as _,
    task::{Context, Waker},
    time::Duration,
};

use buttress_balance::{
    Ask, BalanceLayer, Balancer, EndpointSet, Health, LeastRequest, Moment, NextUpstream,
    Observation, State, Verdict,
};
use common::{Net, endpoint, get, pass, post, set};
use tower::{Layer as _, ServiceExt as _};

const BAD: Observation = Observation::new(Verdict::Failure);
const GOOD: Observation = Observation::new(Verdict::Success);

fn at(seconds: u64) -> Moment {
    Moment::from_millis(seconds * 1_000)
}

fn once() -> NextUpstream {
    NextUpstream::default().tries(1).unwrap()
}

/// Lets `a`, the first one, fail until it is out.
fn eject_a(set: &EndpointSet, balancer: &mut Balancer<LeastRequest>) {
    for _ in 0..1_000 {
        if set.snapshot()[0].state != State::InUse {
            return;
        }
        let mut lease = balancer.lease(&Ask::new(), at(1)).unwrap();
        let bad = lease.endpoint().shown_as().ends_with('a');
        balancer.observe(&mut lease, if bad { &BAD } else { &GOOD }, at(1));
    }
    panic!("it is never ejected");
}

#[test]
fn a_balancer_that_ejects_nobody_does_not_lose_the_turn_of_another() {
    let set = set(["a", "b"]);
    let strict = Health::new().no_jitter();
    let mut strict = Balancer::new(set.clone(), LeastRequest::new(), strict);
    let lax = Health::new().max_fails(0).no_jitter();
    let mut lax = Balancer::new(set.clone(), LeastRequest::new(), lax);
    eject_a(&set, &mut strict);
    let mut probe = lax.lease(&Ask::new(), at(40)).unwrap();
    assert!(probe.is_probe());
    lax.observe(&mut probe, &BAD, at(40));
    drop(probe);
    assert_eq!(set.snapshot()[0].state, State::Ejected);
    let turns = (0..100).filter(|n| strict.lease(&Ask::new(), at(41 + n)).unwrap().is_probe());
    assert_eq!(turns.count(), 41, "once its time has come, each call that says nothing is one");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_gets_a_successor() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.answers("a", 500);
    let layer = BalanceLayer::new(set.clone()).least_request().next_upstream(once());
    let client = layer.health(Health::new().no_jitter()).layer(net.clone());
    while set.snapshot()[0].state == State::InUse {
        drop(client.clone().oneshot(get()).await);
    }
    net.hangs("a");
    pass(30.0).await;
    let mut probe = Box::pin(client.clone().oneshot(get()));
    assert!(probe.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(set.snapshot()[0].state, State::Probed);
    net.answers("a", 200);
    let before = net.calls("a");
    pass(29.0).await;
    drop(client.clone().oneshot(get()).await);
    assert_eq!(net.calls("a"), before, "it still has time");
    pass(1.1).await;
    drop(client.clone().oneshot(get()).await);
    assert_eq!((net.calls("a"), set.snapshot()[0].state), (before + 1, State::InUse));
    drop(probe);
    assert_eq!(set.snapshot()[0].state, State::InUse);
}

#[test]
fn an_answer_that_asks_for_less_shows_that_the_endpoint_is_back() {
    let set = set(["a", "b"]);
    let health = Health::new().no_jitter();
    let mut balancer = Balancer::new(set.clone(), LeastRequest::new(), health);
    eject_a(&set, &mut balancer);
    let mut probe = balancer.lease(&Ask::new(), at(40)).unwrap();
    assert!(probe.is_probe());
    let soft = Observation::new(Verdict::Soft).hold(Duration::from_secs(1));
    balancer.observe(&mut probe, &soft, at(40));
    drop(probe);
    let picks = |balancer: &mut Balancer<LeastRequest>, millis: u64| {
        let lease = |n| balancer.lease(&Ask::new(), Moment::from_millis(millis + n)).unwrap();
        (0..50).map(lease).filter(|lease| lease.endpoint().shown_as().ends_with('a')).count()
    };
    assert_eq!(picks(&mut balancer, 40_100), 0, "it asked for a second");
    assert!(picks(&mut balancer, 41_100) > 10);
}

#[tokio::test(start_paused = true)]
async fn nginx_tries_a_peer_with_a_post_too() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.answers("a", 503);
    let health = Health::new().nginx_exact().fail_timeout(Duration::from_secs(10)).unwrap();
    let layer = BalanceLayer::new(set.clone()).least_request().next_upstream(once());
    let client = layer.health(health).layer(net.clone());
    while set.snapshot()[0].state == State::InUse {
        drop(client.clone().oneshot(post()).await);
    }
    let before = net.calls("a");
    pass(11.5).await;
    drop(client.clone().oneshot(post()).await);
    assert_eq!(net.calls("a"), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_was_ejected_is_tried_once_the_primaries_are_full() {
    let net = Net::new();
    let primary = endpoint("a").max_in_flight(1).unwrap();
    let set = EndpointSet::new([primary, endpoint("spare").backup()]).unwrap();
    net.hangs("a");
    net.answers("spare", 500);
    let layer = BalanceLayer::new(set.clone()).least_request().next_upstream(once());
    let client = layer.health(Health::new().no_jitter()).layer(net.clone());
    let mut held = Box::pin(client.clone().oneshot(get()));
    assert!(held.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    while set.snapshot()[1].state == State::InUse {
        drop(client.clone().oneshot(get()).await);
    }
    net.answers("spare", 200);
    pass(31.0).await;
    assert_eq!(client.clone().oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(set.snapshot()[1].state, State::InUse);
}
