//! What is thought of the findings, rule by rule.
//!
//! No I/O and no clock: the same findings come to the same verdict.

use super::{
    connect::is_ours,
    findings::{Connect, Findings, Lookup},
    report::ms,
    trouble::Kind,
    verdict::{Diagnosis, Verdict},
};

/// A lookup that takes this long holds up a call so that people notice.
const SLOW_LOOKUP: f64 = 300.0;
/// And one this long is worth a word if another resolver needs half of it.
const LONG_LOOKUP: f64 = 100.0;
/// So far away is hardly any place on earth.
const SLOW_CONNECT: f64 = 300.0;
/// The first repetition of a lost packet comes after a second (RFC 6298).
const REPEATED: f64 = 900.0;
/// A handshake takes as long as one or two round trips, and little else.
const SLOW_HANDSHAKE: f64 = 500.0;
/// To begin an answer takes a server a moment.
const SLOW_ANSWER: f64 = 1_000.0;

/// A system puts an acknowledgement off for up to 40 ms, and a server without `TCP_NODELAY` waits
/// for it before it sends the rest of its answer.
const DELAYED: f64 = 30.0;

type Rule = fn(&Findings) -> Option<Diagnosis>;

/// What keeps a call from coming through goes before what only delays it, and the nearer before the
/// farther: behind a name that is not found nothing else can be seen.
const RULES: [Rule; 15] = [
    no_name,
    own_resolver_fails,
    no_connection,
    no_handshake,
    limited,
    busy,
    no_answer,
    failing,
    breaking,
    lossy,
    slow_lookup,
    slow_connect,
    slow_handshake,
    slow_answer,
    few_files,
];

/// The first rule that has something to say.
pub(super) fn judge(findings: &Findings) -> Diagnosis {
    RULES.iter().find_map(|rule| rule(findings)).unwrap_or_else(|| healthy(findings))
}

fn say(verdict: Verdict, because: String, next: impl Into<String>) -> Option<Diagnosis> {
    Some(Diagnosis { verdict, because, next: next.into() })
}

fn no_name(findings: &Findings) -> Option<Diagnosis> {
    if findings.lookups.is_empty() || !findings.addresses().is_empty() {
        return None;
    }
    if findings.lookups.iter().all(|lookup| !lookup.reached) {
        let because = "no resolver answers".to_owned();
        return say(Verdict::Dns, because, "Look whether this machine is online at all.");
    }
    let error = findings.own_lookup().and_then(|lookup| lookup.error.clone());
    let because = error.unwrap_or_else(|| "the name has no address".to_owned());
    let impostor = findings.lookups.iter().find(|lookup| lookup.untrusted);
    let next = match impostor.map(|lookup| &lookup.resolver) {
        Some(resolver) => format!(
            "Somebody answers in the place of {resolver}: look for a filter, a proxy or a login page."
        ),
        None => "Look at how the name is written, and ask whoever runs its zone.".to_owned(),
    };
    say(Verdict::Dns, because, next)
}

fn own_resolver_fails(findings: &Findings) -> Option<Diagnosis> {
    let own = findings.own_lookup()?;
    if !own.addresses.is_empty() {
        return None;
    }
    let other = findings.lookups.iter().find(|lookup| !lookup.addresses.is_empty())?;
    let error = own.error.as_deref().unwrap_or("it found no address");
    let because = format!("{} fails ({error}), and {} does not", own.resolver, other.resolver);
    let next = format!("Let this machine ask {}, or mend its resolver.", other.resolver);
    say(Verdict::Dns, because, next)
}

fn no_connection(findings: &Findings) -> Option<Diagnosis> {
    if findings.connects.is_empty() || findings.connects.iter().any(|to| to.times.worked()) {
        return None;
    }
    let troubles = || findings.connects.iter().filter_map(|to| to.trouble.as_ref());
    if let Some(ours) = troubles().find(|trouble| is_ours(trouble.kind)) {
        let theirs = troubles().find(|trouble| !is_ours(trouble.kind));
        if theirs.is_none() {
            let because = format!("this machine cannot open a connection: {}", ours.text);
            let next = "Look at its routes, its firewall, and its open files.";
            return say(Verdict::Client, because, next);
        }
    }
    let first = findings.connects.first()?;
    if let Some(refused) = troubles().find(|trouble| trouble.kind == Kind::Refused) {
        let because = format!("nothing listens at {}: {}", first.address, refused.text);
        let next = "Look whether the service is up, and whether that is its port.";
        return say(Verdict::Server, because, next);
    }
    let because = format!("nobody answers at {}", addresses(&findings.connects));
    let next = "Packets are dropped on the way: look at firewalls, routes and proxies.";
    say(Verdict::Network, because, next)
}

fn addresses(connects: &[Connect]) -> String {
    let shown: Vec<_> = connects.iter().take(3).map(|to| to.address.to_string()).collect();
    let more = if connects.len() > shown.len() { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn no_handshake(findings: &Findings) -> Option<Diagnosis> {
    let handshake = findings.handshake.as_ref().filter(|handshake| !handshake.times.worked())?;
    let trouble = handshake.trouble.as_ref()?;
    match trouble.kind {
        Kind::TimedOut => say(
            Verdict::Busy,
            "it accepts connections and does not shake hands in time".to_owned(),
            "Its TLS terminator has too much to do, or is stuck; tell whoever runs it.",
        ),
        Kind::Certificate => say(
            Verdict::Tls,
            format!("its certificate is not to be believed: {}", trouble.text),
            "Have it renewed or corrected, or give --ca; never switch the check off.",
        ),
        _ => say(
            Verdict::Tls,
            format!("the handshake fails: {}", trouble.text),
            "Look whether that port speaks TLS, and whether a proxy stands in between.",
        ),
    }
}

fn of_answers(findings: &Findings, holds: impl Fn(u16) -> bool) -> Option<String> {
    let requests = &findings.requests;
    let count = requests.with_status(&holds);
    let status = requests.statuses.keys().find(|status| holds(**status))?;
    Some(format!("{count} of {} answers were {status}", requests.answers()))
}

fn come_back(findings: &Findings) -> Option<String> {
    let delay = f64::from(u32::try_from(findings.requests.retry_after_ms?).unwrap_or(u32::MAX));
    Some(format!("It asks to be left alone for {}.", ms(delay)))
}

fn limited(findings: &Findings) -> Option<Diagnosis> {
    let because = of_answers(findings, |status| status == 429)?;
    let wait = come_back(findings).unwrap_or_else(|| "It does not say for how long.".to_owned());
    let next = format!("{wait} Send less at a time, and heed that header when you retry.");
    say(Verdict::Limited, because, next)
}

fn busy(findings: &Findings) -> Option<Diagnosis> {
    let because = of_answers(findings, |status| matches!(status, 502..=504 | 529))?;
    let wait = come_back(findings).map(|wait| format!("{wait} ")).unwrap_or_default();
    let next = format!("{wait}Retry with backoff and a budget, and spread the calls if you can.");
    say(Verdict::Busy, because, next)
}

fn no_answer(findings: &Findings) -> Option<Diagnosis> {
    if findings.requests.answers() > 0 {
        return None;
    }
    let Some(trouble) = &findings.requests.trouble else {
        let nothing = "nothing was answered in the time that was given".to_owned();
        return say(Verdict::Network, nothing, "Give it more with --within.");
    };
    match trouble.kind {
        Kind::TimedOut => say(
            Verdict::Busy,
            "it accepts connections and does not answer in time".to_owned(),
            "It has too much to do, or is stuck; tell whoever runs it.",
        ),
        kind if is_ours(kind) => say(
            Verdict::Client,
            format!("this machine cannot go on: {}", trouble.text),
            "Look at its open files and its ports.",
        ),
        _ => say(
            Verdict::Server,
            format!("it accepts connections and answers no request: {}", trouble.text),
            "Look whether that port speaks HTTP, and at the server's log.",
        ),
    }
}

fn failing(findings: &Findings) -> Option<Diagnosis> {
    let because = of_answers(findings, |status| status >= 500)?;
    say(Verdict::Server, because, "The server fails by itself; its log knows why.")
}

fn breaking(findings: &Findings) -> Option<Diagnosis> {
    let (requests, handshake) = (&findings.requests, findings.handshake.as_ref());
    let failed = requests.total.failed;
    if failed == 0 {
        return None;
    }
    let below = handshake.and_then(|handshake| handshake.trouble.as_ref());
    let trouble = requests.trouble.as_ref().or(below);
    let text = trouble.map_or("the connection broke", |trouble| trouble.text.as_str());
    let because = format!("{failed} of {} requests failed: {text}", requests.total.tries);
    let late = trouble.is_some_and(|trouble| trouble.kind == Kind::TimedOut);
    let verdict = if late { Verdict::Busy } else { Verdict::Network };
    say(verdict, because, "Retry what is safe to repeat, and look at what is in between.")
}

fn lossy(findings: &Findings) -> Option<Diagnosis> {
    // Where this machine has no way to, as to IPv6 for many, another address is taken; and of
    // `localhost` most servers listen at one address only.
    let ours = |to: &&Connect| {
        let refused = |kind| kind == Kind::Refused && to.address.ip().is_loopback();
        to.trouble.as_ref().is_some_and(|it| is_ours(it.kind) || refused(it.kind))
    };
    let connects: Vec<&Connect> = findings.connects.iter().filter(|to| !ours(to)).collect();
    if let Some(to) = connects.iter().find(|to| to.times.failed > 0) {
        let (failed, tries) = (to.times.failed, to.times.tries);
        let text = to.trouble.as_ref().map_or("lost", |trouble| trouble.text.as_str());
        let because = format!("{failed} of {tries} connections to {} failed: {text}", to.address);
        let next = "Have that address mended or taken out of the name; until then, connect to \
                    several at once.";
        return say(Verdict::Network, because, next);
    }
    let took = connects.iter().filter_map(|to| Some((to.address, to.times.took?)));
    let mut repeated =
        took.filter(|(_, took)| took.max_ms >= REPEATED && took.p50_ms < SLOW_CONNECT);
    let (address, took) = repeated.next()?;
    let (longest, usual) = (ms(took.max_ms), ms(took.p50_ms));
    let because = format!(
        "a connection to {address} took {longest}, where {usual} are usual: a packet was lost"
    );
    say(Verdict::Network, because, "Look at the links on the way, wireless ones first.")
}

fn slow_lookup(findings: &Findings) -> Option<Diagnosis> {
    let own = findings.own_lookup()?;
    let took = own.times.p50_ms()?;
    let other = findings.fastest.as_ref().filter(|fastest| **fastest != own.resolver);
    let other = other.and_then(|name| findings.lookups.iter().find(|it| it.resolver == *name));
    let faster = |it: &&Lookup| it.times.p50_ms().is_some_and(|ms| ms <= took / 2.0);
    let other = other.filter(faster);
    if took < SLOW_LOOKUP && (took < LONG_LOOKUP || other.is_none()) {
        return None;
    }
    let because = format!("the name lookup by {} takes {}", own.resolver, ms(took));
    let next = match other.and_then(|it| Some((it, it.times.p50_ms()?))) {
        Some((it, faster)) => {
            format!("Keep answers in a cache, or ask {}, which took {}.", it.resolver, ms(faster))
        }
        None => "Keep answers in a cache, so that calls need not wait for it.".to_owned(),
    };
    say(Verdict::Dns, because, next)
}

fn slow_connect(findings: &Findings) -> Option<Diagnosis> {
    let best = best_connect(findings)?;
    if best < SLOW_CONNECT {
        return None;
    }
    let because = format!("a connection takes {}", ms(best));
    say(Verdict::Network, because, "Keep connections open, or call from a place that is nearer.")
}

fn slow_handshake(findings: &Findings) -> Option<Diagnosis> {
    let took = findings.handshake.as_ref()?.times.p50_ms()?;
    let connect = best_connect(findings)?;
    if took < SLOW_HANDSHAKE || took < 4.0 * connect {
        return None;
    }
    let (took, connect) = (ms(took), ms(connect));
    let because = format!("a handshake takes {took}, where a round trip takes {connect}");
    say(Verdict::Busy, because, "Its TLS terminator is busy. Keep connections open.")
}

fn slow_answer(findings: &Findings) -> Option<Diagnosis> {
    let took = findings.requests.first_byte.p50_ms()?;
    if took < SLOW_ANSWER {
        return None;
    }
    let because = format!("answers begin only after {}", ms(took));
    say(Verdict::Busy, because, "The server is at work that long; send it fewer at a time.")
}

fn few_files(findings: &Findings) -> Option<Diagnosis> {
    let files = &findings.files;
    let allowed = files.allowed.filter(|&allowed| allowed < files.needed)?;
    let (needed, pool) = (files.needed, files.pool);
    let because = format!("{allowed} open files are allowed, and a pool of {pool} needs {needed}");
    let next = match files.at_most.filter(|&most| most >= needed) {
        Some(_) => format!("Say `ulimit -n {needed}` before the program starts."),
        None => format!("Have the hard limit raised to {needed} at least, or use a smaller pool."),
    };
    say(Verdict::Client, because, next)
}

fn best_connect(findings: &Findings) -> Option<f64> {
    let times = findings.connects.iter().filter_map(|to| to.times.p50_ms());
    times.min_by(f64::total_cmp)
}

/// Says where the time of a first call goes, and what a kept connection saves.
fn healthy(findings: &Findings) -> Diagnosis {
    let lookup = findings.own_lookup().and_then(|own| own.times.p50_ms()).unwrap_or_default();
    let connect = best_connect(findings).unwrap_or_default();
    let handshake =
        findings.handshake.as_ref().and_then(|it| it.times.p50_ms()).unwrap_or_default();
    let answer = findings.requests.first_byte.p50_ms().unwrap_or_default();
    let parts = [
        ("the name lookup", lookup),
        ("the connection", connect),
        ("the handshake", handshake),
        ("the server's work", answer),
    ];
    let sum: f64 = parts.iter().map(|(_, part)| part).sum();
    let (most, part) = parts
        .into_iter()
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .unwrap_or(("the server's work", answer));
    let because = format!("a first call takes {}, {} of it {most}", ms(sum), ms(part));
    let next = match findings.requests.kept.p50_ms() {
        Some(kept) if kept < sum / 2.0 => {
            format!("Keep connections open: there it takes {}.", ms(kept))
        }
        Some(kept) if kept > answer + DELAYED => format!(
            "Yet on a connection that is kept it takes {}: have the server set TCP_NODELAY.",
            ms(kept)
        ),
        _ => "There is nothing to do.".to_owned(),
    };
    Diagnosis { verdict: Verdict::Healthy, because, next }
}
