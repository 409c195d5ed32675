//! How the names of upstreams are looked up: by whom, how often, and what happens when nobody knows.

#![expect(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::{net::Ipv4Addr, time::Duration};

use buttress_gateway::rehearse::NameServer;
use support::{Gateway, OK, Upstream, run};
use tokio::runtime::{Builder, Runtime};

const HOST: &str = "api.buttress.test";

/// A name server that knows one name, on a thread of its own.
struct Names {
    server: NameServer,
    _runtime: Runtime,
}

impl Names {
    fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let names = [(HOST.to_owned(), Ipv4Addr::LOCALHOST)];
        let server = runtime.block_on(NameServer::start(names, Duration::ZERO)).unwrap();
        Self { server, _runtime: runtime }
    }

    fn address(&self) -> String {
        self.server.address().to_string()
    }
}

/// The URL of an upstream by its name.
fn named(upstream: &Upstream) -> String {
    format!("http://{HOST}:{}", upstream.address().port())
}

/// Sends one request and lets the upstream answer it on a connection of its own.
fn passes(gateway: &Gateway, upstream: &Upstream) {
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    server.send(OK);
    assert_eq!(client.head().status(), 200);
}

#[test]
fn a_server_of_ones_own_choice_is_asked_and_once_its_answer_is_known_not_needed() {
    let (names, upstream) = (Names::start(), Upstream::new());
    let gateway = Gateway::start(&named(&upstream), &["--dns-server", &names.address()]);
    passes(&gateway, &upstream);
    drop(names);
    for _ in 0..3 {
        passes(&gateway, &upstream);
    }
}

#[test]
fn a_suffix_goes_to_the_server_that_knows_it() {
    let (names, upstream) = (Names::start(), Upstream::new());
    // Nobody listens at the discard port.
    let route = format!("buttress.test={}", names.address());
    let flags = ["--dns-server", "127.0.0.1:9", "--dns-route", &route];
    let gateway = Gateway::start(&named(&upstream), &flags);
    passes(&gateway, &upstream);
}

#[test]
fn a_name_that_nobody_knows_ends_the_start() {
    let names = Names::start();
    let flags = ["serve", "--listen", "127.0.0.1:0", "--dns-server", &names.address()];
    let output = run(&[&flags[..], &["--upstream", "http://other.buttress.test"]].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("--upstream") && error.contains("does not exist"), "{error}");
}

#[test]
fn strict_takes_no_server_that_is_not_encrypted() {
    for server in ["system", "1.1.1.1"] {
        let flags = ["serve", "--upstream", "http://127.0.0.1:1", "--no-check", "--dns-strict"];
        let output = run(&[&flags[..], &["--dns-server", server]].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.starts_with("error: --dns-strict"), "{error}");
    }
}
