//! `buttress rehearse`: the same traffic through a naive client and through Buttress, against a
//! busy LLM API that runs in this process.
//!
//! Both runs get a fresh [`Provider`] and a fresh [`NameServer`] with the same [`Parameters`], and
//! with them the same prompts, think times, service times and busy spells. Only the client differs.

mod answers;
mod arguments;
mod buttressed;
mod callers;
mod draws;
mod error;
mod gate;
mod lookup;
mod naive;
mod names;
mod parameters;
mod path;
mod plot;
mod progress;
mod provider;
mod report;
mod route;
mod stage;
mod tally;
mod timeline;

use std::io::{self, Write as _, stderr, stdout};

use tokio::signal::ctrl_c;

pub use self::{
    answers::{AnswerBody, EventStream},
    arguments::Arguments,
    buttressed::Buttressed,
    callers::{Side, send_traffic},
    error::Error,
    gate::{Gate, Slot, Ticket},
    lookup::Lookup,
    naive::Naive,
    names::NameServer,
    parameters::{
        BusySpells, Parameters, PathParameters, Schedule, ServerParameters, TrafficParameters,
    },
    path::Path,
    progress::Progress,
    provider::{Endpoint, Provider},
    report::Report,
    route::{CallOutcome, Ending, Route},
    stage::Stage,
    tally::{Figures, Tally},
    timeline::{Point, Timeline},
};

/// Endpoints of the API. Both clients know one; what spreads calls over several comes with its
/// own layer.
const ENDPOINTS: u64 = 1;

/// Open files that a run needs: two sockets for each caller, and some for names and listeners.
const OPEN_FILES: u64 = 1_000;

/// Runs the rehearsal and prints what it found on standard output.
///
/// Progress goes to standard error. Dropping the future closes every socket.
///
/// # Errors
///
/// [`Error::Setting`] before anything runs, if an argument is wrong; [`Error::Interrupted`] on
/// Ctrl-C; and whatever kept the run from its end. [`Error::exit_code`] has the code for the shell.
pub async fn run(arguments: Arguments) -> Result<(), Error> {
    let parameters = arguments.parameters()?;
    allow_open_files()?;
    let (before, after) = tokio::select! {
        sides = both(&parameters) => sides?,
        _ = ctrl_c() => return Err(Error::Interrupted),
    };
    warn_of_broken(&before, &after);
    let (earlier, later) = (before.timeline, after.timeline);
    let report = Report::new(&parameters, ENDPOINTS, before.figures, after.figures);
    let text = if arguments.json {
        report.json()?
    } else {
        format!("{}\n{}", report.table(), report.note(&parameters))
    };
    writeln!(stdout(), "{text}").map_err(Error::io("write to standard output"))?;
    // Last, so that a full disk does not cost the figures as well.
    let Some(path) = &arguments.plot else {
        return Ok(());
    };
    plot::write(path, &parameters, &earlier, &later)
}

async fn both(parameters: &Parameters) -> Result<(Side, Side), Error> {
    let stage = Stage::set(parameters, ENDPOINTS).await?;
    let before = play("before", stage.naive()?, &stage, parameters).await?;
    stage.strike().await;
    let stage = Stage::set(parameters, ENDPOINTS).await?;
    let after = play("after", stage.buttressed()?, &stage, parameters).await?;
    stage.strike().await;
    Ok((before, after))
}

async fn play<R: Route>(
    label: &'static str,
    route: R,
    stage: &Stage,
    parameters: &Parameters,
) -> Result<Side, Error> {
    let progress = Progress::new(label, parameters.schedule.total());
    send_traffic(label, route, parameters, stage.provider(), progress).await
}

/// Some systems start a process with as few as 256.
fn allow_open_files() -> Result<(), Error> {
    let doing = "raise the limit of open files";
    let limit = rlimit::increase_nofile_limit(4 * OPEN_FILES).map_err(Error::io(doing))?;
    if limit < OPEN_FILES {
        let reason = format!("{OPEN_FILES} are needed, {limit} are allowed");
        return Err(Error::io(doing)(io::Error::other(reason)));
    }
    Ok(())
}

/// Figures that owe something to a starved machine must say so.
fn warn_of_broken(before: &Side, after: &Side) {
    for (label, side) in [("before", before), ("after", after)] {
        if side.broken > 0 {
            // Standard error may be closed; the figures are still worth printing.
            let _ = writeln!(
                stderr(),
                "{label}: {} calls failed below HTTP (name, connection, broken answer)",
                side.broken
            );
        }
    }
}
