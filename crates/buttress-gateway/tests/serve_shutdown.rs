//! What is under way is finished, and nothing new is begun.

mod support;

use std::{
    io::{BufRead as _, BufReader},
    net::TcpStream,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use support::{Gateway, OK, Upstream};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn a_gateway_without_requests_ends_at_once() {
    for signal in ["TERM", "INT"] {
        let gateway = Gateway::start("http://127.0.0.1:9", &[]);
        gateway.signal(signal);
        assert_eq!(gateway.wait().0.code(), Some(0), "{signal}");
    }
}

#[test]
fn idle_connections_do_not_hold_a_drain_up() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let mut silent = gateway.connect();
    let mut idle = gateway.connect();
    idle.send(GET);
    let mut server = upstream.accept();
    server.head();
    server.send(OK);
    let head = idle.head();
    idle.body(&head);
    gateway.signal("TERM");
    assert_eq!(gateway.wait().0.code(), Some(0));
    assert_eq!(idle.rest().0, b"");
    assert_eq!(silent.rest().0, b"");
}

#[test]
fn a_stream_is_finished_while_new_connections_are_refused() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let address = gateway.address;
    let mut client = gateway.connect();
    client.send(GET);
    let mut server = upstream.accept();
    server.head();
    server.send(CHUNKED);
    server.send_chunk("before");
    client.head();
    assert_eq!(client.chunk(), b"before");

    gateway.signal("TERM");
    // The listener is closed when the drain begins.
    while TcpStream::connect(address).is_ok() {
        thread::yield_now();
    }
    server.send_chunk("after");
    assert_eq!(client.chunk(), b"after");
    server.send("0\r\n\r\n");
    assert_eq!(client.chunks(), b"");
    assert_eq!(client.rest().0, b"");
    assert_eq!(gateway.wait().0.code(), Some(0));
}

#[test]
fn a_request_without_an_answer_yet_is_finished_and_told_to_close() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let address = gateway.address;
    let mut client = gateway.connect();
    client.send(GET);
    let mut server = upstream.accept();
    server.head();
    gateway.signal("TERM");
    while TcpStream::connect(address).is_ok() {
        thread::yield_now();
    }
    server.send(OK);
    let head = client.head();
    assert_eq!(head.status(), 200);
    assert_eq!(head.field("connection"), Some("close"));
    assert_eq!(client.rest().0, b"ok");
    assert_eq!(gateway.wait().0.code(), Some(0));
}

#[test]
fn the_drain_timeout_cuts_off_what_is_left() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--drain-timeout", "100ms"]);
    let mut client = gateway.connect();
    client.send(GET);
    let mut server = upstream.accept();
    server.head();
    server.send(CHUNKED);
    server.send_chunk("never ends");
    client.head();
    client.chunk();
    gateway.signal("TERM");
    assert_eq!(client.rest().0, b"", "no clean end");
    let (status, log) = gateway.wait();
    assert_eq!(status.code(), Some(1));
    assert!(log.lines().last().unwrap().starts_with("error: --drain-timeout"), "{log}");
}

#[test]
fn an_http_1_0_stream_that_is_cut_off_is_reset() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &["--drain-timeout", "100ms"]);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    server.send(CHUNKED);
    server.send_chunk("x");
    client.head();
    assert_eq!(client.bytes(1), b"x");
    gateway.signal("TERM");
    assert_eq!(client.rest(), (Vec::new(), true));
}

#[test]
fn a_second_signal_exits_at_once() {
    let upstream = Upstream::new();
    let gateway = Gateway::start(&upstream.url(), &[]);
    let address = gateway.address;
    let mut client = gateway.connect();
    client.send(GET);
    let mut server = upstream.accept();
    server.head();
    gateway.signal("TERM");
    // Two signals at once would be one.
    while TcpStream::connect(address).is_ok() {
        thread::yield_now();
    }
    gateway.signal("INT");
    assert_eq!(gateway.wait().0.code(), Some(130));
    assert_eq!(client.rest().0, b"");
}

/// Whoever reads the log may go away first, as in `buttress serve 2>&1 | head`.
#[test]
fn a_log_that_nobody_reads_any_more_holds_up_neither_requests_nor_the_end() {
    for format in ["text", "json"] {
        let upstream = Upstream::new();
        let mut child = support::command()
            .args(["serve", "--listen", "127.0.0.1:0", "--no-check", "--log", "debug"])
            .args(["--log-format", format, "--upstream", &upstream.url()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        drop(child.stderr.take());
        let address = line.trim().strip_prefix("listening on ").unwrap();
        for _ in 0..2 {
            let mut client = support::Peer::new(TcpStream::connect(address).unwrap());
            client.send(GET);
            let mut server = upstream.accept();
            server.head();
            server.send(OK);
            let head = client.head();
            assert_eq!(client.body(&head), b"ok");
        }
        let pid = child.id().to_string();
        let signal = |name: &str| Command::new("kill").args([name, pid.as_str()]).status().unwrap();
        assert!(signal("-TERM").success());
        let (told, ended) = mpsc::channel();
        let waiting = thread::spawn(move || told.send(child.wait().unwrap()));
        let ended = ended.recv_timeout(support::PATIENCE);
        if ended.is_err() {
            signal("-KILL");
        }
        let _ = waiting.join();
        assert_eq!(ended.ok().and_then(|status| status.code()), Some(0), "{format}");
    }
}
