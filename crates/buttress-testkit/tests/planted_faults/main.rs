//! Proof of the contract suite: layers with one fault each, which it must reject by the right names.

#![expect(clippy::unwrap_used, reason = "a lock that a test poisoned has failed the test already")]

mod fault;
mod http_faults;
mod readiness_faults;
mod response_faults;
mod reuse_faults;

use buttress_testkit::{Check, Contract};
use fault::{Fault, faulty};

/// Asserts that a layer with `fault` fails the `expected` checks and no other.
async fn rejects(fault: impl Fault, expected: &[Check]) {
    let report = Contract::plain(faulty(fault)).report().await;
    assert_eq!(report.failed(), expected, "{report}");
}

#[derive(Clone)]
struct Sound;

impl Fault for Sound {}

#[tokio::test(start_paused = true)]
async fn the_scaffold_of_the_faults_has_none_of_its_own() {
    rejects(Sound, &[]).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(
    expected = "FAILED    errors pass through unchanged: Planted { mark: 225 } is not found"
)]
async fn the_panic_of_a_run_names_the_check_and_the_reason() {
    Contract::plain(faulty(response_faults::RewordsErrors)).run().await;
}
