//! `buttress rehearse` as people and programs run it.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn rehearse(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_buttress"));
    command.arg("rehearse").args(arguments).stdin(Stdio::null());
    command
}

fn finish(arguments: &[&str]) -> Output {
    rehearse(arguments).output().unwrap()
}

#[test]
fn a_wrong_setting_is_one_line_that_names_the_flag_and_exit_code_2() {
    for (arguments, flag) in [
        (&["--seconds", "0"][..], "--seconds"),
        (&["--seconds", "-1"], "--seconds"),
        (&["--seconds", "soon"], "--seconds"),
        (&["--warm-up", "601"], "--warm-up"),
        (&["--repeat", "1.5"], "--repeat"),
        (&["--repeat", "-0.5"], "--repeat"),
        (&["--repeat", "NaN"], "--repeat"),
        (&["--seed", "-3"], "--seed"),
        (&["--plot", "no/such/place.svg"], "--plot"),
        (&["--plot", "picture.png"], "--plot"),
        (&["--endpoints", "0"], "--endpoints"),
        (&["--endpoints", "-2"], "--endpoints"),
        (&["--compare", "apache"], "--compare"),
        (&["--compare", "nginx", "--nginx", "/no/such/nginx"], "--compare"),
        (&["--compare", "nginx", "--nginx-max-fails", "-1"], "--nginx-max-fails"),
        (&["--nginx-max-fails", "0"], "--compare"),
    ] {
        let output = finish(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{arguments:?}: {said}");
        assert!(said.contains(flag), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn json_goes_to_standard_output_and_progress_to_standard_error() {
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rehearse.svg");
    let arguments = ["--seconds", "2", "--warm-up", "1", "--json", "--seed", "5", "--plot"];
    let output = finish(&[&arguments[..], &[picture.to_str().unwrap()]].concat());
    let progress = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{progress}");
    assert!(progress.contains("before: ") && progress.contains("after: "), "{progress}");

    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys = |value: &Value| -> Vec<String> {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    let outer = ["after", "before", "busy", "endpoints", "repeat", "seconds", "seed"];
    assert_eq!(keys(&report), outer);
    for side in ["before", "after"] {
        let figures = [
            "availability_pct",
            "calls",
            "failed_pct",
            "good_per_s",
            "mean_s",
            "p50_s",
            "p99_s",
            "retries_per_call",
            "server_requests",
        ];
        assert_eq!(keys(&report[side]), figures);
        assert!(report[side]["calls"].as_u64().unwrap() > 0);
    }
    assert_eq!((&report["seed"], &report["seconds"]), (&Value::from(5), &Value::from(2)));

    let svg = fs::read_to_string(&picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("time per call (s)"));
    fs::remove_file(picture).unwrap();
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_it_with_a_message_and_no_figures() {
    let mut child = rehearse(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    progress.read_line(&mut line).unwrap();
    assert!(line.starts_with("before: "), "{line}");

    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let mut said = String::new();
    progress.read_to_string(&mut said).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    assert!(output.stdout.is_empty());
}
