//! What `buttress doctor` finds at servers that are well, busy, slow, silent, or somebody else.
#![allow(clippy::unwrap_used, reason = "a test that fails here should say so")]

#[path = "support/site.rs"]
mod site;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use buttress_gateway::{
    doctor::{Arguments, Diagnosis, Findings, Verdict, examine},
    rehearse::NameServer,
};
use http::HeaderMap;
use rcgen::{CertificateParams, date_time_ymd};
use site::{Manner, Papers, Server, response};
use tokio::net::TcpListener;

fn at(server: &Server) -> Arguments {
    Arguments::new(format!("http://{}/v1", server.address))
}

fn secure(server: &Server, papers: &Papers) -> Arguments {
    let mut arguments = Arguments::new(format!("https://localhost:{}/", server.address.port()));
    arguments.ca = Some(papers.file.path().to_owned());
    arguments
}

async fn diagnose(arguments: &Arguments) -> (Findings, Diagnosis) {
    let findings = examine(arguments).await.unwrap();
    let diagnosis = Diagnosis::of(&findings);
    (findings, diagnosis)
}

#[tokio::test]
async fn a_server_that_is_well_is_called_healthy_after_few_requests() {
    let server = Manner::well().start().await;
    let (findings, diagnosis) = diagnose(&at(&server)).await;
    assert_eq!(diagnosis.verdict, Verdict::Healthy, "{diagnosis}");
    assert_eq!(findings.requests.statuses, [(200, 8)].into());
    assert_eq!(server.asked.load(Ordering::SeqCst), 8, "four on new connections, four on one");
    assert!(findings.lookups.is_empty() && findings.handshake.is_none());
    assert_eq!(findings.connects.len(), 1);
    assert_eq!(findings.connects[0].times.tries, 5);
    assert_eq!((findings.requests.total.tries, findings.requests.kept.tries), (4, 4));
}

#[tokio::test]
async fn tls_is_timed_and_the_version_of_http_is_told() {
    let papers = Papers::new("known");
    let tls = Some(papers.server("localhost", |_| {}));
    let server = Manner { tls, ..Manner::well() }.start().await;
    let (findings, diagnosis) = diagnose(&secure(&server, &papers)).await;
    assert_eq!(diagnosis.verdict, Verdict::Healthy, "{diagnosis}");
    let handshake = findings.handshake.unwrap();
    assert_eq!((handshake.times.tries, handshake.times.failed), (4, 0));
    assert_eq!(handshake.version.as_deref(), Some("TLSv1_3"));
    assert_eq!(findings.requests.version, Some("HTTP/2"));
    assert_eq!(findings.lookups.len(), 1, "the name is this machine's own");
    assert_eq!(findings.lookups[0].resolver, "system");
    assert!(findings.not_asked.is_some());
}

#[tokio::test]
async fn a_slow_handshake_is_the_servers() {
    let papers = Papers::new("known");
    let tls = Some(papers.server("localhost", |_| {}));
    let before_handshake = Duration::from_millis(600);
    let server = Manner { tls, before_handshake, ..Manner::well() }.start().await;
    let mut arguments = secure(&server, &papers);
    arguments.requests = 2;
    let (findings, diagnosis) = diagnose(&arguments).await;
    assert_eq!(diagnosis.verdict, Verdict::Busy, "{diagnosis}");
    assert!(diagnosis.because.contains("handshake"), "{diagnosis}");
    assert!(findings.handshake.unwrap().times.p50_ms().unwrap() >= 600.0);
}

#[tokio::test]
async fn a_busy_server_is_named_and_left_alone_when_it_asks_for_that() {
    let busy = |_: usize, _: &HeaderMap| response(503, &[("retry-after", "2")]);
    let server = Manner::answers(busy).start().await;
    let (findings, diagnosis) = diagnose(&at(&server)).await;
    assert_eq!(diagnosis.verdict, Verdict::Busy, "{diagnosis}");
    assert!(diagnosis.next.contains("left alone for 2.00 s"), "{diagnosis}");
    assert_eq!(findings.requests.headers["retry-after"], "2");
    assert_eq!(findings.requests.retry_after_ms, Some(2_000));
    assert!(findings.requests.held_back);
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_server_that_is_busy_now_and_then_is_called_busy() {
    let server = Manner::answers(|number, _| {
        let status = if number % 3 == 0 { 503 } else { 200 };
        response(status, &[])
    });
    let server = server.start().await;
    let (findings, diagnosis) = diagnose(&at(&server)).await;
    assert_eq!(diagnosis.verdict, Verdict::Busy, "{diagnosis}");
    assert_eq!(findings.requests.statuses, [(200, 6), (503, 2)].into());
}

#[tokio::test]
async fn a_limit_is_named_with_the_headers_that_speak_of_it() {
    let server = Manner::answers(|number, _| {
        if number < 2 {
            return response(200, &[("x-ratelimit-remaining-requests", "0")]);
        }
        response(429, &[("x-ratelimit-remaining-requests", "0"), ("retry-after-ms", "1500")])
    });
    let server = server.start().await;
    let (findings, diagnosis) = diagnose(&at(&server)).await;
    assert_eq!(diagnosis.verdict, Verdict::Limited, "{diagnosis}");
    assert!(diagnosis.next.contains("1.50 s"), "{diagnosis}");
    assert_eq!(findings.requests.statuses, [(200, 1), (429, 1)].into());
    assert_eq!(findings.requests.headers["x-ratelimit-remaining-requests"], "0");
    assert_eq!(server.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_from_a_black_hole() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (findings, diagnosis) = diagnose(&Arguments::new(format!("http://{closed}/"))).await;
    assert_eq!(diagnosis.verdict, Verdict::Server, "{diagnosis}");
    assert!(diagnosis.because.contains("nothing listens"), "{diagnosis}");
    assert_eq!(findings.connects[0].times.failed, 2, "twice is enough");

    let (full, _held) = full_listener();
    let mut arguments = Arguments::new(format!("http://{full}/"));
    arguments.timeout = Duration::from_millis(300);
    let (_, diagnosis) = diagnose(&arguments).await;
    assert_eq!(diagnosis.verdict, Verdict::Network, "{diagnosis}");
    assert!(diagnosis.next.contains("dropped"), "{diagnosis}");
}

/// A listener whose queue is full, so that the kernel drops whatever asks for a connection.
fn full_listener() -> (SocketAddr, Vec<socket2::Socket>) {
    let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let listener = socket().unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = vec![listener];
    for _ in 0..4 {
        let filler = socket().unwrap();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&address);
        held.push(filler);
    }
    (address.as_socket().unwrap(), held)
}

#[tokio::test]
async fn a_slow_resolver_is_named() {
    let server = Manner::well().start().await;
    let names = [("api.test".to_owned(), Ipv4Addr::LOCALHOST)];
    let slow = NameServer::start(names, Duration::from_millis(400)).await.unwrap();
    let mut arguments = Arguments::new(format!("http://api.test:{}/", server.address.port()));
    arguments.resolvers = vec![slow.address().to_string()];
    arguments.no_system = true;
    let (findings, diagnosis) = diagnose(&arguments).await;
    assert_eq!(diagnosis.verdict, Verdict::Dns, "{diagnosis}");
    assert!(diagnosis.because.contains(&slow.address().to_string()), "{diagnosis}");
    assert!(findings.lookups[0].times.p50_ms().unwrap() >= 400.0);
    assert_eq!(findings.requests.statuses, [(200, 8)].into());
}

#[tokio::test]
async fn a_faster_resolver_is_recommended_and_one_that_is_gone_does_no_harm() {
    let server = Manner::well().start().await;
    let names = || [("api.test".to_owned(), Ipv4Addr::LOCALHOST)];
    let slow = NameServer::start(names(), Duration::from_millis(150)).await.unwrap();
    let fast = NameServer::start(names(), Duration::ZERO).await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut arguments = Arguments::new(format!("http://api.test:{}/", server.address.port()));
    arguments.resolvers = [slow.address(), gone, fast.address()].map(|at| at.to_string()).into();
    arguments.no_system = true;
    let (findings, diagnosis) = diagnose(&arguments).await;
    assert_eq!(findings.fastest, Some(fast.address().to_string()));
    assert_eq!(diagnosis.verdict, Verdict::Dns, "{diagnosis}");
    assert!(diagnosis.next.contains(&fast.address().to_string()), "{diagnosis}");
    assert!(!findings.lookups[1].reached);

    arguments.resolvers = [fast.address(), gone].map(|at| at.to_string()).into();
    let (_, diagnosis) = diagnose(&arguments).await;
    assert_eq!(diagnosis.verdict, Verdict::Healthy, "{diagnosis}");
}

#[tokio::test]
async fn a_name_that_this_machines_resolver_does_not_know_is_its_fault_if_another_does() {
    let server = Manner::well().start().await;
    let names = [("api.test".to_owned(), Ipv4Addr::LOCALHOST)];
    let knows = NameServer::start(names, Duration::ZERO).await.unwrap();
    let none = NameServer::start([], Duration::ZERO).await.unwrap();
    let mut arguments = Arguments::new(format!("http://api.test:{}/", server.address.port()));
    arguments.resolvers = [none.address(), knows.address()].map(|at| at.to_string()).into();
    arguments.no_system = true;
    let (findings, diagnosis) = diagnose(&arguments).await;
    assert_eq!(diagnosis.verdict, Verdict::Dns, "{diagnosis}");
    assert!(diagnosis.because.contains("does not exist"), "{diagnosis}");
    assert_eq!(findings.requests.statuses, [(200, 8)].into(), "the other's address is used");
}

#[tokio::test]
async fn a_certificate_that_is_wrong_is_never_passed_over() {
    let papers = Papers::new("known");
    let stranger = Papers::new("stranger");
    let expired = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    };
    for (what, config) in [
        ("UnknownIssuer", stranger.server("localhost", |_| {})),
        ("not valid for name", papers.server("other.test", |_| {})),
        ("expired", papers.server("localhost", expired)),
    ] {
        let server = Manner { tls: Some(config), ..Manner::well() }.start().await;
        let (_, diagnosis) = diagnose(&secure(&server, &papers)).await;
        assert_eq!(diagnosis.verdict, Verdict::Tls, "{what}: {diagnosis}");
        assert!(diagnosis.because.to_lowercase().contains(&what.to_lowercase()), "{diagnosis}");
        assert_eq!(server.asked.load(Ordering::SeqCst), 0, "{what}");
    }
}

#[tokio::test]
async fn a_port_without_tls_is_told_from_a_wrong_certificate() {
    let server = Manner::well().start().await;
    let url = format!("https://{}/", server.address);
    let (_, diagnosis) = diagnose(&Arguments::new(url)).await;
    assert_eq!(diagnosis.verdict, Verdict::Tls, "{diagnosis}");
    assert!(diagnosis.next.contains("speaks TLS"), "{diagnosis}");
}

#[tokio::test]
async fn a_server_that_never_answers_costs_no_more_than_it_may() {
    let before_answer = Duration::from_secs(60);
    let server = Manner { before_answer, ..Manner::well() }.start().await;
    let mut arguments = at(&server);
    arguments.timeout = Duration::from_millis(200);
    let start = tokio::time::Instant::now();
    let (findings, diagnosis) = diagnose(&arguments).await;
    assert_eq!(diagnosis.verdict, Verdict::Busy, "{diagnosis}");
    assert_eq!(findings.requests.total.failed, 2, "twice is enough");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());

    (arguments.timeout, arguments.within) = (Duration::from_secs(60), Duration::from_millis(500));
    let start = tokio::time::Instant::now();
    let (findings, diagnosis) = diagnose(&arguments).await;
    assert!(findings.cut_short && !diagnosis.is_healthy(), "{diagnosis}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_is_said_of_the_request_does_not_make_the_way_unhealthy() {
    let server = Manner::answers(|_, _| response(401, &[])).start().await;
    let (_, diagnosis) = diagnose(&at(&server)).await;
    assert_eq!(diagnosis.verdict, Verdict::Healthy, "{diagnosis}");
}

#[tokio::test]
async fn redirections_are_followed_only_if_asked_and_secrets_stay_where_they_belong() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let there = Manner::answers(move |_, headers| {
        log.lock().unwrap().push(headers.get("authorization").cloned());
        response(200, &[])
    });
    let there = there.start().await;
    let location = format!("http://{}/there", there.address);
    let target = location.clone();
    let here = Manner::answers(move |_, headers| {
        assert_eq!(headers["authorization"], "Bearer secret");
        response(307, &[("location", &target)])
    });
    let here = here.start().await;
    let mut arguments = at(&here);
    arguments.headers = vec!["Authorization: Bearer secret".into()];
    let (findings, diagnosis) = diagnose(&arguments).await;
    assert_eq!(diagnosis.verdict, Verdict::Healthy, "{diagnosis}");
    assert_eq!(findings.requests.location.as_ref(), Some(&location));
    assert_eq!(there.asked.load(Ordering::SeqCst), 0);

    arguments.follow = true;
    let (findings, _) = diagnose(&arguments).await;
    assert_eq!(findings.url, location);
    assert_eq!(findings.followed, [arguments.url]);
    assert!(there.asked.load(Ordering::SeqCst) > 0);
    assert!(seen.lock().unwrap().iter().all(Option::is_none), "{seen:?}");
}
