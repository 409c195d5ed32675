//! Limits of calls in flight: an endpoint's own, and one that is learned below it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_balance::{
    Ask, BalanceLayer, Balancer, EndpointSet, Health, LearnedLimit, LeastRequest, Moment,
    Observation, Verdict,
};
use bytes::Bytes;
use common::{Net, endpoint, get};
use http::Response;
use http_body_util::{Either, channel::Channel};
use tower::{Layer, ServiceExt};

const GOOD: Observation = Observation::new(Verdict::Success);
const BAD: Observation = Observation::new(Verdict::Failure);
const SOFT: Observation = Observation::new(Verdict::Soft);

fn learning(set: &EndpointSet, limit: LearnedLimit) -> Balancer<LeastRequest> {
    let health = Health::new().max_fails(0);
    Balancer::with_limit(set.clone(), LeastRequest::new(), health, Some(limit)).seeded(7)
}

fn one(own: Option<u32>) -> EndpointSet {
    let endpoint = endpoint("a");
    EndpointSet::new([match own {
        Some(calls) => endpoint.max_in_flight(calls).unwrap(),
        None => endpoint,
    }])
    .unwrap()
}

fn most(set: &EndpointSet) -> u32 {
    set.snapshot()[0].max_in_flight.unwrap()
}

/// As many calls as there are places for, together, each of which comes to what `answer` says.
fn round(
    balancer: &mut Balancer<LeastRequest>,
    number: u64,
    mut answer: impl FnMut(usize) -> Observation,
) {
    let begin = Moment::from_millis(number * 100);
    let end = begin.after(Duration::from_millis(50));
    let mut leases: Vec<_> =
        std::iter::from_fn(|| balancer.lease(&Ask::new(), begin).ok()).take(2_000).collect();
    for (nth, lease) in leases.iter_mut().enumerate() {
        balancer.observe(lease, &answer(nth), end);
    }
}

#[test]
fn a_cut_never_raises_a_limit_above_the_endpoints_own() {
    let set = one(Some(4));
    let mut balancer = learning(&set, LearnedLimit::new().between(10, 20, 100).unwrap());
    for number in 1..10 {
        round(&mut balancer, number, |_| SOFT);
        assert!((1..=4).contains(&most(&set)), "{}", most(&set));
    }
}

#[test]
fn an_own_limit_that_changes_bounds_what_is_learned() {
    let set = one(Some(100));
    let mut balancer = learning(&set, LearnedLimit::new());
    (1..5).for_each(|number| round(&mut balancer, number, |_| GOOD));
    let learned = most(&set);
    assert!((21..100).contains(&learned), "{learned}");

    let _ = set.insert(endpoint("a").max_in_flight(2).unwrap());
    assert_eq!(most(&set), 2, "at once");
    (5..50).for_each(|number| round(&mut balancer, number, |_| GOOD));
    assert_eq!(most(&set), 2, "and for good");

    let _ = set.insert(endpoint("a").max_in_flight(30).unwrap());
    assert_eq!(most(&set), 2, "what was learned stays");
    (50..100).for_each(|number| round(&mut balancer, number, |_| GOOD));
    assert_eq!(most(&set), 30);

    let _ = set.insert(endpoint("a"));
    (100..200).for_each(|number| round(&mut balancer, number, |_| GOOD));
    assert!(most(&set) > 100, "{}", most(&set));
}

#[test]
fn an_own_limit_without_a_learned_one_follows_the_last_word() {
    let set = one(None);
    for limit in [Some(3), Some(9), None] {
        let told = endpoint("a");
        let _ = set.insert(match limit {
            Some(calls) => told.max_in_flight(calls).unwrap(),
            None => told,
        });
        assert_eq!(set.snapshot()[0].max_in_flight, limit);
    }
}

/// A server that takes 100 calls at once and asks for less above that, under background errors.
#[test]
fn background_errors_leave_a_limit_at_what_the_server_takes() {
    for percent in [0, 1, 5] {
        let set = one(None);
        let mut balancer = learning(&set, LearnedLimit::new());
        let mut rng = fastrand::Rng::with_seed(7);
        let mut sum = 0;
        for number in 0..1_500 {
            round(&mut balancer, number, |nth| match nth {
                100.. => SOFT,
                _ if rng.u32(..100) < percent => BAD,
                _ => GOOD,
            });
            if number >= 1_000 {
                sum += most(&set);
            }
        }
        let average = sum / 500;
        assert!((88..=101).contains(&average), "{average} under {percent} %");
    }
}

#[test]
fn failures_that_are_many_cut_a_limit_and_a_stray_one_does_not() {
    let set = one(None);
    let mut balancer = learning(&set, LearnedLimit::new());
    round(&mut balancer, 1, |nth| if nth == 0 { BAD } else { GOOD });
    assert!(most(&set) >= 20, "{}", most(&set));
    // Overloaded, it fails where it should say so.
    (2..60).for_each(|number| round(&mut balancer, number, |_| BAD));
    assert_eq!(most(&set), 1);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_grows_lets_in_who_waits_though_no_call_has_ended() {
    let (net, set) = (Net::new(), one(None));
    let streams = Arc::new(Mutex::new(Vec::new()));
    let kept = streams.clone();
    net.on("a", move |_| {
        let (send, body) = Channel::<Bytes, io::Error>::new(1);
        kept.lock().unwrap().push(send);
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(Response::new(Either::Right(body)))
        }
    });
    let client = BalanceLayer::new(set.clone())
        .learned_limit(LearnedLimit::new().between(1, 1, 9).unwrap())
        .queue(9, Duration::from_secs(5))
        .layer(net);
    let first = tokio::spawn(client.clone().oneshot(get()));
    tokio::task::yield_now().await;
    let second = tokio::spawn(client.oneshot(get()));
    let first = first.await.unwrap().unwrap();
    let before = tokio::time::Instant::now();
    let second = second.await.unwrap().unwrap();
    assert!(before.elapsed() < Duration::from_millis(100), "{:?}", before.elapsed());
    assert_eq!(set.snapshot()[0].in_flight, 2);
    drop((first, second));
}
