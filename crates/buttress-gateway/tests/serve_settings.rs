//! Whatever cannot work is said at the start: one line that names the setting, exit code 2.

#![expect(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::{fs, net::TcpListener};

use support::{Gateway, Upstream, command, run};

/// The line that ends a start which cannot succeed.
fn refused(flags: &[&str]) -> String {
    let output = run(&[&["serve"], flags].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{flags:?}: {error}");
    assert!(output.stdout.is_empty());
    let line = error.strip_suffix('\n').unwrap();
    assert!(line.starts_with("error: ") && !line.contains('\n'), "{flags:?}: {error}");
    line.to_owned()
}

#[test]
fn every_bad_setting_is_named_on_one_line() {
    let cases = [
        ("--bogus", "1"),
        ("--upstream", "127.0.0.1:9000"),
        ("--upstream", "http://"),
        ("--upstream", "ftp://127.0.0.1"),
        ("--upstream", "http://user:pw@127.0.0.1"),
        ("--upstream", "http://127.0.0.1/?q=1"),
        ("--upstream", "http://127.0.0.1:99999"),
        ("--upstream", "http://127.0.0.1,weight=0"),
        ("--upstream", "http://127.0.0.1,weigth=2"),
        ("--upstream", "http://127.0.0.1,max-in-flight=none"),
        ("--balance", "best"),
        ("--balance", "ring-hash"),
        ("--hash-key", "query"),
        ("--hash-key", "path"),
        ("--hash-bound", "0.5"),
        ("--max-fails", "-1"),
        ("--max-fails", "1001"),
        ("--fail-timeout", "0s"),
        ("--max-hold", "long"),
        ("--max-in-flight", "0"),
        ("--queue", "-1"),
        ("--queue-timeout", "0s"),
        ("--listen", "127.0.0.1"),
        ("--listen", "127.0.0.1:99999"),
        ("--attempts", "0"),
        ("--attempts", "many"),
        ("--retry-budget", "NaN"),
        ("--retry-budget", "-1"),
        ("--connect-timeout", "0s"),
        ("--deadline", "soon"),
        ("--idle-read-timeout", "-1s"),
        ("--max-body-replay", "1XB"),
        ("--max-connections", "0"),
        ("--max-requests", "0"),
        ("--dns-server", "ftp://1.1.1.1"),
        ("--dns-route", "corp.example"),
        ("--dns-route", "a..b=1.1.1.1"),
        ("--dns-max-stale", "-1s"),
        ("--policy", "sometimes"),
        ("--forwarded", "yes"),
        ("--upstream-protocol", "http3"),
        ("--workers", "0"),
        ("--log-format", "xml"),
    ];
    for (flag, value) in cases {
        let mut flags = vec!["--upstream", "http://127.0.0.1:9"];
        if flag == "--upstream" {
            flags.clear();
        }
        flags.extend([flag, value]);
        assert!(refused(&flags).contains(flag), "{flag} {value}: {}", refused(&flags));
    }
}

#[test]
fn settings_that_clash_are_named() {
    let clash = |flags: &[&str]| refused(&[&["--upstream", "http://127.0.0.1:9"], flags].concat());
    let line = clash(&["--backoff-min", "2s", "--backoff-max", "1s"]);
    assert_eq!(line, "error: --backoff-min: 2s is more than --backoff-max, 1s");
    let line = clash(&["--preserve-host", "--upstream-protocol", "http2"]);
    assert!(line.contains("--preserve-host") && line.contains("--upstream-protocol"), "{line}");
    assert!(clash(&["--log", "a=b=c"]).contains("--log"));
}

#[test]
fn an_upstream_is_required() {
    assert!(refused(&[]).contains("--upstream"));
}

#[test]
fn an_upstream_that_cannot_be_reached_is_refused_at_the_start() {
    let url = Upstream::new().url();
    let line = refused(&["--listen", "127.0.0.1:0", "--upstream", &url]);
    assert!(line.starts_with("error: --upstream: ") && line.contains(&url), "{line}");
    assert!(line.contains("--no-check"), "{line}");
    let line = refused(&["--listen", "127.0.0.1:0", "--upstream", "http://no-such-host.invalid"]);
    assert!(line.starts_with("error: --upstream: "), "{line}");
}

#[test]
fn the_same_upstream_twice_is_refused() {
    let twice = ["--upstream", "http://127.0.0.1:9", "--upstream", "http://127.0.0.1:9,weight=2"];
    let line = refused(&twice);
    assert!(line.starts_with("error: --upstream: "), "{line}");
}

#[test]
fn upstreams_of_which_none_can_be_reached_are_refused_at_the_start() {
    let (one, two) = (Upstream::new().url(), Upstream::new().url());
    let line = refused(&["--listen", "127.0.0.1:0", "--upstream", &one, "--upstream", &two]);
    assert!(line.contains(&one) && line.contains("--no-check"), "{line}");
}

#[test]
fn one_upstream_that_is_there_is_enough_and_the_variable_holds_them_all() {
    let (there, gone) = (Upstream::new(), Upstream::new().url());
    let mut child = command()
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("BUTTRESS_UPSTREAM", format!("{gone} {},weight=2", there.url()))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    child.kill().unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(line.starts_with("listening on 127.0.0.1:"), "{line}");
    assert!(said.contains(&gone) && said.contains("an upstream is not there"), "{said}");
}

#[test]
fn an_upstream_that_is_there_is_looked_at_once() {
    let upstream = Upstream::new();
    let mut child = command()
        .args(["serve", "--listen", "127.0.0.1:0", "--upstream", &upstream.url()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(upstream.accept().rest().0, b"");
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("listening on 127.0.0.1:"), "{line}");
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = refused(&["--listen", &address, "--upstream", "http://127.0.0.1:9", "--no-check"]);
    assert!(line.starts_with("error: --listen: ") && line.contains(&address), "{line}");
}

#[test]
fn a_gateway_in_front_of_itself_is_refused() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let line = refused(&["--listen", &free, "--upstream", &format!("http://{free}")]);
    assert!(line.contains("--upstream") && line.contains("itself"), "{line}");
}

#[test]
fn a_bad_certificate_file_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "no certificate").unwrap();
    for path in [file.path().to_str().unwrap(), "/no/such/file.pem"] {
        let line = refused(&["--upstream", "https://127.0.0.1:9", "--upstream-ca", path]);
        assert!(line.starts_with("error: --upstream-ca: ") && line.contains(path), "{line}");
    }
}

#[test]
fn settings_come_from_the_environment_and_flags_win() {
    let output = command()
        .args(["serve", "--upstream", "http://127.0.0.1:9"])
        .env("BUTTRESS_ATTEMPTS", "0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--attempts"));
    let output = command()
        .args(["serve", "--upstream", "ftp://flag"])
        .env("BUTTRESS_UPSTREAM", "http://environment")
        .output()
        .unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("ftp://flag"));
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["--version"], &["help", "serve"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).unwrap();
    assert!(help.contains("BUTTRESS_UPSTREAM"), "{help}");
}

#[test]
fn a_log_line_has_neither_query_nor_credentials() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--log-format", "json"]);
    let mut client = gateway.connect();
    client.send(
        "GET /path?key=sk-query HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-header\r\n\r\n",
    );
    let mut server = upstream.accept();
    server.head();
    server.send(support::OK);
    let head = client.head();
    client.body(&head);
    gateway.signal("TERM");
    let (_, log) = gateway.wait();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let access: Vec<_> = lines.iter().filter(|line| line["target"] == "access").collect();
    assert_eq!(access.len(), 1, "{log}");
    assert_eq!(access[0]["path"], "/path");
    assert_eq!(access[0]["status"], 200);
    assert_eq!(access[0]["bytes"], 2);
    assert_eq!(access[0]["end"], "complete");
    assert!(!log.contains("sk-"), "{log}");
}
