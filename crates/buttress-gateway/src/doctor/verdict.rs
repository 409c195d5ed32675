//! What an examination comes to: one verdict, its reason, and what to do next.

use std::fmt;

use serde::Serialize;

use super::{findings::Findings, rules};

/// Where the fault lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Nowhere.
    Healthy,
    /// With this machine.
    Client,
    /// With the name lookup.
    Dns,
    /// Between here and there.
    Network,
    /// With the certificate, or with somebody who stands in between.
    Tls,
    /// With a server that has too much to do.
    Busy,
    /// With a server that was asked for more than it allows.
    Limited,
    /// With a server that is down or broken.
    Server,
}

impl Verdict {
    /// As it stands in the verdict's line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Client => "this machine",
            Self::Dns => "DNS",
            Self::Network => "network",
            Self::Tls => "TLS",
            Self::Busy => "server busy",
            Self::Limited => "limited",
            Self::Server => "server",
        }
    }
}

/// A verdict, with its reason and the next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// Where the fault lies.
    pub verdict: Verdict,
    /// Why it is thought so.
    pub because: String,
    /// What to do about it.
    pub next: String,
}

impl Diagnosis {
    /// Judges what was found.
    #[must_use]
    pub fn of(findings: &Findings) -> Self {
        rules::judge(findings)
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.verdict == Verdict::Healthy
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.verdict.as_str(), self.because, self.next)
    }
}
