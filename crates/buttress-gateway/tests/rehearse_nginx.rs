//! The nginx that Buttress is compared with, started by the rehearsal itself.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use buttress_gateway::rehearse::{
    CallOutcome, Ending, Nginx, Parameters, Pooled, Recipe, Route as _, Stage,
};
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;

const CALL: Bytes = Bytes::from_static(br#"{"model":"busy-chat","messages":[]}"#);

fn program() -> PathBuf {
    env::var_os("BUTTRESS_NGINX").unwrap_or_else(|| "nginx".into()).into()
}

fn rehearse(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_buttress"));
    command.arg("rehearse").args(arguments).args(["--compare", "nginx", "--nginx"]).arg(program());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn quick() -> Parameters {
    let mut parameters = Parameters::default();
    parameters.server.service_mean = Duration::from_millis(5);
    parameters.server.network_delay = Duration::ZERO;
    parameters
}

/// Three endpoints that refuse everything, and nginx before them.
async fn refusing(recipe: &Recipe) -> (Stage, Nginx, Pooled) {
    let mut parameters = quick();
    (parameters.server.slots, parameters.server.queue) = (0, 0);
    let stage = Stage::set(&parameters, 3).await.unwrap();
    let nginx = stage.nginx(&program(), recipe).await.unwrap();
    let client = Pooled::new(nginx.address()).unwrap();
    (stage, nginx, client)
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn calls_go_to_every_endpoint() {
    let stage = Stage::set(&quick(), 3).await.unwrap();
    let nginx = stage.nginx(&program(), &Recipe::default()).await.unwrap();
    let client = Pooled::new(nginx.address()).unwrap();
    for _ in 0..9 {
        assert_eq!(client.chat(CALL).await, CallOutcome::new(Ending::Answered, 1));
    }
    assert_eq!(stage.provider().requests(), 9);
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn a_refusal_costs_two_more_attempts_until_every_endpoint_is_left_out() {
    let (stage, _nginx, client) = refusing(&Recipe::default()).await;
    let refused = |attempts| CallOutcome::new(Ending::Refused, attempts);
    assert_eq!(client.chat(CALL).await, refused(3));
    for _ in 0..9 {
        assert_eq!(client.chat(CALL).await.ending, Ending::Refused);
    }
    let requests = stage.provider().requests();
    assert_eq!(client.chat(CALL).await, refused(0));
    assert_eq!(stage.provider().requests(), requests);
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn without_max_fails_every_endpoint_goes_on_being_asked() {
    let mut recipe = Recipe::default();
    recipe.max_fails = 0;
    let (stage, _nginx, client) = refusing(&recipe).await;
    for _ in 0..5 {
        assert_eq!(client.chat(CALL).await, CallOutcome::new(Ending::Refused, 3));
    }
    assert_eq!(stage.provider().requests(), 15);
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn it_ends_when_it_is_dropped() {
    let (_stage, nginx, _client) = refusing(&Recipe::default()).await;
    let address = nginx.address();
    drop(nginx);
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn what_it_says_when_it_does_not_start_is_told() {
    let stage = Stage::set(&quick(), 1).await.unwrap();
    let mut recipe = Recipe::default();
    recipe.fail_timeout = Duration::MAX;
    let error = stage.nginx(&program(), &recipe).await.unwrap_err();
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert!(said.contains("fail_timeout="), "{said}");
}

#[test]
#[ignore = "needs nginx"]
fn json_has_its_figures_beside_the_others() {
    let arguments = ["--seconds", "1", "--warm-up", "1", "--json", "--endpoints", "2"];
    let output = rehearse(&arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["endpoints"], 2);
    assert!(report["compare"]["calls"].as_u64().unwrap() > 0);
    let keys = |side: &str| report[side].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys("compare"), keys("after"));
}

#[cfg(unix)]
#[test]
#[ignore = "needs nginx"]
fn a_signal_that_ends_the_rehearsal_ends_nginx() {
    for signal in ["-INT", "-TERM"] {
        let directory = TempDir::new().unwrap();
        let mut child = rehearse(&["--seconds", "3", "--warm-up", "0"])
            .env("TMPDIR", directory.path())
            .spawn()
            .unwrap();
        let mut progress = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(progress.by_ref().any(|line| line.unwrap().starts_with("nginx: ")));
        let prefix = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        let configuration = fs::read_to_string(prefix.join("nginx.conf")).unwrap();
        let listen = configuration.split_once("listen ").unwrap().1.split(' ').next().unwrap();
        let address: SocketAddr = listen.parse().unwrap();
        assert!(TcpStream::connect(address).is_ok());

        let id = child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(TcpStream::connect(address).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
