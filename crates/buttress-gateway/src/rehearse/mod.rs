//! `buttress rehearse`: the same traffic through a naive client and through Buttress, against a
//! busy LLM API that runs in this process; if asked, through nginx as well.
//!
//! Each run gets a fresh [`Provider`] and a fresh [`NameServer`] with the same [`Parameters`], and
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
mod nginx;
mod parameters;
mod plot;
mod pooled;
mod progress;
mod provider;
mod report;
mod route;
mod stage;
mod tally;
mod timeline;

use std::io::{self, Write as _, stderr, stdout};

use tokio::signal::ctrl_c;
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};

pub use self::{
    answers::{AnswerBody, EventStream},
    arguments::{Arguments, Compare},
    buttressed::{Buttressed, Retrying, over},
    callers::{Side, send_traffic},
    draws::{Draws, ServiceTime, Stream},
    error::Error,
    gate::{Gate, Slot, Ticket, Usage},
    lookup::Lookup,
    naive::Naive,
    names::NameServer,
    nginx::{Nginx, Recipe},
    parameters::{
        BusySpells, Parameters, PathParameters, Schedule, ServerParameters, TrafficParameters,
    },
    pooled::Pooled,
    progress::Progress,
    provider::{Endpoint, Provider},
    report::Report,
    route::{CallOutcome, Ending, Route},
    stage::Stage,
    tally::{Figures, Tally},
    timeline::{Point, Timeline},
};

/// Open files that a run needs: two sockets for each caller, and some for names and listeners.
const OPEN_FILES: u64 = 1_000;

/// And for each further endpoint, with a pool of its own.
const OPEN_FILES_MORE: u64 = 500;

/// What the runs came to.
struct Sides {
    before: Side,
    after: Side,
    compare: Option<Side>,
}

/// Runs the rehearsal and prints what it found on standard output.
///
/// Progress goes to standard error. Dropping the future closes every socket and ends nginx.
///
/// # Errors
///
/// [`Error::Setting`] before anything runs, if an argument is wrong; [`Error::Interrupted`] on
/// Ctrl-C; and whatever kept the run from its end. [`Error::exit_code`] has the code for the shell.
pub async fn run(arguments: Arguments) -> Result<(), Error> {
    let parameters = arguments.parameters()?;
    allow_open_files(arguments.endpoints)?;
    let sides = tokio::select! {
        sides = play_all(&arguments, &parameters) => sides?,
        interrupted = interrupted() => return Err(interrupted),
    };
    sides.warn_of_broken();
    let report = sides.report(&arguments, &parameters);
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
    let beside = sides.compare.as_ref().map(|side| &side.timeline);
    plot::write(path, &parameters, &sides.before.timeline, &sides.after.timeline, beside)
}

async fn play_all(arguments: &Arguments, parameters: &Parameters) -> Result<Sides, Error> {
    let endpoints = arguments.endpoints;
    let stage = Stage::set(parameters, endpoints).await?;
    let before = play("before", stage.naive()?, &stage, parameters).await?;
    stage.strike().await;
    let stage = Stage::set(parameters, endpoints).await?;
    let after = play("after", stage.buttressed().await?, &stage, parameters).await?;
    stage.strike().await;
    let Some(recipe) = arguments.recipe() else {
        return Ok(Sides { before, after, compare: None });
    };
    let stage = Stage::set(parameters, endpoints).await?;
    let nginx = stage.nginx(&arguments.nginx, &recipe).await?;
    let compare = play("nginx", Pooled::new(nginx.address())?, &stage, parameters).await?;
    drop(nginx);
    stage.strike().await;
    Ok(Sides { before, after, compare: Some(compare) })
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

/// Resolves when somebody wants the run to end, so that whatever it started ends with it.
async fn interrupted() -> Error {
    let asked = tokio::select! {
        asked = ctrl_c() => asked,
        asked = terminated() => asked,
    };
    asked.map_or_else(Error::io("listen to signals"), |()| Error::Interrupted)
}

#[cfg(unix)]
async fn terminated() -> io::Result<()> {
    signal(SignalKind::terminate())?.recv().await;
    Ok(())
}

#[cfg(not(unix))]
async fn terminated() -> io::Result<()> {
    std::future::pending().await
}

/// Some systems start a process with as few as 256.
fn allow_open_files(endpoints: u64) -> Result<(), Error> {
    let needed = OPEN_FILES + OPEN_FILES_MORE * endpoints.saturating_sub(1);
    let doing = "raise the limit of open files";
    let limit = rlimit::increase_nofile_limit(4 * needed).map_err(Error::io(doing))?;
    if limit < needed {
        let reason = format!("{needed} are needed, {limit} are allowed");
        return Err(Error::io(doing)(io::Error::other(reason)));
    }
    Ok(())
}

impl Sides {
    fn report(&self, arguments: &Arguments, parameters: &Parameters) -> Report {
        let (before, after) = (self.before.figures.clone(), self.after.figures.clone());
        let report = Report::new(parameters, arguments.endpoints, before, after);
        match &self.compare {
            Some(nginx) => report.compare(nginx.figures.clone()),
            None => report,
        }
    }

    /// Figures that owe something to a starved machine must say so.
    fn warn_of_broken(&self) {
        let sides = [
            ("before", Some(&self.before)),
            ("after", Some(&self.after)),
            ("nginx", self.compare.as_ref()),
        ];
        for (label, side) in sides {
            let broken = side.map_or(0, |side| side.broken);
            if broken > 0 {
                // Standard error may be closed; the figures are still worth printing.
                let _ = writeln!(
                    stderr(),
                    "{label}: {broken} calls failed below HTTP (name, connection, broken answer)",
                );
            }
        }
    }
}
