//! Who chooses the server of a call.

use std::time::Duration;

use buttress_balance::{
    Ask, Balancer, Endpoint, EndpointId, EndpointSet, Health, Lease, Moment, Observation, Pick,
    State, Verdict,
};
use buttress_core::Attempts;

/// One client: it sees its own calls only.
pub(crate) trait Client {
    /// A call's place at a server.
    type Place;

    /// Chooses a server that was not tried for this call, by its number; `None` if it has none.
    fn send(&mut self, tried: Option<&Attempts>, now: Moment) -> Option<(usize, Self::Place)>;

    /// Hears how it ended.
    fn settle(&mut self, place: Self::Place, ended: Ended, took: Duration, now: Moment);

    /// How many servers it leaves out.
    fn ejected(&self, now: Moment) -> usize;
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Answered,
    /// With a 503.
    Failed,
    GivenUp,
}

/// A client with this crate's balancer.
pub(crate) struct Ours<P: Pick> {
    balancer: Balancer<P>,
    servers: Vec<EndpointId>,
}

impl<P: Pick> Ours<P> {
    pub(crate) fn new(servers: usize, policy: P, health: Health, seed: u64) -> Self {
        let endpoints = (0..servers).map(|server| {
            match Endpoint::new(format!("http://server-{server:03}.example")) {
                Ok(endpoint) => endpoint,
                Err(error) => unreachable!("the address is well formed: {error}"),
            }
        });
        let set = match EndpointSet::new(endpoints) {
            Ok(set) => set,
            Err(error) => unreachable!("the endpoints are distinct: {error}"),
        };
        let servers = set.candidates().iter().map(buttress_balance::Candidate::id).collect();
        Self { balancer: Balancer::new(set, policy, health).seeded(seed), servers }
    }
}

impl<P: Pick> Client for Ours<P> {
    type Place = Lease;

    fn send(&mut self, tried: Option<&Attempts>, now: Moment) -> Option<(usize, Lease)> {
        let ask = tried.map_or_else(Ask::new, |tried| Ask::new().tried(tried));
        let lease = self.balancer.lease(&ask, now).ok()?;
        if let Some(tried) = tried {
            tried.note_endpoint(lease.id().number());
        }
        let server = self.servers.iter().position(|id| *id == lease.id())?;
        Some((server, lease))
    }

    fn settle(&mut self, mut lease: Lease, ended: Ended, took: Duration, now: Moment) {
        let verdict = if ended == Ended::Answered { Verdict::Success } else { Verdict::Failure };
        self.balancer.observe(&mut lease, &Observation::new(verdict).latency(took), now);
    }

    fn ejected(&self, _: Moment) -> usize {
        let servers = self.balancer.set().snapshot();
        servers.iter().filter(|server| server.state != State::InUse).count()
    }
}
