//! curl through the gateway.

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    thread,
};

use support::{Gateway, OK, Upstream};

fn curl(arguments: &[&str]) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20"]).args(arguments);
    curl.stdout(Stdio::piped()).stderr(Stdio::piped());
    curl
}

#[test]
#[ignore = "needs curl"]
fn curl_prints_each_event_before_the_next_is_sent() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let mut curl = curl(&["--no-buffer", version, &gateway.url()]).spawn().unwrap();
        let mut lines = BufReader::new(curl.stdout.take().unwrap());
        let mut server = upstream.accept();
        server.head();
        server.send(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n",
        );
        for n in 0..5 {
            server.send_chunk(format!("data: {n}\n"));
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            assert_eq!(line, format!("data: {n}\n"), "{version}");
        }
        server.send("0\r\n\r\n");
        assert!(curl.wait().unwrap().success());
    }
}

#[test]
#[ignore = "needs curl"]
fn curl_reports_a_stream_that_breaks_off() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"] {
        let mut curl = curl(&["--no-buffer", version, &gateway.url()]).spawn().unwrap();
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        server.send_chunk("data: 1\n");
        let mut lines = BufReader::new(curl.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "data: 1\n");
        drop(server);
        let mut error = String::new();
        curl.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        assert!(!curl.wait().unwrap().success(), "{version}");
        assert!(error.starts_with("curl: ("), "{version}: {error}");
    }
}

#[test]
#[ignore = "needs curl"]
fn curl_uploads_a_large_file_in_chunks_and_with_a_length() {
    let bytes: Vec<u8> =
        (0..20_000_000_u32).map(|n| n.wrapping_mul(40_503).to_be_bytes()[1]).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &bytes).unwrap();
    let path = file.path().to_str().unwrap();
    for flag in [&["--header", "transfer-encoding: chunked"][..], &[], &["--http2-prior-knowledge"]]
    {
        let upstream = Upstream::new();
        let gateway = Gateway::start(&upstream.url(), &[]);
        let url = gateway.url();
        let server = thread::spawn(move || {
            let mut server = upstream.accept();
            let head = server.head();
            if head.field("expect").is_some() {
                server.send("HTTP/1.1 100 Continue\r\n\r\n");
            }
            let body = server.body(&head);
            server.send(OK);
            body
        });
        let output = curl(&[&["--upload-file", path, &url], flag].concat()).output().unwrap();
        assert_eq!(output.stdout, b"ok", "{}", String::from_utf8_lossy(&output.stderr));
        assert!(server.join().unwrap() == bytes, "{flag:?}: the upload differs");
    }
}

#[test]
#[ignore = "needs curl"]
fn curl_asks_for_the_head_only() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let curl = curl(&["--head", &gateway.url()]).spawn().unwrap();
    let mut server = upstream.accept();
    assert!(server.head().start.starts_with("HEAD "));
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n");
    let output = curl.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("content-length: 99\r\n"));
}

#[test]
#[ignore = "needs curl"]
fn curl_uses_the_gateway_as_its_proxy() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--preserve-host"]);
    let curl = curl(&["--proxy", &gateway.url(), "http://some.example/path"]).spawn().unwrap();
    let mut server = upstream.accept();
    let head = server.head();
    assert_eq!(head.start, "GET /path HTTP/1.1");
    assert_eq!(head.field("host"), Some("some.example"));
    server.send(OK);
    assert_eq!(curl.wait_with_output().unwrap().stdout, b"ok");
}
