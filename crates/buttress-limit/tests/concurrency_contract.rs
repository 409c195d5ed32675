//! What every layer must keep, in each of the modes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use buttress_limit::{
    Concurrency, ConcurrencyLimitLayer,
    concurrency::{Aimd, Gradient, Limit, Shed, Wait},
    overload::Bare,
};
use buttress_testkit::Contract;

fn fixed() -> Concurrency {
    Concurrency::new(Limit::fixed(100).unwrap())
}

#[tokio::test(start_paused = true)]
async fn rejecting_keeps_the_contract() {
    Contract::http(ConcurrencyLimitLayer::inbound(fixed()).answer(Bare::default())).run().await;
}

#[tokio::test(start_paused = true)]
async fn rejecting_by_an_error_keeps_the_contract() {
    Contract::http(ConcurrencyLimitLayer::outbound(fixed()).reject()).run().await;
}

#[tokio::test(start_paused = true)]
async fn waiting_keeps_the_contract() {
    Contract::http(ConcurrencyLimitLayer::outbound(fixed()).wait(Wait::fifo())).run().await;
}

#[tokio::test(start_paused = true)]
async fn shedding_keeps_the_contract() {
    let shed = Shed::keep(0.1).unwrap();
    Contract::http(ConcurrencyLimitLayer::outbound(fixed()).shed(shed)).run().await;
}

#[tokio::test(start_paused = true)]
async fn finding_the_limit_keeps_the_contract() {
    for limit in [Limit::from(Aimd::new()), Limit::from(Gradient::new())] {
        let layer = ConcurrencyLimitLayer::inbound(Concurrency::new(limit));
        Contract::http(layer.answer(Bare::default())).run().await;
        Contract::http(ConcurrencyLimitLayer::outbound(Concurrency::new(limit))).run().await;
    }
}

#[tokio::test(start_paused = true)]
async fn counting_by_key_keeps_the_contract() {
    let limit = Concurrency::per_key(Limit::fixed(100).unwrap(), 10).unwrap();
    let layer = ConcurrencyLimitLayer::outbound_keyed(limit, |head| head.uri.path().to_owned());
    Contract::http(layer).run().await;
}

#[test]
fn the_services_go_where_axum_and_hyper_want_them() {
    fn goes<T: Clone + Send + Sync + 'static>(_: &T) {}
    let layer = ConcurrencyLimitLayer::inbound(fixed());
    goes(&layer);
    goes(&tower::Layer::layer(&layer, ()));
    goes(&fixed());
}
