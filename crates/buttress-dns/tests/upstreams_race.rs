//! Several servers, one answer.
#![allow(missing_docs, reason = "a test's name says what it is about")]
#![allow(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_dns::{DnsErrorKind, Observer, Queried, Server, Upstreams, ahead};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use support::{
    Hostile, NameServer, Reply,
    lookups::{answer, both, found, learn_v4, plain, said, v4},
};
use tokio::time::Instant;

const GOOD: &str = "192.0.2.1";

fn good_after(delay: u64) -> NameServer {
    NameServer::start(move |asked| {
        Reply::addresses(asked, &[GOOD], 60).after(Duration::from_millis(delay))
    })
}

fn always(code: ResponseCode) -> NameServer {
    NameServer::start(move |_| Reply::code(code))
}

/// A server that hears everything and says nothing.
async fn black_hole() -> Hostile {
    Hostile::start(|_, _| Vec::new()).await
}

#[tokio::test]
async fn an_error_at_once_never_beats_a_good_answer_that_comes_later() {
    for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp] {
        let (bad, good) = (always(code), good_after(20));
        let upstreams = plain([bad.plain, good.plain]);
        let start = Instant::now();
        for turn in 0..20 {
            let name = format!("n{turn}.test");
            assert_eq!(v4(&upstreams, &name).await, found(&[GOOD]), "{code} in turn {turn}");
        }
        assert!(start.elapsed() < 20 * Duration::from_millis(60), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn an_error_is_told_when_nobody_does_better() {
    let (bad, worse) = (always(ResponseCode::ServFail), always(ResponseCode::Refused));
    let upstreams = plain([bad.plain, worse.plain]);
    let error = learn_v4(&upstreams, "api.test").await.unwrap_err();
    assert_eq!(error.kind(), DnsErrorKind::ServFail);
    assert_eq!((error.rcode(), error.name()), (Some(2), Some("api.test")));
}

#[tokio::test]
async fn that_there_is_no_such_name_can_be_contradicted() {
    let liar = NameServer::start(|_| Reply::code(ResponseCode::NXDomain));
    let good = good_after(20);
    let upstreams = plain([liar.plain, good.plain]);
    assert_eq!(v4(&upstreams, "api.test").await, found(&[GOOD]));
}

#[tokio::test]
async fn an_ipv6_side_that_is_black_holed_does_not_keep_the_other_waiting() {
    let server = NameServer::start(|asked| match asked.kind {
        RecordType::AAAA => Reply::silence(),
        _ => Reply::addresses(asked, &[GOOD], 60),
    });
    let upstreams = plain([server.plain]).timeout(Duration::from_millis(400)).unwrap();
    let start = Instant::now();
    let (v4, v6) = answer(&upstreams, "api.test").await.into_sides();
    let v6 = tokio::spawn(v6);
    assert_eq!(said(v4.await), found(&[GOOD]));
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    assert_eq!(said(v6.await.unwrap()), Err(DnsErrorKind::Timeout));
    assert!(server.count("api.test", RecordType::AAAA) <= 4, "sent again with growing pauses");
}

#[tokio::test]
async fn both_families_are_asked_for_at_once() {
    let server = NameServer::start(|asked| {
        Reply::addresses(asked, &[GOOD, "2001:db8::1"], 60).after(Duration::from_millis(60))
    });
    let start = Instant::now();
    let both = both(&plain([server.plain]), "api.test").await;
    assert_eq!(both, (found(&[GOOD]), found(&["2001:db8::1"])));
    assert!(start.elapsed() < Duration::from_millis(115), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_time_of_a_lookup_is_not_multiplied_by_the_servers() {
    let holes = [black_hole().await, black_hole().await, black_hole().await, black_hole().await];
    let upstreams = plain(holes.iter().map(|hole| hole.address));
    let upstreams = upstreams.timeout(Duration::from_millis(300)).unwrap();
    let start = Instant::now();
    assert_eq!(v4(&upstreams, "api.test").await, Err(DnsErrorKind::Timeout));
    assert!(start.elapsed() < Duration::from_millis(450), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_server_that_answers_nothing_is_soon_not_asked_first() {
    let hole = black_hole().await;
    let good = good_after(0);
    let upstreams = plain([hole.address, good.plain]).race(1).unwrap();
    for turn in 0..6 {
        assert_eq!(v4(&upstreams, &format!("n{turn}.test")).await, found(&[GOOD]));
    }
    let start = Instant::now();
    assert_eq!(v4(&upstreams, "last.test").await, found(&[GOOD]));
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_fastest_server_is_found_out_and_asked_alone_when_nobody_waits() {
    let (slow, fast) = (good_after(300), good_after(0));
    let upstreams = plain([slow.plain, fast.plain]);
    for turn in 0..4 {
        v4(&upstreams, &format!("n{turn}.test")).await.unwrap();
    }
    let before = (slow.asked().len(), fast.asked().len());
    for turn in 0..5 {
        let said = ahead(v4(&upstreams, &format!("ahead{turn}.test"))).await;
        assert_eq!(said, found(&[GOOD]));
    }
    // But for once, when this machine may have been too busy for the fast one to be fast.
    assert!(fast.asked().len() >= before.1 + 4, "{:?}", fast.asked());
    assert!(slow.asked().len() <= before.0 + 2, "{:?}", slow.asked());
    let fastest = upstreams.latencies().min_by_key(|(_, takes)| takes.unwrap());
    assert_eq!(fastest.unwrap().0, &Server::plain(fast.plain));
}

#[tokio::test]
async fn when_the_fastest_is_late_the_next_is_asked_even_if_nobody_waits() {
    let (first, second) = (black_hole().await, good_after(0));
    let upstreams = plain([first.address, second.plain]);
    let start = Instant::now();
    assert_eq!(ahead(v4(&upstreams, "api.test")).await, found(&[GOOD]));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(80) && took < Duration::from_millis(250), "{took:?}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_at_once() {
    // Bound and closed again, so that for a while nobody else has it.
    let gone = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let start = Instant::now();
    assert_eq!(v4(&plain([gone]), "api.test").await, Err(DnsErrorKind::Io));
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn private_names_are_asked_of_their_own_servers_and_of_nobody_else() {
    let public = good_after(0);
    let corp = NameServer::start(|asked| Reply::addresses(asked, &["10.0.0.1"], 60));
    let lab = NameServer::start(|asked| Reply::addresses(asked, &["10.0.0.2"], 60));
    let upstreams = plain([public.plain])
        .route("corp.test", plain([corp.plain]))
        .unwrap()
        .route(".lab.corp.test", plain([lab.plain]))
        .unwrap();
    assert_eq!(v4(&upstreams, "db.corp.test").await, found(&["10.0.0.1"]));
    assert_eq!(v4(&upstreams, "Corp.Test.").await, found(&["10.0.0.1"]));
    assert_eq!(v4(&upstreams, "db.lab.corp.test").await, found(&["10.0.0.2"]));
    assert_eq!(v4(&upstreams, "acorp.test").await, found(&[GOOD]));
    assert!(public.asked().iter().all(|asked| asked.name == "acorp.test"));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Observer for Log {
    fn queried(&self, event: &Queried<'_>) {
        let Queried { server, name, records, rcode, error, .. } = event;
        let error = error.map(buttress_dns::DnsError::kind);
        let line = format!("{server} {name} {records} {rcode:?} {error:?}");
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test]
async fn every_exchange_is_told_with_its_server_and_its_code() {
    let server = NameServer::start(|asked| match asked.name.as_str() {
        "api.test" => Reply::addresses(asked, &[GOOD], 60),
        _ => Reply::code(ResponseCode::NXDomain),
    });
    let log = Log::default();
    let upstreams = plain([server.plain]).observer(log.clone());
    v4(&upstreams, "api.test").await.unwrap();
    v4(&upstreams, "none.test").await.unwrap_err();
    let at = server.plain;
    let expected = [
        format!("{at} api.test A Some(0) None"),
        format!("{at} none.test A Some(3) Some(NxDomain)"),
    ];
    assert_eq!(*log.0.lock().unwrap(), expected);
}

#[tokio::test]
async fn the_systems_resolver_is_a_server_among_others() {
    let log = Log::default();
    let upstreams = Upstreams::system().observer(log.clone());
    let (v4, v6) = both(&upstreams, "localhost").await;
    let addresses: Vec<_> = v4.into_iter().chain(v6).flatten().collect();
    assert!(addresses.iter().any(|address| address == "127.0.0.1" || address == "::1"));
    let lines = log.0.lock().unwrap().clone();
    assert_eq!(lines, ["system localhost address Some(0) None"], "one lookup for both families");
}

#[tokio::test]
async fn wrong_settings_are_named_where_they_are_made() {
    let one = || plain([([127, 0, 0, 1], 53).into()]);
    let setting = |made: Result<Upstreams, buttress_dns::SettingError>| made.unwrap_err().setting();
    assert_eq!(setting(Upstreams::new([])), "upstreams.servers");
    assert_eq!(setting(Upstreams::new([Server::system(), Server::system()])), "upstreams.servers");
    assert_eq!(setting(one().race(0)), "upstreams.race");
    assert_eq!(setting(one().timeout(Duration::ZERO)), "upstreams.timeout");
    assert_eq!(setting(one().trust(b"no")), "upstreams.trust");
    assert_eq!(setting(one().route("a..b", one())), "upstreams.route");
    assert_eq!(setting(one().route("10.0.0.1", one())), "upstreams.route");
    assert_eq!(setting(one().privacy(buttress_dns::Privacy::Strict)), "upstreams.privacy");
}
