//! Why a name has no address.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use buttress_core::{BoxError, InvalidRequest, TimedOut, cause};

/// Why a name could not be resolved.
///
/// It is cheap to clone, because every caller that waited for the same answer gets one. It is found
/// in a client's error with [`cause`](buttress_core::cause). Kinds that the same request would meet
/// again have an [`InvalidRequest`] as their source, so that an outer retry leaves them alone.
///
/// ```
/// use buttress_dns::{DnsError, DnsErrorKind};
/// use std::time::Duration;
///
/// let error = DnsError::new(DnsErrorKind::NxDomain)
///     .of_name("nowhere.example")
///     .valid_for(Duration::from_secs(30));
/// assert_eq!(error.to_string(), "the name `nowhere.example` does not exist");
/// assert_eq!(error.rcode(), Some(3));
/// assert!(!error.kind().may_pass());
/// ```
#[derive(Clone, Debug)]
pub struct DnsError {
    kind: DnsErrorKind,
    rcode: Option<u16>,
    ttl: Option<Duration>,
    name: Option<Arc<str>>,
    reason: Option<Arc<str>>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What kept a name from being resolved.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsErrorKind {
    /// It is no name that could be asked for; nothing was.
    InvalidName,
    /// The name does not exist (`NXDOMAIN`).
    NxDomain,
    /// The name exists and has no address (`NODATA`).
    NoData,
    /// Every address is one that the guard keeps away from.
    Denied,
    /// The server could not find out (`SERVFAIL`).
    ServFail,
    /// The server does not want to answer (`REFUSED`).
    Refused,
    /// The server answered with some other response code.
    Rcode,
    /// No answer came in time.
    Timeout,
    /// The answer made no sense.
    Malformed,
    /// The server could not be reached, or the connection to it broke.
    Io,
    /// The server could not prove who it is.
    Tls,
    /// Too many lookups are under way.
    Busy,
    /// The lookup was given up: its runtime or the last handle is gone.
    Cancelled,
}

impl DnsErrorKind {
    /// Whether it says nothing about the name, so that an answer known from earlier is better.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        !matches!(self, Self::InvalidName | Self::NxDomain | Self::NoData | Self::Denied)
    }

    /// A short name for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidName => "invalid_name",
            Self::NxDomain => "nxdomain",
            Self::NoData => "nodata",
            Self::Denied => "denied",
            Self::ServFail => "servfail",
            Self::Refused => "refused",
            Self::Rcode => "rcode",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::Io => "io",
            Self::Tls => "tls",
            Self::Busy => "busy",
            Self::Cancelled => "cancelled",
        }
    }

    const fn says(self) -> &'static str {
        match self {
            Self::InvalidName => "cannot be looked up",
            Self::NxDomain => "does not exist",
            Self::NoData => "has no address",
            Self::Denied => "has only addresses that are not allowed",
            Self::ServFail => "could not be resolved by the name server",
            Self::Refused => "was refused by the name server",
            Self::Rcode => "met an error of the name server",
            Self::Timeout => "got no answer in time",
            Self::Malformed => "got an answer that makes no sense",
            Self::Io => "could not be asked for: the name server cannot be reached",
            Self::Tls => "could not be asked for: the name server did not prove who it is",
            Self::Busy => "was not asked for: too many lookups are under way",
            Self::Cancelled => "is no longer asked for",
        }
    }

    const fn rcode(self) -> Option<u16> {
        match self {
            Self::NoData => Some(0),
            Self::ServFail => Some(2),
            Self::NxDomain => Some(3),
            Self::Refused => Some(5),
            _ => None,
        }
    }
}

impl fmt::Display for DnsErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl DnsError {
    /// An error of this kind, of no name yet. The response code is that of the kind.
    #[must_use]
    pub fn new(kind: DnsErrorKind) -> Self {
        let source: Option<Arc<dyn Error + Send + Sync>> = if kind.may_pass() {
            None
        } else {
            Some(Arc::new(InvalidRequest::new("no request can be sent to this host")))
        };
        Self { kind, rcode: kind.rcode(), ttl: None, name: None, reason: None, source }
    }

    /// Says which name it is about. What was said before stays.
    #[must_use]
    pub fn of_name(mut self, name: impl Into<Arc<str>>) -> Self {
        if self.name.is_none() {
            self.name = Some(name.into());
        }
        self
    }

    /// Says what is the matter, in words that end the sentence.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Arc<str>>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The response code of the message that said so.
    #[must_use]
    pub const fn with_rcode(mut self, rcode: u16) -> Self {
        self.rcode = Some(rcode);
        self
    }

    /// For how long it holds (RFC 2308: the lesser of the SOA record's TTL and its `MINIMUM`).
    #[must_use]
    pub const fn valid_for(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// What was below.
    #[must_use]
    pub fn from_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What kept the name from being resolved.
    #[must_use]
    pub const fn kind(&self) -> DnsErrorKind {
        self.kind
    }

    /// The response code, if a server answered.
    #[must_use]
    pub const fn rcode(&self) -> Option<u16> {
        self.rcode
    }

    /// For how long the server said that it holds.
    #[must_use]
    pub const fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// The name that was looked up, if it is known.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Makes the error of a resolver ours: what is a [`DnsError`] already stays what it is.
    #[must_use]
    pub fn from_resolver(error: impl Into<BoxError>) -> Self {
        let error = error.into();
        match cause::<Self>(&*error) {
            Some(ours) => ours.clone(),
            None => Self::new(kind_of(&*error)).from_source(error),
        }
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "the name `{}` {}", name.escape_default(), self.kind.says())?,
            None => write!(f, "the name {}", self.kind.says())?,
        }
        match (&self.reason, self.kind, self.rcode) {
            (Some(reason), ..) => write!(f, ": {reason}"),
            (None, DnsErrorKind::Rcode, Some(rcode)) => write!(f, ": response code {rcode}"),
            _ => Ok(()),
        }
    }
}

impl Error for DnsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// What a resolver that knows no kinds most likely met.
fn kind_of(error: &(dyn Error + 'static)) -> DnsErrorKind {
    if cause::<TimedOut>(error).is_some() {
        return DnsErrorKind::Timeout;
    }
    match cause::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::TimedOut) => DnsErrorKind::Timeout,
        Some(io::ErrorKind::InvalidInput) => DnsErrorKind::InvalidName,
        _ => DnsErrorKind::Io,
    }
}

#[cfg(test)]
mod tests {
    use buttress_core::{Outcome, Phase};

    use super::*;

    #[test]
    fn a_name_that_does_not_exist_is_not_worth_a_retry() {
        let of = |kind| Outcome::of_error(&DnsError::new(kind));
        assert_eq!(of(DnsErrorKind::NxDomain), Outcome::Rejected);
        assert_eq!(of(DnsErrorKind::Denied), Outcome::Rejected);
        assert_eq!(of(DnsErrorKind::ServFail), Outcome::Transient);
    }

    #[test]
    fn an_error_of_ours_inside_another_keeps_what_it_says() {
        let ours = DnsError::new(DnsErrorKind::Refused).valid_for(Duration::from_secs(7));
        let error = DnsError::from_resolver(io::Error::other(ours));
        assert_eq!(error.kind(), DnsErrorKind::Refused);
        assert_eq!((error.rcode(), error.ttl()), (Some(5), Some(Duration::from_secs(7))));
    }

    #[test]
    fn the_errors_of_plain_resolvers_are_told_apart() {
        let kind = |error: BoxError| DnsError::from_resolver(error).kind();
        let late = TimedOut::new(Phase::Attempt, Duration::from_secs(1));
        assert_eq!(kind(late.into()), DnsErrorKind::Timeout);
        assert_eq!(kind(io::Error::from(io::ErrorKind::TimedOut).into()), DnsErrorKind::Timeout);
        assert_eq!(kind("failed to lookup address information".into()), DnsErrorKind::Io);
    }

    #[test]
    fn what_came_from_outside_is_escaped_in_the_message() {
        let error = DnsError::new(DnsErrorKind::InvalidName).of_name("a\nb").because("it is so");
        assert_eq!(error.to_string(), "the name `a\\nb` cannot be looked up: it is so");
    }
}
