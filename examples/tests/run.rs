//! Every example runs to its end without the network, and shows what its head says.
#![expect(clippy::expect_used, reason = "an example that cannot be run is a failed test")]

use std::time::Duration;

use tokio::{process::Command, time::timeout};

/// What the program printed, if it ended well and soon.
async fn output(program: &str) -> String {
    let mut command = Command::new(program);
    for variable in ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"] {
        command.env_remove(variable);
    }
    let run = command.kill_on_drop(true).output();
    let run = timeout(Duration::from_secs(60), run).await;
    let run = run.expect("it ends within a minute").expect("it can be started");
    let printed = String::from_utf8_lossy(&run.stdout).into_owned();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{program}: {}\n{printed}\n{errors}", run.status);
    printed
}

/// Asserts that the lines are there, in this order.
fn assert_shows(printed: &str, lines: &[&str]) {
    let mut rest = printed.lines();
    for wanted in lines {
        assert!(rest.any(|line| line.contains(wanted)), "no `{wanted}` (any more) in\n{printed}");
    }
}

#[tokio::test]
async fn the_axum_server_answers_every_call_over_a_busy_upstream() {
    let printed = output(env!("CARGO_BIN_EXE_axum_server")).await;
    assert_shows(
        &printed,
        &[
            "request 1, GET /forecast/1: 503",
            "request 2, GET /forecast/1: 200",
            "caller: 200 OK: station 1: windy",
            "6 of 6 calls answered, with 9 requests to the upstream",
        ],
    );
}

#[tokio::test]
async fn the_balancer_loses_no_call_to_a_server_that_goes_and_takes_it_back() {
    let printed = output(env!("CARGO_BIN_EXE_balance")).await;
    assert_shows(
        &printed,
        &[
            "300 calls, answered by",
            "east   InUse",
            "east is gone",
            "none failed",
            "east   Ejected",
            "east is back",
            "none failed",
            "east   InUse",
            "event: #2 was ejected",
            "event: #2 was taken back",
        ],
    );
}

#[tokio::test]
async fn the_hyper_client_sends_an_upload_again_as_long_as_it_could_be_recorded() {
    let printed = output(env!("CARGO_BIN_EXE_hyper_client")).await;
    assert_shows(
        &printed,
        &[
            "request 1, PUT /upload: 503",
            "2 attempt(s), then success",
            "attempt 2: 200 OK: 524288 bytes received",
            "1 attempt(s), then body_not_replayable",
            "attempt 1: 503 Service Unavailable: server busy",
        ],
    );
}

#[tokio::test]
async fn the_limited_client_spares_a_server_that_is_busy_and_comes_back_to_it() {
    let printed = output(env!("CARGO_BIN_EXE_limited_client")).await;
    assert_shows(
        &printed,
        &[
            "client: 40 calls at once, 4 under way at a time at most",
            "client: 40 of 40 were answered",
            "server: busy from now on",
            "were not sent",
            "server: well again",
            "client: 50 of 50 were answered",
        ],
    );
}

#[tokio::test]
async fn the_chat_client_gets_an_answer_to_every_question() {
    let printed = output(env!("CARGO_BIN_EXE_chat")).await;
    assert_shows(
        &printed,
        &[
            "> Why does a tall wall stand?",
            "POST /v1/chat/completions: 503",
            "it took 2 attempts",
            "It stands because something leans against it",
            "3 answers",
        ],
    );
}

#[tokio::test]
async fn a_policy_of_ones_own_repeats_what_does_no_harm_twice() {
    let printed = output(env!("CARGO_BIN_EXE_own_policy")).await;
    assert_shows(
        &printed,
        &[
            "Set(\"wall\", \"stands\")",
            "attempt 1: Overloaded; again in 1",
            "= stands",
            "Get(\"wall\")",
            "attempt 1: Transient; again in",
            "attempt 2: the end, success",
            "Append(\"wall\", \" still\")",
            "attempt 1: the end, not_idempotent",
            "= connection reset",
            "= stands still",
        ],
    );
}

#[tokio::test]
async fn the_reqwest_client_repeats_a_post_only_with_an_idempotency_key() {
    let printed = output(env!("CARGO_BIN_EXE_reqwest_client")).await;
    assert_shows(
        &printed,
        &[
            "client: GET, 2 attempt(s): 200 OK: hello",
            "client: POST, 2 attempt(s): 200 OK: hello",
            "client: POST, 1 attempt(s): 503 Service Unavailable: server busy",
        ],
    );
}

#[tokio::test]
async fn the_tonic_client_outlasts_a_server_that_is_unavailable_at_first() {
    let printed = output(env!("CARGO_BIN_EXE_tonic_client")).await;
    assert_shows(
        &printed,
        &[
            "0 attempts before it; ready: false",
            "1 attempts before it; ready: false",
            "2 attempts before it; ready: true",
            "client: Serving",
        ],
    );
}

#[tokio::test]
async fn the_limited_axum_server_answers_five_and_says_when_to_come_back() {
    let printed = output(env!("CARGO_BIN_EXE_limited_axum")).await;
    assert_shows(
        &printed,
        &[
            "200 OK, ratelimit: \"per-minute\";r=4;t=12",
            "200 OK, ratelimit: \"per-minute\";r=0;t=60",
            "429 Too Many Requests, ratelimit: \"per-minute\";r=0;t=12, retry-after: 12",
            "429 Too Many Requests",
            "429 Too Many Requests",
            "the health check: 200 OK",
        ],
    );
}

#[tokio::test]
async fn the_limited_tonic_server_answers_three_and_says_that_the_quota_is_spent() {
    let printed = output(env!("CARGO_BIN_EXE_limited_tonic")).await;
    assert_shows(
        &printed,
        &[
            "call 3: Serving",
            "call 4: ResourceExhausted: the quota is spent",
            "call 5: ResourceExhausted",
        ],
    );
}
