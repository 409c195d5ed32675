//! Settings are refused where they are made, with words.

mod common;

use std::time::Duration;

use buttress_balance::{
    BalanceLayer, Endpoint, EndpointSet, Health, HealthCheck, LearnedLimit, MAX_WEIGHT, State,
};
use common::{Net, endpoint};
use http::{HeaderValue, header::RETRY_AFTER};
use tower::{Layer, ServiceExt};

#[test]
fn an_endpoint_is_an_absolute_http_uri_with_a_host_and_a_port_that_exists() {
    let bad = [
        "",
        "/path",
        "host",
        "host:80",
        "ftp://host",
        "unix:/run/x.sock",
        "http://",
        "http:///path",
        "http://user:secret@host",
        "http://host:0",
        "http://host:",
        "http://host:65536",
        "http://host?query",
        "http://[::1",
        "*",
    ];
    for uri in bad {
        let error = Endpoint::new(uri).expect_err(uri);
        assert_eq!(error.setting(), "endpoint.uri", "{uri}");
    }
    for uri in ["http://host", "https://host:8443/v1/", "http://[::1]:80", "http://10.0.0.1"] {
        assert_eq!(Endpoint::new(uri).unwrap().shown_as(), uri);
    }
}

#[test]
fn a_set_has_endpoints_each_once_and_some_weight() {
    assert!(EndpointSet::new([]).is_err());
    assert!(EndpointSet::new([endpoint("a"), endpoint("a")]).is_err());
    let weightless = |host| endpoint(host).weight(0).unwrap();
    assert!(EndpointSet::new([weightless("a"), weightless("b")]).is_err());
    assert!(EndpointSet::new([weightless("a"), endpoint("b")]).is_ok());
    assert!(EndpointSet::new([endpoint("a"), endpoint("a").name("other")]).is_ok());
}

#[test]
fn one_place_in_other_words_is_one_endpoint() {
    let groups = [
        &["http://a", "http://a/", "HTTP://A", "http://a:80", "http://A:80/"][..],
        &["https://a", "https://a:443"],
        &["https://a/v1", "https://A:443/v1/"],
        &["https://a/V1"],
        &["http://a:443"],
        &["http://[::1]", "http://[0:0:0:0:0:0:0:1]:80"],
        &["http://a.", "http://a.:80/"],
    ];
    for (at, group) in groups.iter().enumerate() {
        for (other, others) in groups.iter().enumerate() {
            for (one, two) in group.iter().flat_map(|one| others.iter().map(move |two| (one, two)))
            {
                let both = [one, two].map(|uri| Endpoint::new(uri).unwrap());
                assert_eq!(EndpointSet::new(both).is_err(), at == other, "{one} {two}");
            }
        }
    }
    let set = EndpointSet::new([Endpoint::new("HTTP://Host:80/").unwrap()]).unwrap();
    assert_eq!(set.snapshot()[0].name, "HTTP://Host:80/", "as it was written");
    let id = set.id_of("http://host");
    assert!(id.is_some() && id == set.id_of("HTTP://Host:80/"));
    assert_eq!(Some(set.insert(endpoint("host"))), id);
    let named = |name: &str| Endpoint::new("http://a:80").unwrap().name(name);
    assert!(EndpointSet::new([named("http://a:80"), endpoint("a")]).is_err(), "its default name");
    assert!(EndpointSet::new([named("one"), named("two"), endpoint("a")]).is_ok());
}

#[test]
fn times_of_zero_are_refused_or_turn_something_off() {
    let slow = LearnedLimit::new().slow(Duration::ZERO).unwrap_err();
    assert_eq!(slow.setting(), "balance.limit.slow");
    let layer = BalanceLayer::new(common::set(["a"]));
    let cancel = layer.cancel_after(Duration::ZERO).unwrap_err();
    assert_eq!(cancel.setting(), "balance.cancel_after");
    assert!(Health::new().nginx_exact().max_ejected_percent(10).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_longest_hold_of_zero_is_no_hold() {
    let (net, set) = (Net::new(), common::set(["a", "b"]));
    net.on("a", |_| async {
        let mut response = common::plain(503);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
        Ok(response)
    });
    let health = Health::new().max_hold(Duration::ZERO);
    let client = BalanceLayer::new(set.clone()).least_request().health(health).layer(net.clone());
    for _ in 0..50 {
        drop(client.clone().oneshot(common::get()).await.unwrap());
    }
    assert_eq!((net.calls("a"), set.snapshot()[0].state), (3, State::Ejected), "a failure");
}

#[test]
fn the_largest_weights_add_up() {
    assert!(endpoint("a").weight(MAX_WEIGHT + 1).is_err());
    assert!(endpoint("a").weight(u32::MAX).is_err());
    let all = (0..300).map(|n| endpoint(&format!("h{n}")).weight(MAX_WEIGHT).unwrap());
    let set = EndpointSet::new(all).unwrap();
    let policy = buttress_balance::RoundRobin::new();
    let mut balancer = buttress_balance::Balancer::new(set.clone(), policy, Health::new());
    for _ in 0..1_000 {
        drop(balancer.lease(&buttress_balance::Ask::new(), set.now()).unwrap());
    }
    let id = set.candidates()[0].id();
    assert!(set.set_weight(id, MAX_WEIGHT + 1).is_err());
}

#[test]
fn health_rules_are_checked() {
    let health = Health::new;
    for ratio in [f64::NAN, f64::INFINITY, -0.1, 0.0, 1.1] {
        assert!(health().failure_ratio(ratio).is_err(), "{ratio}");
    }
    assert!(health().failure_ratio(1.0).is_ok());
    assert!(health().max_ejected_percent(101).is_err());
    assert!(health().fail_timeout(Duration::ZERO).is_err());
    assert!(health().window(Duration::ZERO).is_err());
    assert!(health().window(Duration::MAX).is_err());
    assert!(endpoint("a").max_in_flight(0).is_err());
}

#[test]
fn limits_and_checks_are_checked() {
    for (floor, start, ceiling) in [(0, 1, 2), (2, 1, 3), (1, 3, 2), (1, 1, 1_000_000)] {
        assert!(LearnedLimit::new().between(floor, start, ceiling).is_err());
    }
    assert!(HealthCheck::tcp().interval(Duration::ZERO).is_err());
    assert!(HealthCheck::tcp().timeout(Duration::ZERO).is_err());
    assert!(HealthCheck::tcp().rise(0).is_err() && HealthCheck::tcp().fall(0).is_err());
    let net = Net::new();
    let http =
        |path| HealthCheck::http::<_, http_body_util::Full<bytes::Bytes>, _>(path, net.clone());
    assert!(http("healthz").is_err() && http("/a b").is_err() && http("/healthz?full").is_ok());
}
