//! How the body of a request gets to the next attempt.

use buttress_retry::{
    BodyMode, CloneBodies, Ending, HttpPolicy, Replay, ReplayBodies, ReplayBody, ReplayLimits,
    Resent,
};

use crate::Body;

/// Sends a [`Body`] again: what is in memory is cloned, a stream is recorded while it is sent.
///
/// It is what [`Setup::retry`](super::Setup::retry) gives to the policies that come with
/// [`RetryLayer`](crate::RetryLayer). For other limits than the default ones of [`ReplayLimits`]:
///
/// ```
/// use buttress::{Client, RetryLayer, client::Bodies, retry::ReplayLimits};
///
/// # fn main() -> Result<(), buttress::BoxError> {
/// let limits = ReplayLimits::new().per_request(1024 * 1024);
/// let layer = RetryLayer::llm().map_policy(|policy| policy.bodies(Bodies::new(limits)));
/// let client = Client::builder().retry(layer).build()?;
/// # drop(client);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Bodies(ReplayLimits);

impl Bodies {
    /// Records streams within `limits`.
    #[must_use]
    pub const fn new(limits: ReplayLimits) -> Self {
        Self(limits)
    }
}

/// What is kept of a body until the call has ended.
#[derive(Debug)]
pub struct Kept(Copy);

#[derive(Debug)]
enum Copy {
    Memory(Body),
    Stream(Replay<Body>),
}

impl BodyMode<Body> for Bodies {
    type Sent = Body;
    type Backup = Kept;

    fn begin(&self, body: Body) -> (Body, Option<Kept>) {
        if let Some(copy) = body.try_clone() {
            return (body, Some(Kept(Copy::Memory(copy))));
        }
        let (body, replay) = ReplayBody::record(body, &self.0);
        (Body::new(body), replay.map(|replay| Kept(Copy::Stream(replay))))
    }

    fn once(&self, body: Body) -> Body {
        body
    }

    fn check(&self, kept: &Kept) -> Result<(), Ending> {
        match &kept.0 {
            Copy::Memory(_) => Ok(()),
            Copy::Stream(replay) => replay.replayable().map_err(|_| Ending::BodyNotReplayable),
        }
    }

    fn again(&self, kept: Kept, last: bool) -> Resent<Body, Kept> {
        match kept.0 {
            Copy::Memory(body) if last => Ok((body, None)),
            Copy::Memory(body) => {
                let copy = body.try_clone().map(|copy| Kept(Copy::Memory(copy)));
                Ok((body, copy))
            }
            Copy::Stream(replay) if last => Ok((Body::new(replay.into_body()?), None)),
            Copy::Stream(replay) => {
                let body = Body::new(replay.body()?);
                Ok((body, Some(Kept(Copy::Stream(replay)))))
            }
        }
    }
}

/// A policy that a client takes: those that come with [`RetryLayer`](crate::RetryLayer).
///
/// One that clones bodies would send streams only once, so that [`Bodies`] takes the place of
/// [`CloneBodies`]; any other choice is left alone.
pub trait ClientPolicy {
    /// What the client uses.
    type Policy;

    /// Makes it.
    fn client_policy(self) -> Self::Policy;
}

impl<K> ClientPolicy for HttpPolicy<CloneBodies, K> {
    type Policy = HttpPolicy<Bodies, K>;

    fn client_policy(self) -> Self::Policy {
        self.bodies(Bodies::default())
    }
}

impl<K> ClientPolicy for HttpPolicy<ReplayBodies, K> {
    type Policy = Self;

    fn client_policy(self) -> Self {
        self
    }
}

impl<K> ClientPolicy for HttpPolicy<Bodies, K> {
    type Policy = Self;

    fn client_policy(self) -> Self {
        self
    }
}
