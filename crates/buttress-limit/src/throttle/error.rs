//! Why a call was not sent.

use std::{error::Error, fmt, io, time::Duration};

use http::StatusCode;

use crate::overload::Refusal;

/// A call was not sent, because the other side mostly says that it is busy.
///
/// It is found with [`cause`](buttress_core::cause). Its source tells an outer retry that nothing
/// was sent, so that trying again costs none of its budget.
#[derive(Debug)]
pub struct Throttled {
    share: f64,
    retry_after: Duration,
    source: io::Error,
}

impl Throttled {
    pub(crate) fn new(share: f64, retry_after: Duration) -> Self {
        Self { share, retry_after, source: io::ErrorKind::ConnectionRefused.into() }
    }

    /// Which share of calls is not sent at present, from 0 to 1.
    #[must_use]
    pub const fn share(&self) -> f64 {
        self.share
    }

    /// When to come back: what the other side asked for last, or the time to the next call that is
    /// let through whatever it says.
    #[must_use]
    pub const fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// The status by which a gateway says it: 503.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

impl fmt::Display for Throttled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not sent: the other side mostly says that it is busy")
    }
}

impl Error for Throttled {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// The type is the one that the draft of the `RateLimit` header fields registers for lack of
/// capacity.
const PROBLEM: &str = concat!(
    r#"{"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity","#,
    r#""title":"upstream is busy","status":503,"#,
    r#""detail":"the upstream mostly says that it is busy, and is spared; try again shortly","#,
    r#""violated-policies":["throttle"]}"#,
);

impl From<&Throttled> for Refusal {
    fn from(refused: &Throttled) -> Self {
        Self {
            status: refused.status(),
            retry_after: refused.retry_after,
            title: "upstream is busy",
            problem: PROBLEM,
        }
    }
}
