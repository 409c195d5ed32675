//! Why a call was not let in.

use std::{error::Error, fmt, time::Duration};

use buttress_core::{Phase, TimedOut};
use http::StatusCode;

use crate::overload::Refusal;

/// A call was refused because as many were under way as may be; nothing was sent.
///
/// It is found with [`cause`](buttress_core::cause). Its source tells an outer retry that the
/// request was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overloaded {
    kind: OverloadedKind,
    retry_after: Duration,
    source: TimedOut,
}

/// Why a call was not let in.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OverloadedKind {
    /// No place was free, and it was not to wait.
    Full,
    /// What is left is kept for calls of a higher priority.
    Reserved,
    /// No place was free, and the line was full.
    QueueFull,
    /// It would have had to wait longer than it may, and was told so at once.
    Hopeless,
    /// It waited as long as it may.
    WaitedTooLong,
    /// More keys have calls under way than are counted.
    TooManyKeys,
}

/// What to tell where nothing is known: the least that `Retry-After` can say.
const UNKNOWN: Duration = Duration::from_secs(1);
/// A place can come free at any time, so nobody is sent away for longer.
const MOST: Duration = Duration::from_secs(60);

impl Overloaded {
    pub(crate) fn new(kind: OverloadedKind, expected: Option<Duration>, waited: Duration) -> Self {
        let retry_after = expected.unwrap_or(UNKNOWN).min(MOST);
        Self { kind, retry_after, source: TimedOut::new(Phase::Ready, waited) }
    }

    pub(crate) fn full(waited: Duration) -> Self {
        Self::new(OverloadedKind::Full, None, waited)
    }

    pub(crate) fn crowded() -> Self {
        Self::new(OverloadedKind::TooManyKeys, None, Duration::ZERO)
    }

    /// Why it was not let in.
    #[must_use]
    pub const fn kind(&self) -> OverloadedKind {
        self.kind
    }

    /// When a place is expected to be free: from how fast they came free of late where calls waited
    /// in line, and a second where that is not known.
    #[must_use]
    pub const fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// How long the call waited before it was refused.
    #[must_use]
    pub const fn waited(&self) -> Duration {
        self.source.after()
    }

    /// The status by which a server says it: 503.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

impl OverloadedKind {
    /// A short name for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Reserved => "reserved",
            Self::QueueFull => "queue_full",
            Self::Hopeless => "hopeless",
            Self::WaitedTooLong => "waited_too_long",
            Self::TooManyKeys => "too_many_keys",
        }
    }
}

impl fmt::Display for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            OverloadedKind::Full => "as many calls are under way as may be",
            OverloadedKind::Reserved => "what is left is kept for calls of a higher priority",
            OverloadedKind::QueueFull => "as many calls wait for a place as may",
            OverloadedKind::Hopeless => "a place would not be free in time",
            OverloadedKind::WaitedTooLong => "no place became free in time",
            OverloadedKind::TooManyKeys => "calls of too many keys are under way",
        })
    }
}

impl Error for Overloaded {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// The type is the one that the draft of the `RateLimit` header fields registers for lack of
/// capacity.
const PROBLEM: &str = concat!(
    r#"{"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity","#,
    r#""title":"too many requests under way","status":503,"#,
    r#""detail":"the server carries as many requests as it may; try again shortly","#,
    r#""violated-policies":["concurrency"]}"#,
);

impl From<&Overloaded> for Refusal {
    fn from(refused: &Overloaded) -> Self {
        Self {
            status: refused.status(),
            retry_after: refused.retry_after,
            title: "too many requests under way",
            problem: PROBLEM,
        }
    }
}
