//! The choice, the count and the judgement without a protocol or a clock.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use arc_swap::{ArcSwap, Cache};

use crate::{
    Ask, EndpointSet, Health, LearnedLimit, Lease, Moment, Observation, Pick, Unavailable,
    choose::Choice, health::Span, observe::Watch, table::Table,
};

/// A copy of the table that costs one load to keep.
type Cached<P> = Cache<Arc<Tables<P>>, Arc<Table<<P as Pick>::Table>>>;

/// Where the table is found.
type Tables<P> = ArcSwap<Table<<P as Pick>::Table>>;

/// Chooses endpoints, counts what is in flight there, and judges them by what they answer.
///
/// This is the whole of balancing for any protocol: [`BalanceLayer`](crate::BalanceLayer) puts it
/// around HTTP clients. It asks no clock; whoever calls says what time it is
/// ([`EndpointSet::now`]).
///
/// ```
/// use buttress_balance::{Ask, Balancer, Endpoint, EndpointSet, Health, LeastRequest};
/// use buttress_balance::{Observation, Verdict};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let set = EndpointSet::new([Endpoint::new("http://a.example")?])?;
/// let mut balancer = Balancer::new(set.clone(), LeastRequest::new(), Health::new());
///
/// let mut lease = balancer.lease(&Ask::new(), set.now())?;
/// assert_eq!(set.snapshot()[0].in_flight, 1);
/// balancer.observe(&mut lease, &Observation::new(Verdict::Success), set.now());
/// drop(lease);
/// assert_eq!(set.snapshot()[0].in_flight, 0);
/// # Ok(())
/// # }
/// ```
///
/// Clones share everything but the sequence of their random numbers.
pub struct Balancer<P: Pick> {
    core: Arc<Core<P>>,
    cache: Cached<P>,
    seed: u64,
}

pub(crate) struct Core<P: Pick> {
    pub(crate) set: EndpointSet,
    pub(crate) policy: P,
    pub(crate) health: Health,
    pub(crate) span: Span,
    pub(crate) learned: Option<LearnedLimit>,
    pub(crate) table: Arc<Tables<P>>,
    pub(crate) rebuilding: Mutex<()>,
    pub(crate) watch: Option<Watch>,
}

impl<P: Pick> Clone for Balancer<P> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), cache: self.cache.clone(), seed: fastrand::u64(..) }
    }
}

impl<P: Pick> fmt::Debug for Balancer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.fmt(f)
    }
}

impl<P: Pick> fmt::Debug for Core<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer")
            .field("set", &self.set)
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}

impl<P: Pick> Balancer<P> {
    /// Chooses from `set` by `policy`, and judges by `health`.
    #[must_use]
    pub fn new(set: EndpointSet, policy: P, health: Health) -> Self {
        Self::with_limit(set, policy, health, None)
    }

    /// The same with an in-flight limit that is learned for each endpoint.
    #[must_use]
    pub fn with_limit(
        set: EndpointSet,
        policy: P,
        health: Health,
        learned: Option<LearnedLimit>,
    ) -> Self {
        Self::watched(set, policy, health, learned, None)
    }

    pub(crate) fn watched(
        set: EndpointSet,
        policy: P,
        health: Health,
        learned: Option<LearnedLimit>,
        watch: Option<Watch>,
    ) -> Self {
        let span = health.span();
        let table = Arc::new(ArcSwap::from_pointee(Table::outdated()));
        let cache = Cache::new(Arc::clone(&table));
        let rebuilding = Mutex::new(());
        let core = Core { set, policy, health, span, learned, table, rebuilding, watch };
        Self { core: Arc::new(core), cache, seed: fastrand::u64(..) }
    }

    /// Begins the sequence of random numbers anew, for tests and simulations.
    #[must_use]
    pub const fn seeded(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The set that is chosen from.
    #[must_use]
    pub fn set(&self) -> &EndpointSet {
        &self.core.set
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &P {
        &self.core.policy
    }

    /// A place at an endpoint.
    ///
    /// # Errors
    ///
    /// The reason why there is none.
    pub fn lease(&mut self, ask: &Ask<'_>, now: Moment) -> Result<Lease, Unavailable> {
        let core = &*self.core;
        let pulse = core.set.pulse();
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let table = self.cache.load();
        let seed = self.seed;
        if table.version == pulse.version() && !pulse.is_due(now) {
            return Choice { core, table, ask, seed, now }.make();
        }
        match core.catch_up(ask, now) {
            Some(probe) => Ok(probe),
            None => Choice { core, table: self.cache.load(), ask, seed, now }.make(),
        }
    }

    /// Tells what a call came to, once its response's head is there or cannot come any more. Only
    /// the first word counts, save that a call which began well may still turn out to have
    /// [failed](crate::Verdict::Failure).
    pub fn observe(&self, lease: &mut Lease, observation: &Observation, now: Moment) {
        self.core.observe(lease, observation, now);
    }

    pub(crate) const fn core(&self) -> &Arc<Core<P>> {
        &self.core
    }
}

impl<P: Pick> Core<P> {
    pub(crate) const fn set(&self) -> &EndpointSet {
        &self.set
    }
}
