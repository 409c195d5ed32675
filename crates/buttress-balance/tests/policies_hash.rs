//! Policies that send what belongs together to one endpoint.

#![expect(clippy::expect_used, reason = "what goes wrong in a test's own functions fails the test")]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_balance::{
    Ask, Balancer, Candidate, Endpoint, EndpointSet, HashKey, Health, Lease, Moment, Pick,
    PickContext, Rendezvous, RingHash, key,
};
use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use proptest::prelude::*;

const NOW: Moment = Moment::from_millis(1);

fn set_of(names: impl IntoIterator<Item = u64>) -> EndpointSet {
    let endpoint = |name: u64| Endpoint::new(format!("http://host{name}.example")).expect("valid");
    EndpointSet::new(names.into_iter().map(endpoint)).expect("a valid set")
}

fn spread(key: u64) -> u64 {
    key::of(&key.to_le_bytes())
}

/// Where each key goes, by the name of the endpoint.
fn homes<P: Pick>(policy: &P, set: &EndpointSet, keys: u64) -> Vec<String> {
    let candidates = set.candidates();
    let table = policy.table(&candidates);
    let home = |key: u64| {
        let cx = PickContext::new(&candidates, NOW, key).with_key(Some(spread(key)));
        let index = policy.pick(&table, &cx).expect("an endpoint");
        candidates[index].endpoint().shown_as().to_owned()
    };
    (0..keys).map(home).collect()
}

fn moves_its_own_keys_only<P: Pick>(policy: &P, count: u64, gone: u64, most: f64) {
    let (all, left) = (set_of(0..count), set_of((0..count).filter(|name| *name != gone)));
    let keys = 3_000;
    let (before, after) = (homes(policy, &all, keys), homes(policy, &left, keys));
    let lost = format!("http://host{gone}.example");
    let mut moved = 0.0;
    for (before, after) in before.iter().zip(&after).filter(|(before, after)| before != after) {
        assert_eq!(*before, lost, "a key of another endpoint went to {after}");
        moved += 1.0;
    }
    assert!(moved <= most * keys as f64 / count as f64, "{moved} of {keys} at {count}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn an_endpoint_that_goes_moves_its_own_keys_and_no_others(
        count in 2_u64..30, gone in 0_u64..1_000,
    ) {
        let gone = gone % count;
        moves_its_own_keys_only(&Rendezvous::new(key::path()), count, gone, 1.6);
        moves_its_own_keys_only(&RingHash::new(key::path()), count, gone, 1.7);
    }

    #[test]
    fn a_bound_is_never_exceeded(
        count in 1_u64..20, factor in 1.0_f64..2.5, distinct in 1_u64..10, calls in 1_usize..120,
    ) {
        let ring = RingHash::new(key::path()).bounded_load(factor).unwrap();
        stays_below(ring, count, factor, distinct, calls)?;
        let rendezvous = Rendezvous::new(key::path()).bounded_load(factor).unwrap();
        stays_below(rendezvous, count, factor, distinct, calls)?;
    }
}

/// A few keys that everybody asks for.
fn stays_below<P: Pick>(
    policy: P,
    count: u64,
    factor: f64,
    distinct: u64,
    calls: usize,
) -> Result<(), TestCaseError> {
    let set = set_of(0..count);
    let mut balancer = Balancer::new(set.clone(), policy, Health::new());
    let mut leases: Vec<Lease> = Vec::new();
    for call in 0..calls {
        let ask = Ask::new().key(Some(spread(call as u64 % distinct)));
        leases.push(balancer.lease(&ask, NOW).expect("an endpoint"));
        let mean = leases.len() as f64 / count as f64;
        let most = set.candidates().iter().map(Candidate::in_flight).max().unwrap_or(0);
        prop_assert!(f64::from(most) <= (factor * mean).ceil(), "{most} at a mean of {mean}");
        if call % 7 == 6 {
            drop(leases.swap_remove(call % leases.len()));
        }
    }
    Ok(())
}

#[test]
fn a_key_has_one_home_whatever_the_order_of_the_endpoints() {
    let (one, other) = (set_of(0..9), set_of((0..9).rev()));
    let ring = RingHash::new(key::path());
    assert_eq!(homes(&ring, &one, 500), homes(&ring, &other, 500));
    let rendezvous = Rendezvous::new(key::path());
    assert_eq!(homes(&rendezvous, &one, 500), homes(&rendezvous, &other, 500));
}

#[test]
fn a_seed_arranges_keys_anew() {
    let set = set_of(0..9);
    let rendezvous = Rendezvous::new(key::path());
    assert_ne!(homes(&rendezvous, &set, 500), homes(&rendezvous.seed(1), &set, 500));
    let ring = RingHash::new(key::path());
    assert_ne!(homes(&ring, &set, 500), homes(&ring.seed(1), &set, 500));
}

#[test]
fn where_keys_go_does_not_change_from_one_release_to_the_next() {
    let set = set_of(0..5);
    let first = |homes: Vec<String>| -> String {
        homes.iter().map(|home| home.trim_start_matches("http://host")[..1].to_owned()).collect()
    };
    assert_eq!(first(homes(&RingHash::new(key::path()), &set, 16)), "1214044414434342");
    assert_eq!(first(homes(&Rendezvous::new(key::path()), &set, 16)), "0413121032422000");
}

#[test]
fn shares_are_even() {
    let set = set_of(0..10);
    for (homes, slack) in [
        (homes(&RingHash::new(key::path()), &set, 20_000), 600),
        (homes(&Rendezvous::new(key::path()), &set, 20_000), 200),
    ] {
        let mut counts = BTreeMap::<String, u32>::new();
        homes.into_iter().for_each(|home| *counts.entry(home).or_default() += 1);
        assert!(counts.values().all(|count| count.abs_diff(2_000) < slack), "{counts:?}");
    }
}

fn falls_back<P: Pick>(policy: P) {
    let set = set_of(0..4);
    let mut balancer = Balancer::new(set.clone(), policy, Health::new());
    let leases: Vec<_> = (0..8).map(|_| balancer.lease(&Ask::new(), NOW).expect("one")).collect();
    assert!(set.candidates().iter().all(|candidate| candidate.in_flight() == 2));
    drop(leases);
}

#[test]
fn a_call_without_a_key_goes_where_least_is_in_flight() {
    falls_back(RingHash::new(key::path()));
    falls_back(Rendezvous::new(key::path()));
}

#[test]
fn a_hot_key_stays_at_home_without_a_bound_and_spreads_with_one() {
    let busy = |policy: RingHash<key::Path>| {
        let set = set_of(0..5);
        let mut balancer = Balancer::new(set.clone(), policy, Health::new());
        let ask = Ask::new().key(Some(42));
        let leases: Vec<_> = (0..50).map(|_| balancer.lease(&ask, NOW).unwrap()).collect();
        let most = set.candidates().iter().map(Candidate::in_flight).max();
        drop(leases);
        most
    };
    assert_eq!(busy(RingHash::new(key::path())), Some(50));
    assert_eq!(busy(RingHash::new(key::path()).bounded_load(1.25).unwrap()), Some(13));
}

#[test]
fn a_header_a_cookie_and_a_path_are_keys() {
    let request = Request::get("http://a.example/v1/models?x=1")
        .header("x-session", "alpha")
        .header("cookie", "a=1; sid=beta")
        .header("cookie", "other=2; sid=gamma; blank=")
        .body(())
        .unwrap();
    let header = key::header("X-Session").unwrap();
    assert_eq!(header.hash_key(&request), Some(key::of(b"alpha")));
    assert_eq!(key::header("x-other").unwrap().hash_key(&request), None);
    assert_eq!(key::cookie("sid").unwrap().hash_key(&request), Some(key::of(b"beta")));
    assert_eq!(key::cookie("other").unwrap().hash_key(&request), Some(key::of(b"2")));
    assert_eq!(key::cookie("blank").unwrap().hash_key(&request), None);
    assert_eq!(key::cookie("id").unwrap().hash_key(&request), None);
    assert_eq!(key::path().hash_key(&request), Some(key::of(b"/v1/models")));
}

#[test]
fn names_that_are_none_are_refused() {
    assert!(key::header("a b").is_err() && key::header("").is_err());
    assert!(key::cookie("a;b").is_err() && key::cookie("").is_err() && key::cookie("a=").is_err());
    assert!(key::body_prefix(0).is_err());
}

#[test]
fn prompts_that_begin_alike_have_one_key() {
    let key_of = |body: &'static str| {
        let request = Request::new(Full::<Bytes>::from(body));
        key::body_prefix(6).unwrap().hash_key(&request)
    };
    assert_eq!(key_of("system: one"), key_of("system: two"));
    assert_ne!(key_of("system: one"), key_of("another"));
    assert_eq!(key_of("short"), Some(key::of(b"short")));
    assert_eq!(key_of(""), None);
    let empty = Request::new(Empty::<Bytes>::new());
    assert_eq!(key::body_prefix(6).unwrap().hash_key(&empty), None);
}

/// Parts that are there at once, and maybe more that never come.
#[derive(Clone)]
struct Parts {
    parts: Vec<&'static str>,
    goes_on: bool,
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.parts.is_empty() {
            return if self.goes_on { Poll::Pending } else { Poll::Ready(None) };
        }
        let part = self.parts.remove(0);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(part.as_bytes())))))
    }
}

#[test]
fn a_prefix_may_be_spread_over_frames_and_is_not_waited_for() {
    let key_of = |parts: &[&'static str], goes_on| {
        let request = Request::new(Parts { parts: parts.to_vec(), goes_on });
        key::body_prefix(6).unwrap().hash_key(&request)
    };
    let system = Some(key::of(b"system"));
    assert_eq!(key_of(&["sys", "", "tem: x"], false), system);
    assert_eq!(key_of(&["system: x"], true), system);
    assert_eq!(key_of(&["sys"], false), Some(key::of(b"sys")));
    assert_eq!(key_of(&["sys"], true), None);
}

#[test]
fn reading_a_prefix_leaves_the_body_alone() {
    let request = Request::new(Full::<Bytes>::from("whole"));
    assert!(key::body_prefix(3).unwrap().hash_key(&request).is_some());
    let collected = futures_util::FutureExt::now_or_never(request.into_body().collect());
    assert_eq!(collected.unwrap().unwrap().to_bytes(), "whole");
}

#[test]
fn whoever_knows_the_key_can_say_it() {
    let mut request = Request::new(());
    assert_eq!(key::extension().hash_key(&request), None);
    request.extensions_mut().insert(key::Affinity::of(b"tenant"));
    assert_eq!(key::extension().hash_key(&request), Some(key::of(b"tenant")));
    request.extensions_mut().insert(key::Affinity::new(7));
    assert_eq!(RingHash::new(key::extension()).hash_key(&request), Some(7));
    let own = key::with(|request: &Request<()>| request.uri().port_u16().map(u64::from));
    assert_eq!(Rendezvous::new(own).hash_key(&request), None);
}
