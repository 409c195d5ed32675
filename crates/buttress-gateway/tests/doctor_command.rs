//! `buttress doctor` as people and programs run it.
#![allow(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::{
    process::{Command, Output},
    thread,
};

use serde_json::Value;
use support::{Upstream, run};

/// Answers every request with this, on connections that it closes.
fn server(answer: &'static str) -> String {
    let upstream = Upstream::new();
    let url = upstream.url();
    thread::spawn(move || {
        loop {
            // A connection that is only opened to see how long that takes sends nothing.
            let mut peer = upstream.accept();
            thread::spawn(move || {
                if peer.has_more() {
                    peer.head();
                    peer.send(answer);
                }
            });
        }
    });
    url
}

const WELL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const BUSY: &str =
    "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_exit_code_tells_healthy_from_not() {
    let healthy = run(&["doctor", &server(WELL)]);
    let shown = text(&healthy.stdout);
    assert_eq!(healthy.status.code(), Some(0), "{shown}{}", text(&healthy.stderr));
    assert!(shown.lines().last().unwrap().starts_with("verdict: healthy: "), "{shown}");
    assert!(shown.contains("answers: 4 x 200, HTTP/1.1"), "{shown}");
    assert!(!shown.contains('\x1b'), "no colours where no terminal is: {shown}");

    let busy = run(&["doctor", &server(BUSY)]);
    let shown = text(&busy.stdout);
    assert_eq!(busy.status.code(), Some(1), "{shown}{}", text(&busy.stderr));
    assert!(shown.contains("verdict: server busy: 1 of 1 answers were 503"), "{shown}");
    assert!(shown.contains("retry-after: 7"), "{shown}");
    assert!(busy.stderr.is_empty(), "{}", text(&busy.stderr));
}

#[test]
fn a_name_is_looked_up_by_the_systems_resolver() {
    let url = server(WELL).replace("127.0.0.1", "localhost");
    let output = run(&["doctor", &url, "--json", "--requests", "1", "--connects", "1"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!(report["lookups"][0]["resolver"], "system");
    assert!(report["lookups"][0]["times"]["p50_ms"].as_f64().unwrap() >= 0.0);
    assert_eq!(report["not_asked"], "the name is one of this network's own");
    // Nobody listens at [::1], where `localhost` may lead as well.
    let addresses = report["connects"].as_array().unwrap();
    let opened = |to: &Value| to["times"]["tries"] == 1 && to["times"]["failed"] == 0;
    assert!(addresses.iter().any(opened), "{report}");
}

#[test]
fn json_is_one_object_of_which_every_part_is_known() {
    let output = run(&["doctor", &server(BUSY), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout).lines().count(), 1);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let outer = [
        "because",
        "connects",
        "cut_short",
        "files",
        "healthy",
        "lookups",
        "next",
        "requests",
        "url",
        "verdict",
    ];
    assert_eq!(keys(&report), outer);
    assert_eq!((&report["healthy"], &report["verdict"]), (&Value::from(false), &"busy".into()));
    let times = ["failed", "max_ms", "min_ms", "p50_ms", "p90_ms", "p99_ms", "tries"];
    assert_eq!(keys(&report["requests"]["total"]), times);
    assert_eq!(
        keys(&report["requests"]["kept"]),
        ["failed", "tries"],
        "of nothing there is no time"
    );
    assert_eq!(keys(&report["connects"][0]), ["address", "times"]);
    assert_eq!(keys(&report["connects"][0]["times"]), times);
    assert_eq!(report["requests"]["statuses"]["503"], 1);
    assert_eq!(report["requests"]["retry_after_ms"], 7_000);
    assert_eq!(report["requests"]["headers"]["retry-after"], "7");
    assert!(report["files"]["needed"].as_u64().unwrap() > 512);
}

#[test]
fn a_wrong_setting_is_one_line_that_names_the_flag_and_exit_code_2() {
    const URL: &str = "http://127.0.0.1:9/";
    for (arguments, named) in [
        (&["doctor"][..], "URL"),
        (&["doctor", "example.com"], "URL"),
        (&["doctor", "ftp://example.com"], "URL"),
        (&["doctor", "https://user:secret@example.com"], "URL"),
        (&["doctor", URL, "--requests", "0"], "--requests"),
        (&["doctor", URL, "--requests", "-1"], "--requests"),
        (&["doctor", URL, "--connects", "1000"], "--connects"),
        (&["doctor", URL, "--timeout", "0s"], "--timeout"),
        (&["doctor", URL, "--within", "soon"], "--within"),
        (&["doctor", URL, "--resolver", "dns.example"], "--resolver"),
        (&["doctor", URL, "--no-system"], "--resolver"),
        (&["doctor", URL, "--header", "secret"], "--header"),
        (&["doctor", URL, "--method", "post"], "--method"),
        (&["doctor", URL, "--ca", "/no/such/file"], "--ca"),
    ] {
        let Output { status, stdout, stderr } = run(arguments);
        let said = text(&stderr);
        assert_eq!(status.code(), Some(2), "{arguments:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{arguments:?}: {said}");
        assert!(said.contains(named), "{arguments:?}: {said}");
        assert!(!said.contains("secret"), "{arguments:?}: {said}");
        assert!(stdout.is_empty());
    }
}

#[cfg(unix)]
#[test]
fn too_few_open_files_for_the_pool_are_this_machines_fault() {
    let program = env!("CARGO_BIN_EXE_buttress");
    let script = format!("ulimit -Hn 512; ulimit -n 200; exec {program} doctor {}", server(WELL));
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}{}", text(&output.stderr));
    assert!(shown.contains("verdict: this machine: 200 open files are allowed"), "{shown}");
    let enough = script.replace("exec", "exec env").replace("doctor", "doctor --pool 100");
    let output = Command::new("sh").args(["-c", &enough]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}
