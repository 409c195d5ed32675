//! Findings and the verdicts that they come to, as a table.

use std::net::SocketAddr;

use super::{
    findings::{Connect, Findings, Handshake, Lookup},
    times::{Times, Took},
    trouble::{Kind, Trouble},
    verdict::{Diagnosis, Verdict},
};

/// A server nearby, with nothing wrong about it.
fn well() -> Findings {
    let mut findings = Findings {
        url: "https://api.example.com/".to_owned(),
        lookups: vec![lookup("system", 20.0), lookup("1.1.1.1:53", 15.0)],
        fastest: Some("1.1.1.1:53".to_owned()),
        connects: vec![connect(1, 10.0), connect(2, 12.0)],
        handshake: Some(Handshake { times: Times::of(4, 15.0, 0), ..Handshake::default() }),
        ..Findings::default()
    };
    findings.lookups[0].own = true;
    findings.files.allowed = Some(1_024);
    (findings.files.pool, findings.files.needed) = (512, 576);
    findings.requests.statuses.insert(200, 8);
    findings.requests.first_byte = Times::of(4, 30.0, 0);
    findings.requests.total = Times::of(4, 60.0, 0);
    findings.requests.kept = Times::of(4, 31.0, 0);
    findings
}

fn lookup(resolver: &str, ms: f64) -> Lookup {
    Lookup {
        resolver: resolver.to_owned(),
        own: false,
        times: Times::of(3, ms, 0),
        addresses: vec![[192, 0, 2, 1].into()],
        error: None,
        reached: true,
        untrusted: false,
    }
}

fn fails(lookup: &mut Lookup, error: &str, reached: bool) {
    lookup.times = Times::of(0, 0.0, 1);
    lookup.addresses.clear();
    (lookup.error, lookup.reached) = (Some(error.to_owned()), reached);
}

fn connect(last: u8, ms: f64) -> Connect {
    let address = SocketAddr::from(([192, 0, 2, last], 443));
    Connect { address, times: Times::of(5, ms, 0), trouble: None }
}

fn closed(connect: &mut Connect, kind: Kind) {
    connect.times = Times::of(0, 0.0, 2);
    connect.trouble = Some(Trouble::new(kind, "it was said why"));
}

fn answers(findings: &mut Findings, status: u16, count: u64) {
    findings.requests.statuses.insert(status, count);
}

fn silent(findings: &mut Findings, kind: Kind) {
    findings.requests.statuses.clear();
    findings.requests.first_byte = Times::of(0, 0.0, 2);
    findings.requests.total = Times::of(0, 0.0, 2);
    findings.requests.trouble = Some(Trouble::new(kind, "it was said why"));
}

fn no_handshake(findings: &mut Findings, kind: Kind) {
    silent(findings, Kind::Broken);
    findings.requests.trouble = None;
    let trouble = Some(Trouble::new(kind, "it was said why"));
    let times = Times::of(0, 0.0, 2);
    findings.handshake = Some(Handshake { times, trouble, ..Handshake::default() });
}

fn of(change: impl FnOnce(&mut Findings)) -> Diagnosis {
    let mut findings = well();
    change(&mut findings);
    let diagnosis = Diagnosis::of(&findings);
    for part in [&diagnosis.because, &diagnosis.next] {
        assert!(!part.is_empty() && !part.contains('\n') && !part.contains(".."), "{diagnosis}");
    }
    assert!(diagnosis.next.ends_with('.'), "{diagnosis}");
    diagnosis
}

type Row = (&'static str, fn(&mut Findings), Verdict, &'static str);

/// What is found, what it comes to, and a word of the reason or the next step.
const TABLE: [Row; 37] = [
    ("nothing", |_| {}, Verdict::Healthy, "Keep connections open"),
    ("a literal", |it| it.lookups.clear(), Verdict::Healthy, "the server's work"),
    ("no key", |it| answers(it, 401, 8), Verdict::Healthy, "a first call takes"),
    (
        "public resolvers gone",
        |it| fails(&mut it.lookups[1], "timeout", false),
        Verdict::Healthy,
        "",
    ),
    ("kept connections slower", kept_slower, Verdict::Healthy, "TCP_NODELAY"),
    ("no IPv6 here", |it| closed(&mut it.connects[1], Kind::NoRoute), Verdict::Healthy, ""),
    ("one side of localhost", localhost, Verdict::Healthy, ""),
    (
        "no such name",
        |it| it.lookups.iter_mut().for_each(|one| fails(one, "it does not exist", true)),
        Verdict::Dns,
        "does not exist",
    ),
    ("no such name, and a filter", filtered, Verdict::Dns, "in the place of 1.1.1.1"),
    (
        "offline",
        |it| it.lookups.iter_mut().for_each(|one| fails(one, "timeout", false)),
        Verdict::Dns,
        "online",
    ),
    (
        "own resolver gone",
        |it| fails(&mut it.lookups[0], "timeout", false),
        Verdict::Dns,
        "1.1.1.1",
    ),
    ("slow resolver", |it| it.lookups[0] = slow_own(400.0), Verdict::Dns, "which took 15.0 ms"),
    ("all resolvers slow", slow_resolvers, Verdict::Dns, "cache"),
    ("a resolver half as fast", |it| it.lookups[0] = slow_own(120.0), Verdict::Dns, "120 ms"),
    ("a resolver a little slower", |it| it.lookups[0] = slow_own(25.0), Verdict::Healthy, ""),
    ("refused", |it| all_closed(it, Kind::Refused), Verdict::Server, "nothing listens"),
    ("black hole", |it| all_closed(it, Kind::TimedOut), Verdict::Network, "firewalls"),
    ("no route", |it| all_closed(it, Kind::NoRoute), Verdict::Client, "routes"),
    ("out of files", |it| all_closed(it, Kind::Exhausted), Verdict::Client, "open files"),
    (
        "one address dead",
        |it| closed(&mut it.connects[1], Kind::TimedOut),
        Verdict::Network,
        "0.2.2:443",
    ),
    ("one in five lost", |it| it.connects[0].times.failed = 1, Verdict::Network, "1 of 5"),
    ("a repeated packet", repeated, Verdict::Network, "a packet was lost"),
    ("far away", far_away, Verdict::Network, "350 ms"),
    ("bad certificate", |it| no_handshake(it, Kind::Certificate), Verdict::Tls, "certificate"),
    ("no TLS there", |it| no_handshake(it, Kind::Handshake), Verdict::Tls, "speaks TLS"),
    ("no handshake in time", |it| no_handshake(it, Kind::TimedOut), Verdict::Busy, "shake hands"),
    ("slow handshake", slow_handshake, Verdict::Busy, "a handshake takes 700 ms"),
    ("429", |it| answers(it, 429, 1), Verdict::Limited, "1 of 9 answers were 429"),
    ("429 with a time", limited, Verdict::Limited, "left alone for 2.00 s"),
    ("503", |it| answers(it, 503, 1), Verdict::Busy, "1 of 9 answers were 503"),
    ("429 and 503", both, Verdict::Limited, "429"),
    ("500", |it| answers(it, 500, 2), Verdict::Server, "2 of 10 answers were 500"),
    ("no answer in time", |it| silent(it, Kind::TimedOut), Verdict::Busy, "does not answer"),
    ("hangs up", |it| silent(it, Kind::Broken), Verdict::Server, "answers no request"),
    ("breaks now and then", breaks, Verdict::Network, "1 of 5 requests failed"),
    (
        "slow answers",
        |it| it.requests.first_byte = Times::of(4, 1_500.0, 0),
        Verdict::Busy,
        "1.50 s",
    ),
    ("few files", |it| it.files.allowed = Some(256), Verdict::Client, "256 open files"),
];

fn kept_slower(it: &mut Findings) {
    it.requests.kept = Times::of(4, 71.0, 0);
}

fn filtered(it: &mut Findings) {
    it.lookups.iter_mut().for_each(|one| fails(one, "it does not exist", true));
    it.lookups[1].untrusted = true;
}

fn localhost(it: &mut Findings) {
    it.connects[0].address.set_ip([127, 0, 0, 1].into());
    it.connects[1].address.set_ip(std::net::Ipv6Addr::LOCALHOST.into());
    closed(&mut it.connects[1], Kind::Refused);
}

fn slow_own(ms: f64) -> Lookup {
    Lookup { own: true, ..lookup("system", ms) }
}

fn slow_resolvers(it: &mut Findings) {
    it.lookups = vec![slow_own(400.0), lookup("1.1.1.1:53", 390.0)];
}

fn all_closed(it: &mut Findings, kind: Kind) {
    it.connects.iter_mut().for_each(|connect| closed(connect, kind));
    silent(it, Kind::Broken);
    (it.requests.trouble, it.handshake) = (None, None);
}

fn repeated(it: &mut Findings) {
    let took = Took { max_ms: 1_010.0, ..it.connects[0].times.took.unwrap() };
    it.connects[0].times.took = Some(took);
}

fn far_away(it: &mut Findings) {
    it.connects = vec![connect(1, 350.0)];
}

fn slow_handshake(it: &mut Findings) {
    it.handshake = Some(Handshake { times: Times::of(4, 700.0, 0), ..Handshake::default() });
}

fn limited(it: &mut Findings) {
    answers(it, 429, 1);
    it.requests.retry_after_ms = Some(2_000);
}

fn both(it: &mut Findings) {
    answers(it, 429, 1);
    answers(it, 503, 1);
}

fn breaks(it: &mut Findings) {
    it.requests.total = Times::of(4, 60.0, 1);
    it.requests.trouble = Some(Trouble::new(Kind::Broken, "reset"));
}

#[test]
fn findings_come_to_their_verdicts() {
    for (what, change, verdict, word) in TABLE {
        let diagnosis = of(change);
        assert_eq!(diagnosis.verdict, verdict, "{what}: {diagnosis}");
        assert!(diagnosis.to_string().contains(word), "{what}: {diagnosis}");
    }
}

#[test]
fn what_keeps_calls_away_is_told_before_what_delays_them() {
    let slow_and_closed = of(|it| {
        it.lookups[0] = slow_own(900.0);
        all_closed(it, Kind::Refused);
    });
    assert_eq!(slow_and_closed.verdict, Verdict::Server);
    let few_files_and_busy = of(|it| {
        it.files.allowed = Some(16);
        answers(it, 503, 4);
    });
    assert_eq!(few_files_and_busy.verdict, Verdict::Busy);
}

#[test]
fn the_limit_of_files_is_raised_as_far_as_one_may() {
    let few =
        |most| of(move |it| (it.files.allowed, it.files.at_most) = (Some(256), Some(most))).next;
    assert!(few(4_096).contains("ulimit -n 576"));
    assert!(few(300).contains("hard limit"));
}
