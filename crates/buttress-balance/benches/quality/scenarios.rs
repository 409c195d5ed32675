//! What happens to whom.

use std::{io, time::Duration};

use crate::{
    report::{Report, head, line, title},
    rows::{Ejection, FAIL_TIMEOUT, NGINX, OURS, Policy, measure},
    simulation::{Behaviour, Plan, tally::Tally},
};

const MEAN: Duration = Duration::from_millis(10);
const SLOW_MEAN: Duration = Duration::from_millis(50);
const SLOTS: usize = 4;
/// What one good server can do in a second.
const CAPACITY: f64 = 400.0;
const LOAD: f64 = 0.7;

const BROKEN: usize = 0;
const SLOW: usize = 1;

/// A [`Plan`] with what most have in common. Everybody has come to know the servers when it begins.
fn plan<'a>(
    report: &Report,
    servers: usize,
    rate: f64,
    behaviour: &'a (dyn Fn(usize, Option<Duration>) -> Behaviour + Sync),
) -> Plan<'a> {
    Plan {
        servers,
        slots: SLOTS,
        behaviour,
        rate,
        clients: 1,
        timeout: Duration::from_secs(2),
        tries: 1,
        warm_up: Duration::from_secs(report.seconds.min(15)),
        length: Duration::from_secs(report.seconds),
    }
}

fn rate(good: u32) -> f64 {
    LOAD * CAPACITY * f64::from(good)
}

/// Answers 503 in a millisecond, always.
const fn broken() -> Behaviour {
    Behaviour { mean: MEAN, fails: 1.0 }
}

/// Two of ten are ill, each in its own way: the main one.
pub(crate) fn faults(report: &mut Report) -> io::Result<()> {
    title("10 servers, one 5 times as slow, one that answers 503 in 1 ms, 70 % load, no retry")?;
    head()?;
    let behaviour = |server, measured: Option<Duration>| match (server, measured) {
        (BROKEN, Some(_)) => broken(),
        (SLOW, Some(_)) => Behaviour::good(SLOW_MEAN),
        _ => Behaviour::good(MEAN),
    };
    // The slow one can do a fifth of what it could.
    let plan = plan(report, 10, rate(8), &behaviour);
    for clients in [1, 8] {
        let plan = Plan { clients, ..plan };
        for (policy, ejection) in beside() {
            let tally = measure(&plan, policy, ejection, report.seeds);
            let names = (policy.name(), ejection.name());
            line(names, clients, &tally, (Some(SLOW), Some(BROKEN)))?;
            if (policy, ejection) == (Policy::Adaptive, OURS) {
                judge_faults(report, clients, &tally);
            }
        }
    }
    Ok(())
}

fn judge_faults(report: &mut Report, clients: usize, tally: &Tally) {
    let whom = format!("two ill of 10, adaptive, clients: {clients}");
    let lost = (tally.errors() + tally.timeouts()) * 1e2;
    report.at_most(format!("{whom}: errors and timeouts, %"), lost, 0.05);
    report.at_most(format!("{whom}: p99, ms"), tally.millis(0.99), 55.0);
    report.at_most(format!("{whom}: p99.9, ms"), tally.millis(0.999), 120.0);
    report.at_most(format!("{whom}: to the slow one, %"), tally.share(SLOW) * 1e2, 1.5);
}

/// Ours first, then what there is elsewhere.
fn beside() -> impl Iterator<Item = (Policy, Ejection)> {
    let all = [Policy::LeastRequest, Policy::PeakEwma, Policy::RoundRobin, Policy::Random];
    let rows =
        all.into_iter().flat_map(|policy| [OURS, NGINX, Ejection::None].map(|e| (policy, e)));
    let ours = [OURS, Ejection::None].map(|ejection| (Policy::Adaptive, ejection));
    let tower = [Policy::TowerPeakEwma, Policy::TowerPendingRequests];
    ours.into_iter().chain(rows).chain(tower.map(|policy| (policy, Ejection::None)))
}

/// Nobody is ill, but calls fail by chance.
pub(crate) fn uniform(report: &mut Report) -> io::Result<()> {
    title("10 good servers, each failing by chance in 1 ms, 70 % load, no retry")?;
    head()?;
    for percent in [0.001, 0.01, 0.1, 0.5, 2.0, 5.0] {
        title(&format!("  {percent} %"))?;
        let behaviour = move |_, measured: Option<Duration>| {
            let fails = if measured.is_some() { percent / 1e2 } else { 0.0 };
            Behaviour { mean: MEAN, fails }
        };
        let plan = plan(report, 10, rate(10), &behaviour);
        for clients in [1, 8] {
            uniform_at(report, percent, &Plan { clients, ..plan })?;
        }
    }
    Ok(())
}

fn uniform_at(report: &mut Report, percent: f64, plan: &Plan<'_>) -> io::Result<()> {
    let rows = [
        (Policy::LeastRequest, Ejection::None),
        (Policy::LeastRequest, NGINX),
        (Policy::TowerPeakEwma, Ejection::None),
        (Policy::LeastRequest, OURS),
        (Policy::Adaptive, OURS),
    ];
    let mut least = f64::INFINITY;
    for (policy, ejection) in rows {
        let tally = measure(plan, policy, ejection, report.seeds);
        line((policy.name(), ejection.name()), plan.clients, &tally, (None, None))?;
        let whom = format!("{percent} % fail, {}, clients: {}", policy.name(), plan.clients);
        if (policy, ejection) == (Policy::LeastRequest, Ejection::None) {
            least = tally.millis(0.99);
        }
        if ejection == OURS && percent <= 2.0 {
            report.at_most(format!("{whom}: ejected on average"), tally.mean_ejected(), 0.01);
        }
        if policy == Policy::Adaptive {
            report.at_most(format!("{whom}: p99, ms"), tally.millis(0.99), least * 1.1);
        }
    }
    Ok(())
}

/// One of a few fails at once: the sets that most have.
pub(crate) fn small(report: &mut Report) -> io::Result<()> {
    title("2, 3 and 5 servers, one that answers 503 in 1 ms, 70 % load, no retry")?;
    head()?;
    let behaviour = |server, measured: Option<Duration>| match (server, measured) {
        (BROKEN, Some(_)) => broken(),
        _ => Behaviour::good(MEAN),
    };
    for servers in [2_u32, 3, 5] {
        title(&format!("  {servers} servers"))?;
        let count = usize::try_from(servers).unwrap_or(usize::MAX);
        let plan = plan(report, count, rate(servers - 1), &behaviour);
        for clients in [1, 8] {
            small_of(report, &Plan { clients, ..plan })?;
        }
    }
    Ok(())
}

fn small_of(report: &mut Report, plan: &Plan<'_>) -> io::Result<()> {
    let rows = [
        (Policy::Adaptive, OURS),
        (Policy::LeastRequest, OURS),
        (Policy::RoundRobin, OURS),
        (Policy::LeastRequest, NGINX),
        (Policy::LeastRequest, Ejection::None),
        (Policy::TowerPeakEwma, Ejection::None),
    ];
    for (policy, ejection) in rows {
        let tally = measure(plan, policy, ejection, report.seeds);
        let (servers, clients) = (plan.servers, plan.clients);
        line((policy.name(), ejection.name()), clients, &tally, (None, Some(BROKEN)))?;
        if ejection == OURS {
            let times = plan.length.as_secs().div_ceil(FAIL_TIMEOUT.as_secs());
            let most = f64::from(u32::try_from(4 * times).unwrap_or(u32::MAX));
            let lost = f64::from(u32::try_from(tally.most_lost()).unwrap_or(u32::MAX));
            let whom = format!("one of {servers} fails, {}, clients: {clients}", policy.name());
            report.at_most(format!("{whom}: lost by any client in a run"), lost, most);
        }
    }
    Ok(())
}

/// A slow server becomes fast again.
pub(crate) fn recovery(report: &mut Report) -> io::Result<()> {
    let slow_for = Duration::from_secs((report.seconds / 2).min(60));
    let at = usize::try_from(slow_for.as_secs()).unwrap_or(usize::MAX);
    title(&format!(
        "10 servers, one 5 times as slow for {at} s, then as fast as the others: its share, %"
    ))?;
    let behaviour = move |server, measured: Option<Duration>| match (server, measured) {
        (SLOW, Some(time)) if time < slow_for => Behaviour::good(SLOW_MEAN),
        _ => Behaviour::good(MEAN),
    };
    let plan = plan(report, 10, rate(9), &behaviour);
    for clients in [1, 8] {
        let plan = Plan { clients, ..plan };
        let rows =
            [Policy::Adaptive, Policy::LeastRequest, Policy::PeakEwma, Policy::TowerPeakEwma];
        for policy in rows {
            let ejection = if policy == Policy::TowerPeakEwma { Ejection::None } else { OURS };
            let tally = measure(&plan, policy, ejection, report.seeds);
            let share = |from, to| tally.share_in(SLOW, from..to) * 1e2;
            let after: Vec<String> = (0..6)
                .map(|step| format!("{:5.2}", share(at + 5 * step, at + 5 * step + 5)))
                .collect();
            title(&format!(
                "  {:25} clients {clients}  slow {:5.2}  then, each 5 s: {}",
                policy.name(),
                share(5, at),
                after.join(" "),
            ))?;
            if policy == Policy::Adaptive {
                let whom = format!("one slow of 10, adaptive, clients: {clients}");
                report.at_most(format!("{whom}: its share while slow, %"), share(5, at), 1.5);
                report.at_least(
                    format!("{whom}: its share 25 s to 30 s after it, %"),
                    share(at + 25, at + 30),
                    8.0,
                );
            }
        }
    }
    Ok(())
}

/// What took nginx down: three upstreams that fail one call in a hundred.
pub(crate) fn nginx(report: &mut Report) -> io::Result<()> {
    title(
        "3 servers, 600 calls a second, each failing 1 % by chance, max_fails=3 fail_timeout=10s",
    )?;
    head()?;
    let behaviour = |_, _: Option<Duration>| Behaviour { mean: MEAN, fails: 0.01 };
    let ten = Duration::from_secs(10);
    for tries in [1, 3] {
        title(if tries == 1 { "  no failover" } else { "  failover, three tries" })?;
        let plan = Plan { tries, ..plan(report, 3, 600.0, &behaviour) };
        for (policy, ejection) in [
            (Policy::LeastRequest, Ejection::Nginx(ten)),
            (Policy::LeastRequest, Ejection::Ours(ten)),
            (Policy::Adaptive, Ejection::Ours(ten)),
        ] {
            let tally = measure(&plan, policy, ejection, report.seeds);
            line((policy.name(), ejection.name()), 1, &tally, (None, None))?;
            if ejection == Ejection::Ours(ten) {
                let whom = format!("nginx's test, {}, tries: {tries}", policy.name());
                let most = if tries == 1 { 1.1 } else { 0.01 };
                report.at_most(format!("{whom}: errors, %"), tally.errors() * 1e2, most);
                report.at_most(format!("{whom}: refused, %"), tally.refusals() * 1e2, 0.0);
                report.at_most(format!("{whom}: ejected"), tally.mean_ejected(), 0.0);
            }
        }
    }
    Ok(())
}
