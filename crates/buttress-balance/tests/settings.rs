//! Settings are refused where they are made, with words.

mod common;

use std::time::Duration;

use buttress_balance::{Endpoint, EndpointSet, Health, HealthCheck, LearnedLimit, MAX_WEIGHT};
use common::endpoint;

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
    let net = common::Net::new();
    let http =
        |path| HealthCheck::http::<_, http_body_util::Full<bytes::Bytes>, _>(path, net.clone());
    assert!(http("healthz").is_err() && http("/a b").is_err() && http("/healthz?full").is_ok());
}
