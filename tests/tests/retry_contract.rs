//! `RetryLayer` keeps the contract of every layer here, whatever its policy.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use buttress_retry::{
    Backoff, Budget, Budgets, CommitLayer, EmptyBudget, FirstFrame, HttpPolicy, Repeat,
    ReplayLimits, RetryLayer,
};
use buttress_testkit::{Check, Contract, Script};
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

#[tokio::test(start_paused = true)]
async fn a_request_that_is_cloned_keeps_the_contract() {
    Contract::plain(RetryLayer::new(Repeat::on_error())).run().await;
}

#[tokio::test(start_paused = true)]
async fn the_policy_for_http_keeps_the_contract() {
    Contract::http(RetryLayer::http()).request(put).run().await;
    Contract::http(RetryLayer::busy()).request(put).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_replayed_keeps_the_contract() {
    let layer = RetryLayer::new(HttpPolicy::http().replay(ReplayLimits::new()));
    Contract::http(layer.clone()).run().await;
    Contract::http(layer).request(upload).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_held_keeps_the_contract() {
    Contract::http(CommitLayer::new(FirstFrame::new())).request(put).run().await;
    Contract::http(RetryLayer::llm()).request(put).run().await;
    Contract::http(RetryLayer::grpc()).request(put).run().await;
    let streams = RetryLayer::llm().map_policy(|policy| policy.replay(ReplayLimits::new()));
    Contract::http(streams).request(upload).run().await;
}

#[tokio::test(start_paused = true)]
async fn every_limit_and_budget_keeps_the_contract() {
    // Longer than the suite waits, so that none of them is meant to pass.
    let long = Duration::from_secs(86_400);
    let limited = RetryLayer::http()
        .total_timeout(long)
        .attempt_timeout(long)
        .ready_timeout(long)
        .backoff(Backoff::fixed(Duration::ZERO))
        .rng_seed(7);
    Contract::http(limited.clone().no_budget()).request(put).run().await;
    let each = Budgets::new(&Budget::default(), 8).unwrap();
    Contract::http(limited.clone().budgets(each)).request(put).run().await;
    let waiting = limited.on_empty_budget(EmptyBudget::Wait);
    Contract::http(waiting).request(put).run().await;
}

#[tokio::test(start_paused = true)]
async fn one_attempt_keeps_the_contract() {
    let once = RetryLayer::http().max_attempts(1).unwrap();
    Contract::http(once).request(put).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_over_a_concurrency_limit_of_one_keeps_the_contract() {
    // With that limit alone, too: a clone waits for as long as the original is ready.
    let reason = "the original, which is ready, holds the only permit";
    let plain = ServiceBuilder::new()
        .layer(RetryLayer::new(Repeat::on_error()))
        .layer(ConcurrencyLimitLayer::new(1))
        .into_inner();
    Contract::plain(plain).except(Check::CloneUnready, reason).run().await;
    let http = ServiceBuilder::new()
        .layer(RetryLayer::http())
        .layer(ConcurrencyLimitLayer::new(1))
        .into_inner();
    Contract::http(http).request(put).except(Check::CloneUnready, reason).run().await;
    let held = ServiceBuilder::new()
        .layer(RetryLayer::llm())
        .layer(ConcurrencyLimitLayer::new(1))
        .into_inner();
    Contract::http(held).request(put).except(Check::CloneUnready, reason).run().await;
}

#[tokio::test(start_paused = true)]
async fn retries_within_retries_keep_the_contract() {
    let nested =
        ServiceBuilder::new().layer(RetryLayer::http()).layer(RetryLayer::http()).into_inner();
    Contract::http(nested).request(put).run().await;
}
