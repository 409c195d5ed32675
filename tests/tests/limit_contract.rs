//! `RateLimitLayer` keeps the contract of every layer here, whatever it does with requests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use buttress_limit::{
    Cost, Estimate, Learn, Local, Policy, Quota, RateLimitLayer, ResponseBody, UsageSettle,
};
use buttress_testkit::{Contract, Script};
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer};

fn limiter() -> Local {
    let quotas = [Quota::per_second(1_000), Quota::tokens_per_minute(1_000_000)];
    Local::new(Policy::new(quotas.map(Result::unwrap)).unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_rejects_keeps_the_contract() {
    Contract::http(RateLimitLayer::inbound(limiter())).run().await;
    Contract::http(RateLimitLayer::inbound(limiter()).headers().legacy_headers()).run().await;
    Contract::http(RateLimitLayer::inbound(limiter()).shed().billed()).run().await;
    Contract::http(RateLimitLayer::inbound(limiter()).exempt(|_| true)).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_lets_wait_keeps_the_contract() {
    Contract::http(RateLimitLayer::outbound(limiter())).run().await;
    Contract::http(RateLimitLayer::outbound(limiter()).exempt(|_| true)).run().await;
    // Every call but the first has to wait.
    let slow = Local::new(Quota::per_second(1).unwrap()).unwrap();
    let layer = RateLimitLayer::outbound(slow).wait(Duration::from_secs(600));
    Contract::http(layer).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_shadow_keeps_the_contract() {
    let spent = || Local::new(Quota::per_day(1).unwrap()).unwrap();
    Contract::http(RateLimitLayer::inbound(spent()).enforce(0.0).unwrap()).run().await;
    Contract::http(RateLimitLayer::outbound(spent()).enforce(0.0).unwrap()).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_reads_answers_along_keeps_the_contract() {
    let estimate = Estimate::new();
    let layer = RateLimitLayer::outbound(limiter())
        .cost(move |head| estimate.cost(head))
        .max_cost(Cost::request().tokens(1_000))
        .settle(UsageSettle::new())
        .learn(Learn::new());
    Contract::http(layer.clone()).run().await;
    let upload = || Request::put("http://test/").body(Script::chunks(["ques", "tion"], 1)).unwrap();
    Contract::http(layer.clone()).request(upload).run().await;
    let answer = || {
        let body = Script::chunks([r#"{"usage":{"total"#, r#"_tokens":7}}"#], 1);
        Response::builder().header("content-type", "application/json").body(body).unwrap()
    };
    let same = |response: Response<ResponseBody<Script>>| {
        use futures_util::FutureExt;
        assert_eq!(response.headers()["content-type"], "application/json");
        let mut body = Box::pin(response.into_body().collect());
        let bytes = loop {
            if let Some(body) = body.as_mut().now_or_never() {
                break body.unwrap().to_bytes();
            }
        };
        assert_eq!(bytes, r#"{"usage":{"total_tokens":7}}"#);
    };
    Contract::http(layer).answer(answer, same).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_over_a_concurrency_limit_of_one_keeps_the_contract() {
    let limited = ServiceBuilder::new()
        .layer(RateLimitLayer::outbound(limiter()))
        .layer(ConcurrencyLimitLayer::new(1))
        .into_inner();
    Contract::http(limited).run().await;
}
