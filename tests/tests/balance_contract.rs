//! `BalanceLayer` keeps the contract of every layer here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use buttress_balance::{
    Adaptive, BalanceLayer, Endpoint, EndpointSet, Health, LearnedLimit, PeakEwma, Random,
    RoundRobin,
};
use buttress_testkit::{Contract, Script};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer};

fn put() -> Request<Full<Bytes>> {
    Request::put("http://contract.test/").body(Full::from("question")).unwrap()
}

fn upload() -> Request<Script> {
    Request::put("http://contract.test/").body(Script::chunks(["ques", "tion"], 1)).unwrap()
}

fn set() -> EndpointSet {
    let endpoints = ["http://one.test/", "http://two.test/v1", "http://three.test/"];
    EndpointSet::new(endpoints.map(|uri| Endpoint::new(uri).unwrap())).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_policy_keeps_the_contract() {
    Contract::http(BalanceLayer::new(set())).request(put).run().await;
    Contract::http(BalanceLayer::new(set()).least_request()).request(put).run().await;
    Contract::http(BalanceLayer::new(set()).policy(RoundRobin::new())).request(put).run().await;
    Contract::http(BalanceLayer::new(set()).policy(Random::new())).request(put).run().await;
    Contract::http(BalanceLayer::new(set()).policy(PeakEwma::new())).request(put).run().await;
    Contract::http(BalanceLayer::new(set()).policy(Adaptive::new())).request(put).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_goes_once_keeps_the_contract() {
    Contract::http(BalanceLayer::new(set()).without_failover()).request(upload).run().await;
}

#[tokio::test(start_paused = true)]
async fn every_way_of_judging_keeps_the_contract() {
    let exact = BalanceLayer::new(set()).nginx_exact().grpc().unmarked();
    Contract::http(exact).request(put).run().await;
    let waiting = BalanceLayer::new(set())
        .health(Health::new().slow_start(Duration::from_secs(10)))
        .learned_limit(LearnedLimit::new())
        .cancel_after(Duration::from_secs(86_400))
        .unwrap();
    Contract::http(waiting).request(put).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_for_each_endpoint_keeps_the_contract() {
    // Each endpoint's service stays once it is made, so that of one endpoint their number does too.
    let one = EndpointSet::new([Endpoint::new("http://one.test/").unwrap()]).unwrap();
    let layer = BalanceLayer::new(one).per_endpoint(|_: &Endpoint, inner: &_| Clone::clone(inner));
    Contract::http(layer).request(put).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_balancer_over_a_concurrency_limit_of_one_keeps_the_contract() {
    let limited = ServiceBuilder::new()
        .layer(BalanceLayer::new(set()))
        .layer(ConcurrencyLimitLayer::new(1))
        .into_inner();
    Contract::http(limited).request(put).run().await;
}
