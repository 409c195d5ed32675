//! A retry that goes to another endpoint need not wait.

use std::time::Duration;

use buttress_balance::{EndpointSet, EndpointStatus, State};
use buttress_core::{Attempts, BoxError, Deadline, Outcome};
use buttress_retry::{Delay, Ending, Next, Policy, Resend, Resent, Retired, Verdict};

use super::ClientPolicy;

/// A retry policy that does as `P` says, but at once while an endpoint that this request has not
/// met has a place free: the wait is there to spare the one that failed, and the balancer does not
/// go back to that one. It does so too where the balancer keeps the call's [turn](buttress_core::Turn), as it does
/// where a call may [revisit](buttress_balance::NextUpstream::revisit) those that refused it.
///
/// ```
/// use buttress::{Client, Endpoint, EndpointSet, RetryLayer, client::Elsewhere};
///
/// # fn main() -> Result<(), buttress::BoxError> {
/// let set = EndpointSet::new([
///     Endpoint::new("http://10.0.0.1:8080")?,
///     Endpoint::new("http://10.0.0.2:8080")?,
/// ])?;
/// let retry = RetryLayer::llm().map_policy(|policy| Elsewhere::new(policy, set.clone()));
/// let client = Client::builder().retry(retry).endpoints(set).build()?;
/// # drop(client);
/// # Ok(())
/// # }
/// ```
///
/// The balancer goes on to the next endpoint by itself where it may: for idempotent requests whose
/// body is in memory. This is for the others that may go again, such as a `POST` to an LLM API
/// that was refused with 503, and for bodies that are streams. An endpoint that asks for longer than
/// a call waits ends the call only if no other is free. Attempts, budget and deadline count
/// as for any retry; the backoff begins when every endpoint was met and no turn is kept.
#[derive(Clone, Debug)]
pub struct Elsewhere<P> {
    policy: P,
    set: EndpointSet,
}

impl<P> Elsewhere<P> {
    /// Retries as `policy` says, over the endpoints of `set`.
    pub const fn new(policy: P, set: EndpointSet) -> Self {
        Self { policy, set }
    }

    fn is_possible(&self, met: &Attempts) -> bool {
        self.set.snapshot().iter().any(|other| is_free(other) && !met.has_tried(other.id.number()))
    }
}

fn is_free(endpoint: &EndpointStatus) -> bool {
    endpoint.state == State::InUse
        && endpoint.weight > 0
        && endpoint.max_in_flight.is_none_or(|most| endpoint.in_flight < most)
}

impl<Req, P: Resend<Req>> Resend<Req> for Elsewhere<P> {
    type Sent = P::Sent;
    type Backup = P::Backup;

    fn begin(&self, request: Req, again: bool) -> (Self::Sent, Result<Self::Backup, Ending>) {
        self.policy.begin(request, again)
    }

    fn resend(&self, backup: Self::Backup, next: &Next) -> Resent<Self::Sent, Self::Backup> {
        self.policy.resend(backup, next)
    }

    fn deadline(&self, request: &Req) -> Option<Deadline> {
        self.policy.deadline(request)
    }

    fn scope<'a>(&self, request: &'a Req) -> Option<&'a [u8]> {
        self.policy.scope(request)
    }
}

impl<Req, Res, P: Policy<Req, Res>> Policy<Req, Res> for Elsewhere<P> {
    type Discard = P::Discard;

    fn outcome(&self, result: &Result<Res, BoxError>) -> Outcome {
        self.policy.outcome(result)
    }

    fn judge(
        &self,
        backup: &Self::Backup,
        outcome: Outcome,
        result: &Result<Res, BoxError>,
    ) -> Verdict {
        let verdict = self.policy.judge(backup, outcome, result);
        let met = self.counted(result);
        let goes_at_once = met.is_some_and(|met| match verdict {
            Verdict::Retry(_) => met.turn().is_some() || self.is_possible(&met),
            // However long one is to be left alone, the others are there.
            Verdict::Return(Ending::ServerDelayTooLong) => self.is_possible(&met),
            _ => false,
        });
        if goes_at_once { Verdict::Retry(Delay::Pushback(Duration::ZERO)) } else { verdict }
    }

    fn retire(&self, response: Res) -> Retired<Res, Self::Discard> {
        self.policy.retire(response)
    }

    fn counted(&self, result: &Result<Res, BoxError>) -> Option<Attempts> {
        self.policy.counted(result)
    }

    fn note(&self, response: &mut Res, attempts: &Attempts) {
        self.policy.note(response, attempts);
    }
}

impl<P: ClientPolicy> ClientPolicy for Elsewhere<P> {
    type Policy = Elsewhere<P::Policy>;

    fn client_policy(self) -> Self::Policy {
        Elsewhere { policy: self.policy.client_policy(), set: self.set }
    }
}
