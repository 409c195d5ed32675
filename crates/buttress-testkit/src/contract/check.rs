use super::ground::Ground;
use super::probe::unwound;
use super::{BoxError, drops, passing, permits, readiness, reuse};
use std::fmt;
use tower_service::Service;

/// One thing that a layer must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Check {
    /// The instance that said it was ready is the one that is called.
    ReadyInstance,
    /// A clone starts unready: calling it goes through its own `poll_ready`, and leaves the
    /// readiness of the original alone.
    CloneUnready,
    /// When the inner service is not ready, its waker wakes the task that polled the layer last.
    ReadyWaker,
    /// When the inner future is pending, its waker wakes the task that polled the layer last.
    ResponseWaker,
    /// A response future dropped before its first poll frees everything it held.
    DropUnpolled,
    /// A response future dropped once the inner service was called frees everything it held.
    DropCalled,
    /// A response future dropped while it is pending frees everything it held.
    DropPending,
    /// A response future dropped after the inner answer is there, unseen, frees everything it held.
    DropAnswered,
    /// The answer of the inner service arrives unchanged.
    ResponseUnchanged,
    /// An error of the inner future arrives unchanged, or as a source of the error that arrives.
    ErrorUnchanged,
    /// An error of the inner `poll_ready` arrives unchanged, or as a source of the one that arrives.
    ReadyErrorUnchanged,
    /// Over a concurrency limit of one, two clones make progress side by side and no permit leaks.
    SinglePermit,
    /// One service takes many calls, one after the other.
    ManyCalls,
    /// The layer and its clone make any number of services, each around the inner one it was given.
    ManyServices,
}

impl Check {
    /// All checks, in the order in which they are run.
    pub const ALL: [Self; 14] = [
        Self::ReadyInstance,
        Self::CloneUnready,
        Self::ReadyWaker,
        Self::ResponseWaker,
        Self::DropUnpolled,
        Self::DropCalled,
        Self::DropPending,
        Self::DropAnswered,
        Self::ResponseUnchanged,
        Self::ErrorUnchanged,
        Self::ReadyErrorUnchanged,
        Self::SinglePermit,
        Self::ManyCalls,
        Self::ManyServices,
    ];

    /// Returns the name under which a report lists the check.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadyInstance => "the ready instance is the one called",
            Self::CloneUnready => "a clone starts unready",
            Self::ReadyWaker => "pending readiness registers a waker",
            Self::ResponseWaker => "a pending response registers a waker",
            Self::DropUnpolled => "dropping the future before its first poll frees what it held",
            Self::DropCalled => "dropping the future after the inner call frees what it held",
            Self::DropPending => "dropping the future while it is pending frees what it held",
            Self::DropAnswered => "dropping the future with the answer unseen frees what it held",
            Self::ResponseUnchanged => "responses pass through unchanged",
            Self::ErrorUnchanged => "errors pass through unchanged",
            Self::ReadyErrorUnchanged => "readiness errors pass through unchanged",
            Self::SinglePermit => "it works over a concurrency limit of one",
            Self::ManyCalls => "a service takes many calls in sequence",
            Self::ManyServices => "layer() may be called many times",
        }
    }

    async fn run<S, Req>(self, ground: &Ground<'_, S, Req, S::Response>) -> Result<(), String>
    where
        S: Service<Req> + Clone,
        S::Error: Into<BoxError>,
    {
        match self {
            Self::ReadyInstance => readiness::ready_instance(ground).await,
            Self::CloneUnready => readiness::clone_unready(ground).await,
            Self::ReadyWaker => readiness::ready_waker(ground).await,
            Self::ResponseWaker => readiness::response_waker(ground).await,
            Self::DropUnpolled => drops::dropped(ground, drops::Stage::Unpolled).await,
            Self::DropCalled => drops::dropped(ground, drops::Stage::Called).await,
            Self::DropPending => drops::dropped(ground, drops::Stage::Pending).await,
            Self::DropAnswered => drops::dropped(ground, drops::Stage::Answered).await,
            Self::ResponseUnchanged => passing::response(ground).await,
            Self::ErrorUnchanged => passing::error(ground).await,
            Self::ReadyErrorUnchanged => passing::ready_error(ground).await,
            Self::SinglePermit => permits::single(ground).await,
            Self::ManyCalls => reuse::many_calls(ground).await,
            Self::ManyServices => reuse::many_services(ground).await,
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It held.
    Passed,
    /// It did not, for the reason given.
    Failed(String),
    /// It was not run, for the reason given.
    LeftOut(String),
}

/// What came of all checks.
#[derive(Debug, Clone)]
#[must_use]
pub struct Report {
    outcomes: Vec<(Check, Outcome)>,
}

impl Report {
    /// Returns whether no check failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failed().is_empty()
    }

    /// Returns the checks that failed, in the order in which they were run.
    #[must_use]
    pub fn failed(&self) -> Vec<Check> {
        let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
        self.outcomes
            .iter()
            .filter(|(_, outcome)| failed(outcome))
            .map(|(check, _)| *check)
            .collect()
    }

    /// Returns every check with its outcome, in the order in which they were run.
    #[must_use]
    pub fn outcomes(&self) -> &[(Check, Outcome)] {
        &self.outcomes
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {} checks failed", self.failed().len(), self.outcomes.len())?;
        for (check, outcome) in &self.outcomes {
            match outcome {
                Outcome::Passed => writeln!(f, "  passed    {check}")?,
                Outcome::Failed(why) => writeln!(f, "  FAILED    {check}: {why}")?,
                Outcome::LeftOut(why) => writeln!(f, "  left out  {check}: {why}")?,
            }
        }
        Ok(())
    }
}

pub(super) async fn run_all<S, Req>(
    ground: &Ground<'_, S, Req, S::Response>,
    exceptions: &[(Check, String)],
) -> Report
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let mut outcomes = Vec::with_capacity(Check::ALL.len());
    for check in Check::ALL {
        let exception = exceptions.iter().find(|(excepted, _)| *excepted == check);
        let outcome = match (outcomes.first(), exception) {
            (_, Some((_, reason))) => Outcome::LeftOut(reason.clone()),
            (Some((Check::ReadyInstance, Outcome::Failed(_))), None) => {
                Outcome::LeftOut("no call can be made".to_owned())
            }
            _ => run_one(check, ground).await,
        };
        outcomes.push((check, outcome));
    }
    Report { outcomes }
}

async fn run_one<S, Req>(check: Check, ground: &Ground<'_, S, Req, S::Response>) -> Outcome
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let verdict = unwound(Box::pin(check.run(ground))).await;
    // A breach explains whatever else went wrong after it.
    match ground.breach().map_or(verdict, Err) {
        Ok(()) => Outcome::Passed,
        Err(why) => Outcome::Failed(why),
    }
}
