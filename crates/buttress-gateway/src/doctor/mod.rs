//! `buttress doctor`: where the time of a call goes, and whose fault it is.
//!
//! [`examine`] gathers facts, [`Diagnosis::of`] makes a verdict of them, and [`run`] prints both.
//!
//! ```no_run
//! use buttress_gateway::doctor::{Arguments, Diagnosis, examine};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let findings = examine(&Arguments::new("http://127.0.0.1:8080/")).await?;
//! println!("{}", Diagnosis::of(&findings));
//! # Ok(())
//! # }
//! ```

mod arguments;
mod connect;
mod error;
mod exchange;
mod files;
mod findings;
mod lookup;
mod report;
mod rules;
mod target;
mod times;
mod tls;
mod trouble;
mod verdict;
#[cfg(test)]
mod verdicts;
mod visit;

use std::{
    env,
    io::{IsTerminal as _, Write as _, stdout},
};

use http::HeaderMap;
use tokio::signal::ctrl_c;

use self::arguments::Plan;
pub use self::{
    arguments::{Arguments, Method},
    error::Error,
    findings::{Connect, Files, Findings, Handshake, Lookup, Requests},
    times::{Times, Took},
    trouble::{Kind, Trouble},
    verdict::{Diagnosis, Verdict},
};

/// Redirections that are followed.
const MOST_REDIRECTIONS: usize = 5;

/// Examines, and prints what was found on standard output.
///
/// # Errors
///
/// [`Error::Setting`] before anything is sent, if an argument is wrong; [`Error::Unwell`] if
/// something is wrong with what was examined; [`Error::Interrupted`] on Ctrl-C.
pub async fn run(arguments: Arguments) -> Result<(), Error> {
    let findings = tokio::select! {
        findings = Box::pin(examine(&arguments)) => findings?,
        asked = ctrl_c() => {
            asked.map_err(Error::io("listen to signals"))?;
            return Err(Error::Interrupted);
        }
    };
    let diagnosis = Diagnosis::of(&findings);
    let text = if arguments.json {
        report::json(&findings, &diagnosis)?
    } else {
        let colours = stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        report::text(&findings, &diagnosis, colours)
    };
    writeln!(stdout(), "{text}").map_err(Error::io("write to standard output"))?;
    if diagnosis.is_healthy() { Ok(()) } else { Err(Error::Unwell(diagnosis)) }
}

/// Gathers the facts, within the time that the arguments give. Dropping the future ends everything.
///
/// # Errors
///
/// [`Error::Setting`] before anything is sent, if an argument is wrong.
pub async fn examine(arguments: &Arguments) -> Result<Findings, Error> {
    let mut plan = arguments.plan()?;
    let mut followed = Vec::new();
    while plan.follow && followed.len() < MOST_REDIRECTIONS && !plan.is_over() {
        let glance = Plan { requests: 1, connects: 1, lookups: 1, ..plan.clone() };
        let location = look(&glance).await.requests.location;
        let next = location.and_then(|location| plan.target.redirected(&location));
        let Some(next) = next else { break };
        followed.push(plan.target.url());
        if !plan.target.same_origin(&next) {
            // They may be secrets, and were meant for the other place.
            plan.headers = HeaderMap::new();
        }
        plan.target = next;
    }
    Ok(Findings { followed, ..look(&plan).await })
}

/// One place, from the name to the answer.
async fn look(plan: &Plan) -> Findings {
    let files = files::look(plan);
    let lookups = lookup::all(plan).await;
    let mut findings = Findings {
        url: plan.target.url(),
        files,
        fastest: lookup::fastest(&lookups),
        lookups,
        not_asked: plan.not_asked,
        ..Findings::default()
    };
    let addresses = match plan.target.address() {
        Some(address) => vec![address],
        None => findings.addresses().to_vec(),
    };
    findings.connects = connect::all(plan, &addresses).await;
    let reachable = connect::reachable(&findings.connects);
    if !reachable.is_empty() {
        (findings.requests, findings.handshake) = Box::pin(visit::visit(plan, &reachable)).await;
    }
    findings.cut_short = plan.is_over();
    findings
}
