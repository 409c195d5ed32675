//! The contract that every layer keeps.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use buttress_cache::{CacheLayer, MemoryStore, Profile};
use buttress_testkit::Contract;

fn layer() -> CacheLayer {
    CacheLayer::new(MemoryStore::new(1 << 20).unwrap()).profile(Profile::rfc())
}

#[tokio::test(start_paused = true)]
async fn the_layer_keeps_the_contract() {
    Contract::http(layer()).run().await;
}

#[tokio::test(start_paused = true)]
async fn the_layer_keeps_the_contract_where_nobody_waits_for_another() {
    Contract::http(layer().no_collapse()).run().await;
}
