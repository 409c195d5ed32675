//! DNS over TLS and over HTTPS: connections that are kept, that freeze, and that lie.
#![allow(missing_docs, reason = "a test's name says what it is about")]
#![allow(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use buttress_dns::{DnsErrorKind, Privacy, Server, Upstreams};
use hickory_net::xfer::Protocol;
use hickory_proto::rr::RecordType;
use rustls::ServerConfig;
use support::{
    Authority, Gate, NameServer, Reply,
    lookups::{both, found, v4},
    names::NAME,
};
use tokio::time::Instant;

const GOOD: &str = "192.0.2.1";
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn good() -> NameServer {
    NameServer::start(|asked| Reply::addresses(asked, &[GOOD], 60))
}

fn https(at: SocketAddr) -> Server {
    Server::https(&format!("https://{NAME}:{}/dns-query", at.port()), [HERE]).unwrap()
}

fn tls(at: SocketAddr) -> Server {
    Server::tls(&format!("{NAME}:{}", at.port()), [HERE]).unwrap()
}

fn only(server: Server, authority: &Authority) -> Upstreams {
    Upstreams::new([server]).unwrap().trust(authority.pem().as_bytes()).unwrap()
}

#[tokio::test]
async fn names_are_looked_up_over_tls_and_over_https() {
    let (authority, mut server) = (Authority::default(), good());
    let over_tls = tls(server.tls(authority.server(NAME, b"dot")));
    let over_https = https(server.https(authority.server(NAME, b"h2")));
    for secure in [over_tls, over_https] {
        let upstreams = only(secure, &authority).privacy(Privacy::Strict).unwrap();
        let said = both(&upstreams, "api.test").await;
        assert_eq!(said, (found(&[GOOD]), found(&[])), "{upstreams:?}");
    }
}

#[tokio::test]
async fn a_hundred_names_at_once_take_one_connection() {
    let authority = Authority::default();
    let mut server = NameServer::start(|asked| {
        // Over TLS this server answers one question after another.
        let delay = if asked.protocol == Protocol::Https { 20 } else { 0 };
        Reply::addresses(asked, &[GOOD], 60).after(Duration::from_millis(delay))
    });
    let gates = [
        Gate::to(server.https(authority.server(NAME, b"h2"))).await,
        Gate::to(server.tls(authority.server(NAME, b"dot"))).await,
    ];
    let servers = [https(gates[0].address), tls(gates[1].address)];
    for (gate, secure) in gates.iter().zip(servers) {
        let upstreams = only(secure, &authority);
        let lookups: Vec<_> = (0..100)
            .map(|turn| {
                let upstreams = upstreams.clone();
                tokio::spawn(async move { both(&upstreams, &format!("n{turn}.test")).await })
            })
            .collect();
        for lookup in lookups {
            assert_eq!(lookup.await.unwrap().0, found(&[GOOD]));
        }
        assert_eq!(gate.opened(), 1, "{upstreams:?}");
    }
}

#[tokio::test]
async fn a_connection_can_be_opened_before_the_first_name() {
    let (authority, mut server) = (Authority::default(), good());
    let gate = Gate::to(server.https(authority.server(NAME, b"h2"))).await;
    let upstreams = only(https(gate.address), &authority);
    assert_eq!(gate.opened(), 0, "nothing is opened before it is needed");
    upstreams.warm().await;
    assert_eq!(gate.opened(), 1);
    assert_eq!(v4(&upstreams, "api.test").await, found(&[GOOD]));
    assert_eq!(gate.opened(), 1);
}

#[tokio::test]
async fn a_frozen_connection_is_replaced_within_a_few_round_trips() {
    let (authority, mut server) = (Authority::default(), good());
    let gates = [
        Gate::to(server.https(authority.server(NAME, b"h2"))).await,
        Gate::to(server.tls(authority.server(NAME, b"dot"))).await,
    ];
    let servers = [https(gates[0].address), tls(gates[1].address)];
    for (gate, secure) in gates.iter().zip(servers) {
        let upstreams = only(secure, &authority);
        let mut times = Vec::new();
        for turn in 0..6 {
            let start = Instant::now();
            v4(&upstreams, &format!("n{turn}.test")).await.unwrap();
            times.push(start.elapsed());
        }
        let (connect, slowest) = (times[0], *times[1..].iter().max().unwrap());
        gate.freeze();
        let start = Instant::now();
        assert_eq!(v4(&upstreams, "api.test").await, found(&[GOOD]));
        let silence = (2 * slowest).max(Duration::from_millis(100));
        let allowed = silence + 2 * connect + Duration::from_millis(200);
        assert!(start.elapsed() < allowed, "{:?} of {allowed:?}", start.elapsed());
        assert_eq!(gate.opened(), 2);
        assert_eq!(v4(&upstreams, "next.test").await, found(&[GOOD]));
        assert_eq!(gate.opened(), 2, "the new one is kept");
    }
}

#[tokio::test]
async fn a_name_that_takes_long_does_not_cost_the_others_their_connection() {
    let authority = Authority::default();
    let mut server = NameServer::start(|asked| {
        let delay = if asked.name == "slow.test" { 600 } else { 0 };
        Reply::addresses(asked, &[GOOD], 60).after(Duration::from_millis(delay))
    });
    let gate = Gate::to(server.https(authority.server(NAME, b"h2"))).await;
    let upstreams = only(https(gate.address), &authority);
    v4(&upstreams, "first.test").await.unwrap();
    let slow = upstreams.clone();
    let slow = tokio::spawn(async move { v4(&slow, "slow.test").await });
    while server.count("slow.test", RecordType::A) == 0 {
        tokio::task::yield_now().await;
    }
    for turn in 0..5 {
        assert_eq!(v4(&upstreams, &format!("n{turn}.test")).await, found(&[GOOD]));
    }
    assert_eq!(slow.await.unwrap(), found(&[GOOD]));
    assert_eq!(gate.opened(), 1);
}

/// Servers that cannot prove that they are the one that was meant.
fn impostors(server: &mut NameServer, authority: &Authority) -> Vec<(&'static str, SocketAddr)> {
    let stranger = Authority::default();
    let mut listen = |what: &'static str, config: ServerConfig| (what, server.https(config));
    vec![
        listen("an authority that nobody knows", stranger.server(NAME, b"h2")),
        listen("another name", authority.server("other.test", b"h2")),
        listen("expired", authority.expired(NAME, b"h2")),
    ]
}

#[tokio::test]
async fn a_server_that_cannot_prove_who_it_is_gets_no_question() {
    let (authority, mut server) = (Authority::default(), good());
    for (what, at) in impostors(&mut server, &authority) {
        let upstreams = only(https(at), &authority).privacy(Privacy::Strict).unwrap();
        let start = Instant::now();
        assert_eq!(v4(&upstreams, "api.test").await, Err(DnsErrorKind::Tls), "{what}");
        assert!(start.elapsed() < Duration::from_secs(2), "{what}: {:?}", start.elapsed());
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn plain_servers_are_asked_only_when_the_encrypted_have_failed_and_never_if_strict() {
    let (authority, mut server, plain) = (Authority::default(), good(), good());
    let good = https(server.https(authority.server(NAME, b"h2")));
    let pem = authority.pem();
    let with = |first: Server| {
        let servers = Upstreams::new([Server::plain(plain.plain), first]).unwrap();
        servers.trust(pem.as_bytes()).unwrap()
    };
    let refused = with(good.clone()).privacy(Privacy::Strict).unwrap_err();
    assert_eq!(refused.setting(), "upstreams.privacy");
    let upstreams = with(good);
    for turn in 0..3 {
        assert_eq!(v4(&upstreams, &format!("n{turn}.test")).await, found(&[GOOD]));
    }
    assert!(plain.asked().is_empty(), "{:?}", plain.asked());
    for (what, at) in impostors(&mut server, &authority) {
        let before = plain.asked().len();
        assert_eq!(v4(&with(https(at)), "api.test").await, found(&[GOOD]), "{what}");
        assert_eq!(plain.asked().len(), before + 1, "{what}");
    }
}

#[tokio::test]
async fn another_address_of_the_server_is_tried_when_one_does_not_let_us_in() {
    let (authority, mut server) = (Authority::default(), good());
    let at = server.https(authority.server(NAME, b"h2"));
    // On Linux every address of 127.0.0.0/8 is here, and nobody listens at this one.
    let nobody = IpAddr::from([127, 9, 9, 9]);
    let url = format!("https://{NAME}:{}/dns-query", at.port());
    let upstreams = only(Server::https(&url, [nobody, HERE]).unwrap(), &authority);
    let start = Instant::now();
    assert_eq!(v4(&upstreams, "api.test").await, found(&[GOOD]));
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}

#[test]
fn a_set_outlives_the_runtime_in_which_it_was_first_used() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (authority, servers) = (Authority::default(), runtime());
    let (upstreams, gate) = servers.block_on(async {
        let mut server = good();
        let gate = Gate::to(server.https(authority.server(NAME, b"h2"))).await;
        (only(https(gate.address), &authority), (gate, server))
    });
    for turn in 1..=3 {
        // The connection's task ends with the runtime that opened it.
        let name = format!("n{turn}.test");
        assert_eq!(runtime().block_on(v4(&upstreams, &name)), found(&[GOOD]));
        assert_eq!(gate.0.opened(), turn);
    }
}
