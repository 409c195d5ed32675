//! What goes on to the next endpoint.

use std::{num::NonZeroU32, time::Duration};

use buttress_core::{CloneBody, Outcome, SettingError};
use http::{HeaderName, Method, Request, StatusCode, header::UPGRADE};

/// What an attempt may come to so that the call goes on to the next endpoint; nginx's
/// `proxy_next_upstream`.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// The connection broke.
    Error,
    /// No answer came in time.
    Timeout,
    /// The endpoint answered with this status.
    Status(StatusCode),
}

/// When a call goes on to the next endpoint, how often and for how long.
///
/// Whatever was not sent (no connection, a refused stream) goes on, any method. What may have been
/// sent goes on only if it is idempotent: the methods of RFC 9110 section 9.2.2, and requests
/// with an `Idempotency-Key`. The body must be one that can be had again
/// ([`CloneBody`]). `CONNECT` and upgrades never go on.
///
/// No endpoint is tried twice by this layer, and when there is no other one the last answer is
/// returned. While the others have as many calls in flight as they may have, the call waits
/// [in line](crate::BalanceLayer::queue), before the calls that began after it, and its last answer is
/// returned if that takes too long. (Where a retry outside counts attempts along, [`Attempts`](buttress_core::Attempts)
/// remembers 64 endpoints for both.) To go back to those that were tried is [`revisit`](Self::revisit).
#[must_use]
#[derive(Clone, Debug)]
pub struct NextUpstream {
    error: bool,
    timeout: bool,
    statuses: Vec<StatusCode>,
    tries: NonZeroU32,
    within: Option<Duration>,
    non_idempotent: bool,
    revisit: bool,
}

/// As many endpoints as [`Attempts`](buttress_core::Attempts) remembers.
const MOST_TRIES: u32 = 64;

impl Default for NextUpstream {
    fn default() -> Self {
        Self::on([
            On::Error,
            On::Timeout,
            On::Status(StatusCode::BAD_GATEWAY),
            On::Status(StatusCode::SERVICE_UNAVAILABLE),
            On::Status(StatusCode::GATEWAY_TIMEOUT),
        ])
    }
}

impl NextUpstream {
    /// Goes on after these. Default: errors, timeouts, 502, 503, 504.
    ///
    /// A status below 400 is an answer, which never goes on: naming one has no effect.
    pub fn on(failures: impl IntoIterator<Item = On>) -> Self {
        const THREE: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
        let mut next = Self {
            error: false,
            timeout: false,
            statuses: Vec::new(),
            tries: THREE,
            within: None,
            non_idempotent: false,
            revisit: false,
        };
        for failure in failures {
            match failure {
                On::Error => next.error = true,
                On::Timeout => next.timeout = true,
                On::Status(status) if status.as_u16() < 400 => {}
                On::Status(status) => next.statuses.push(status),
            }
        }
        next
    }

    /// How many endpoints a call is sent to at most, the first included; with [`revisit`](Self::revisit), how
    /// often it is sent. Default: 3.
    ///
    /// # Errors
    ///
    /// If it is 0, or above 64: no more endpoints than that are remembered as tried.
    pub fn tries(mut self, tries: u32) -> Result<Self, SettingError> {
        let refused = |reason: String| SettingError::new("balance.tries", reason);
        if tries > MOST_TRIES {
            return Err(refused(format!("{tries}, above {MOST_TRIES}")));
        }
        let none = || refused("0, but the first one counts: at least 1".to_owned());
        self.tries = NonZeroU32::new(tries).ok_or_else(none)?;
        Ok(self)
    }

    /// How long after its start a call may still go on. Default: no limit.
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    /// Lets requests go on that are not idempotent. Only where doing it twice does no harm.
    pub const fn non_idempotent(mut self) -> Self {
        self.non_idempotent = true;
        self
    }

    /// Lets a call go back to endpoints that it has tried, if the last one said when to come back
    /// (`Retry-After` and its relatives). Default: no endpoint is tried twice.
    ///
    /// Where a retry outside would sleep through what comes free, the call waits
    /// [in line](crate::BalanceLayer::queue), before those that began later. To where it was refused it
    /// may go again after the time that the last server asked for, of which no more than
    /// [`Health::max_hold`](crate::Health::max_hold) is heeded; before that to one that answers most of its
    /// calls and is not spared, while those that it has not tried are full. Its last try it keeps until
    /// one of them answers most of its calls, or until all of the time that was asked for is over.
    /// Nothing is revisited with [`Health::ignore_retry_after`](crate::Health::ignore_retry_after), nor when a hint
    /// is longer than the call may wait.
    ///
    /// A request whose body is a stream only a retry outside can send again. The call keeps its
    /// [turn](buttress_core::Turn) then: sent again at once, it waits in line in the same way. With one
    /// [try](Self::tries) there is none.
    pub const fn revisit(mut self) -> Self {
        self.revisit = true;
        self
    }

    pub(crate) const fn revisits(&self) -> bool {
        self.revisit
    }

    pub(crate) const fn most(&self) -> u32 {
        self.tries.get()
    }

    pub(crate) const fn time(&self) -> Option<Duration> {
        self.within
    }

    pub(crate) fn in_time(&self, gone: Duration) -> bool {
        self.within.is_none_or(|within| gone < within)
    }

    /// Whether a request may be sent twice.
    pub(crate) fn repeatable(&self, method: &Method, keyed: impl FnOnce() -> bool) -> bool {
        self.non_idempotent || method.is_idempotent() || keyed()
    }

    /// Whether a call goes on; `status` is that of its answer, if it has one.
    pub(crate) fn goes_on(
        &self,
        outcome: Outcome,
        status: Option<StatusCode>,
        repeatable: bool,
    ) -> bool {
        match (outcome, status) {
            (Outcome::NotSent, None) => true,
            (_, Some(status)) => repeatable && self.statuses.contains(&status),
            (Outcome::Timeout, None) => repeatable && self.timeout,
            (Outcome::Transient | Outcome::Overloaded, None) => repeatable && self.error,
            _ => false,
        }
    }
}

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whether the client lets the server recognise a repeated request
/// (draft-ietf-httpapi-idempotency-key-header).
pub(crate) fn has_idempotency_key<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(&IDEMPOTENCY_KEY)
}

/// Whether the request asks for something that is no plain exchange of messages (RFC 9110
/// sections 7.8 and 9.3.6).
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    *request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE)
}

/// How a request body of type `B` gets to the next endpoint: [`CloneBodies`] or [`Once`].
pub trait Bodies<B> {
    /// The same body again, if it can be had.
    fn copy(&self, body: &B) -> Option<B>;
}

/// Clones the body: for `Full`, `Empty`, `String` and other bodies in memory. The default.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneBodies;

impl<B: CloneBody> Bodies<B> for CloneBodies {
    fn copy(&self, body: &B) -> Option<B> {
        body.try_clone()
    }
}

/// Sends every request once, whatever its body:
/// [`BalanceLayer::without_failover`](crate::BalanceLayer::without_failover).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct Once;

impl<B> Bodies<B> for Once {
    fn copy(&self, _: &B) -> Option<B> {
        None
    }
}
