//! Several upstreams: who gets a request, and what becomes of it when one of them fails.

#![expect(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use support::{Gateway, OK, PATIENCE, Peer, Upstream, command};
use tokio::time::Instant;

const BUSY: &str = "HTTP/1.1 503 Busy\r\nconnection: close\r\nretry-after: 50\r\n\
                    content-length: 4\r\n\r\nbusy";

/// A server that answers each request after a few milliseconds, for as long as the test runs.
fn serve_slowly() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || answer_slowly(stream));
        }
    });
    address
}

#[expect(clippy::disallowed_methods, reason = "work that takes its time, so that some is cut off")]
fn answer_slowly(stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        if reader.get_mut().write_all(answer).is_err() {
            return;
        }
    }
}

/// A process of its own that passes on to `behind`; killed when it is dropped.
struct Process(Child, String);

impl Process {
    fn start(behind: SocketAddr) -> Self {
        let mut child = command()
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "off"])
            .args(["--upstream", &format!("http://{behind}")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = format!("http://{}", line.trim().strip_prefix("listening on ").unwrap());
        Self(child, url)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends `request` from 16 connections, kills one upstream process amid that, and says how often
/// each status came.
fn kill_one_under_load(request: &str, flags: &[&str]) -> HashMap<u16, usize> {
    let behind = serve_slowly();
    let mut upstreams: Vec<Process> = (0..3).map(|_| Process::start(behind)).collect();
    let urls: Vec<&str> = upstreams.iter().map(|upstream| upstream.1.as_str()).collect();
    let gateway = Gateway::over(&urls, flags);
    let (answered, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let call = || {
        let mut client = gateway.connect();
        let mut statuses = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            client.send(request);
            let head = client.head();
            client.body(&head);
            statuses.push(head.status());
            answered.fetch_add(1, Ordering::Relaxed);
        }
        statuses
    };
    let wait_for = |more: usize| {
        let (goal, begun) = (answered.load(Ordering::Relaxed) + more, Instant::now());
        while answered.load(Ordering::Relaxed) < goal {
            assert!(begun.elapsed() < 3 * PATIENCE, "requests are answered no more");
            thread::yield_now();
        }
    };
    let statuses: Vec<u16> = thread::scope(|scope| {
        let callers: Vec<_> = (0..16).map(|_| scope.spawn(call)).collect();
        wait_for(300);
        upstreams.remove(1).0.kill().unwrap();
        wait_for(1_000);
        stop.store(true, Ordering::Relaxed);
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    let mut counts = HashMap::new();
    for status in statuses {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

#[test]
fn an_upstream_that_is_killed_under_load_costs_no_request() {
    let counts = kill_one_under_load("GET /x HTTP/1.1\r\nhost: x\r\n\r\n", &[]);
    assert_eq!(counts.keys().collect::<Vec<_>>(), [&200], "{counts:?}");
}

#[test]
fn it_costs_no_call_to_a_model_either_where_those_may_go_again() {
    let call = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    let counts = kill_one_under_load(call, &["--non-idempotent"]);
    assert_eq!(counts.keys().collect::<Vec<_>>(), [&200], "{counts:?}");
}

fn get(client: &mut Peer) {
    client.send("GET /x HTTP/1.1\r\nhost: x\r\n\r\n");
}

fn answer(upstream: &Upstream, answer: &str) {
    let mut server = upstream.accept();
    let head = server.head();
    if head.start.starts_with("POST") {
        server.body(&head);
    }
    server.send(answer);
}

fn status(client: &mut Peer) -> u16 {
    let head = client.head();
    client.body(&head);
    head.status()
}

#[test]
fn requests_take_turns_by_weight() {
    let (one, two) = (Upstream::new(), Upstream::new());
    let heavy = format!("{},weight=2", one.url());
    let gateway = Gateway::over(&[&heavy, &two.url()], &["--balance", "round-robin"]);
    let mut client = gateway.connect();
    let mut turns = [0, 0];
    for _ in 0..6 {
        get(&mut client);
        let begun = Instant::now();
        let turn = loop {
            assert!(begun.elapsed() < PATIENCE);
            if let Some(turn) = [&one, &two].iter().position(|upstream| upstream.answers(OK)) {
                break turn;
            }
        };
        turns[turn] += 1;
        assert_eq!(status(&mut client), 200);
    }
    assert_eq!(turns, [4, 2]);
}

#[test]
fn a_call_that_is_refused_goes_to_another_upstream_without_a_wait() {
    let (busy, free) = (Upstream::new(), Upstream::new());
    let backup = format!("{},backup", free.url());
    let gateway = Gateway::over(&[&busy.url(), &backup], &[]);
    let mut client = gateway.connect();
    client.send("POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}");
    answer(&busy, BUSY);
    // The peers' patience is shorter than what the busy one asked for.
    answer(&free, OK);
    assert_eq!(status(&mut client), 200);
}

#[test]
fn a_call_that_all_refused_waits_for_as_long_as_they_are_spared() {
    let (one, two) = (Upstream::new(), Upstream::new());
    let gateway = Gateway::over(&[&one.url(), &two.url()], &["--max-hold", "100ms"]);
    let mut client = gateway.connect();
    client.send("POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}");
    let mut asked = Vec::new();
    for reply in [BUSY, BUSY, OK] {
        let begun = Instant::now();
        // Shorter than what the busy ones asked for.
        while begun.elapsed() < PATIENCE {
            let caller = [&one, &two].map(Upstream::waiting);
            let at = caller.iter().position(Option::is_some);
            let Some(mut server) = caller.into_iter().flatten().next() else { continue };
            let head = server.head();
            server.body(&head);
            server.send(reply);
            asked.extend(at);
            break;
        }
    }
    assert_eq!(status(&mut client), 200);
    assert_ne!(asked[0], asked[1], "the second one had not been asked yet");
    assert_eq!(asked.len(), 3);
}

#[test]
fn a_backup_is_asked_only_while_the_others_cannot_be() {
    let (first, backup) = (Upstream::new(), Upstream::new());
    let (gone, spare) = (Upstream::new().url(), format!("{},backup", backup.url()));
    let gateway = Gateway::over(&[&first.url(), &spare], &[]);
    let mut client = gateway.connect();
    for _ in 0..3 {
        get(&mut client);
        answer(&first, OK);
        assert_eq!(status(&mut client), 200);
    }
    assert!(!backup.has_caller());

    let gateway = Gateway::over(&[&gone, &spare], &[]);
    let mut client = gateway.connect();
    for _ in 0..3 {
        get(&mut client);
        answer(&backup, OK);
        assert_eq!(status(&mut client), 200);
    }
}

#[test]
fn a_full_upstream_turns_away_or_lets_wait() {
    let upstream = Upstream::new();
    let limit = ["--max-in-flight", "1", "--policy", "off"];
    let gateway = Gateway::start(&upstream.url(), &[&limit[..], &["--queue", "0"]].concat());
    let (mut first, mut second) = (gateway.connect(), gateway.connect());
    get(&mut first);
    let mut server = upstream.accept();
    server.head();
    get(&mut second);
    let head = second.head();
    assert_eq!((head.status(), head.field("retry-after")), (503, Some("1")));
    assert!(String::from_utf8(second.body(&head)).unwrap().contains("upstreams_full"));
    server.send(OK);
    assert_eq!(status(&mut first), 200);

    let gateway = Gateway::start(&upstream.url(), &limit);
    let (mut first, mut second) = (gateway.connect(), gateway.connect());
    get(&mut first);
    let mut server = upstream.accept();
    server.head();
    get(&mut second);
    server.send(OK);
    assert_eq!(status(&mut first), 200);
    answer(&upstream, OK);
    assert_eq!(status(&mut second), 200);
}

#[test]
fn the_wait_in_line_is_bounded() {
    let upstream = Upstream::new();
    let flags = ["--max-in-flight", "1", "--policy", "off", "--queue-timeout", "50ms"];
    let gateway = Gateway::start(&upstream.url(), &flags);
    let (mut first, mut second) = (gateway.connect(), gateway.connect());
    get(&mut first);
    let mut server = upstream.accept();
    server.head();
    get(&mut second);
    assert_eq!(status(&mut second), 503);
    server.send(OK);
    assert_eq!(status(&mut first), 200);
}

#[test]
fn the_access_log_names_the_upstream() {
    let (gone, upstream) = (Upstream::new().url(), Upstream::new());
    let backup = format!("{}/base,backup", upstream.url());
    let gateway = Gateway::over(&[&gone, &backup], &["--log-format", "json"]);
    let mut client = gateway.connect();
    get(&mut client);
    let mut server = upstream.accept();
    assert_eq!(server.head().start, "GET /base/x HTTP/1.1");
    server.send(OK);
    assert_eq!(status(&mut client), 200);
    gateway.signal("TERM");
    let log = gateway.wait().1;
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let access: Vec<_> = lines.filter(|line| line["target"] == "access").collect();
    assert_eq!(access.len(), 1, "{log}");
    assert_eq!(access[0]["endpoint"], format!("{}/base", upstream.url()));
}

#[test]
fn an_asterisk_asks_the_first_server() {
    let (first, second) = (Upstream::new(), Upstream::new());
    let gateway = Gateway::over(&[&first.url(), &second.url()], &[]);
    let mut client = gateway.connect();
    client.send("OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut server = first.accept();
    assert_eq!(server.head().start, "OPTIONS * HTTP/1.1");
    server.send(OK);
    assert_eq!(status(&mut client), 200);
}
