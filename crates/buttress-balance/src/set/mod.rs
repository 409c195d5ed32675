//! The set of endpoints: a handle that is edited while calls go on.

mod event;
mod status;
mod watch;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use buttress_core::SettingError;

pub use self::{
    event::{Event, Events},
    status::{EndpointStatus, State},
    watch::Watching,
};
use crate::{
    Candidate, Endpoint, EndpointId, Moment,
    clock::Clock,
    endpoint::MAX_WEIGHT,
    node::{Node, Pulse},
};

/// The endpoints that calls are spread over.
///
/// A handle: clones are the same set. Health, statistics and calls in flight belong to the set, so
/// several layers over it see the same endpoints in the same state.
///
/// ```
/// use buttress_balance::{Endpoint, EndpointSet};
///
/// # fn main() -> Result<(), buttress_balance::SettingError> {
/// let set = EndpointSet::new([
///     Endpoint::new("http://10.0.0.1:8080")?.weight(5)?,
///     Endpoint::new("http://10.0.0.2:8080")?,
///     Endpoint::new("http://10.9.0.1:8080")?.backup(),
/// ])?;
/// let spare = set.insert(Endpoint::new("http://10.0.0.3:8080")?);
/// assert!(set.remove(spare));
/// assert_eq!(set.snapshot().len(), 3);
/// # Ok(())
/// # }
/// ```
///
/// A removed endpoint takes no further call as soon as [`remove`](Self::remove) returns; those in
/// flight finish. If it is added again, it begins afresh, however many of them there are.
#[derive(Clone, Debug)]
pub struct EndpointSet(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    clock: Clock,
    pub(crate) pulse: Arc<Pulse>,
    members: Mutex<Vec<Member>>,
}

/// One count for all sets, so that [`Attempts`](buttress_core::Attempts) which meet several of them tell
/// their endpoints apart.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// An endpoint's place in the set.
#[derive(Clone, Debug)]
struct Member {
    /// As it was last told, but for a weight that was set by hand.
    endpoint: Endpoint,
    /// The weight that it was told with.
    told_weight: u32,
    node: Arc<Node>,
    draining: bool,
}

/// Who tells of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The user, who may take back what was done by hand.
    Hand,
    /// A feed, which knows nothing of that.
    Feed,
}

impl Member {
    fn candidate(&self) -> Candidate {
        let weight = if self.draining { 0 } else { self.endpoint.weight };
        Candidate::new(Arc::clone(&self.node), weight, self.endpoint.priority)
    }

    /// The endpoint is named again, maybe with other properties.
    fn tell(&mut self, mut endpoint: Endpoint, source: Source) {
        let told_weight = endpoint.weight;
        match source {
            Source::Hand => self.draining = false,
            Source::Feed if told_weight == self.told_weight => {
                endpoint.weight = self.endpoint.weight;
            }
            Source::Feed => {}
        }
        self.node.set_own_limit(endpoint.max_in_flight);
        self.told_weight = told_weight;
        self.endpoint = endpoint;
    }
}

impl EndpointSet {
    /// A set of these endpoints.
    ///
    /// # Errors
    ///
    /// If there are none, or the same one twice, or if all weights are 0.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Result<Self, SettingError> {
        let endpoints: Vec<_> = endpoints.into_iter().collect();
        check(&endpoints)?;
        let set = Self::empty();
        set.apply(endpoints, Source::Hand);
        Ok(set)
    }

    /// A set without endpoints, to be filled later. Calls wait in line for the first one, or fail.
    #[must_use]
    pub fn empty() -> Self {
        Self(Arc::new(Shared {
            clock: Clock::start(),
            pulse: Arc::new(Pulse::new()),
            members: Mutex::new(Vec::new()),
        }))
    }

    /// Adds an endpoint, or changes the weight, priority, zone and limit of the one that is there
    /// already; that one keeps its statistics, and takes calls again if it was draining.
    ///
    /// A changed zone shows in [`snapshot`](Self::snapshot); policies, observers and
    /// [`Served`](crate::Served) have the endpoint as it was first added.
    pub fn insert(&self, endpoint: Endpoint) -> EndpointId {
        self.insert_from(endpoint, Source::Hand)
    }

    fn insert_from(&self, endpoint: Endpoint, source: Source) -> EndpointId {
        let mut members = self.members();
        let slowly = !members.is_empty();
        let id = self.put(&mut members, endpoint, source, slowly);
        drop(members);
        self.0.pulse.changed();
        id
    }

    /// Takes an endpoint out; calls in flight finish. Whether it was there.
    #[expect(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn remove(&self, id: EndpointId) -> bool {
        let mut members = self.members();
        let before = members.len();
        members.retain(|member| member.node.id != id);
        let removed = members.len() < before;
        drop(members);
        if removed {
            self.0.pulse.changed();
            self.0.pulse.tell(|| Event::Removed { id });
        }
        removed
    }

    /// Sends no further calls to an endpoint but leaves it in the set, so that it can be watched
    /// until its last call ends. Whether it is there. [`insert`](Self::insert) and
    /// [`replace_all`](Self::replace_all) take it back; a feed that names it again does not.
    #[expect(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn drain(&self, id: EndpointId) -> bool {
        self.edit(id, |member| member.draining = true)
    }

    /// Changes an endpoint's weight; 0 sends no further calls. Whether it is there. It stays until the
    /// endpoint is [inserted](Self::insert) anew, or a feed names another weight than before.
    ///
    /// # Errors
    ///
    /// If the weight is above [`MAX_WEIGHT`].
    pub fn set_weight(&self, id: EndpointId, weight: u32) -> Result<bool, SettingError> {
        if weight > MAX_WEIGHT {
            let reason = format!("{weight}, above the largest of {MAX_WEIGHT}");
            return Err(SettingError::new("endpoint.weight", reason));
        }
        Ok(self.edit(id, |member| member.endpoint.weight = weight))
    }

    /// Makes these the endpoints, and no others. Those that stay keep their statistics, whatever
    /// the order, and are changed as by [`insert`](Self::insert).
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); the set is left as it was.
    pub fn replace_all(
        &self,
        endpoints: impl IntoIterator<Item = Endpoint>,
    ) -> Result<(), SettingError> {
        let endpoints: Vec<_> = endpoints.into_iter().collect();
        check(&endpoints)?;
        self.apply(endpoints, Source::Hand);
        Ok(())
    }

    /// The same for the answer of a feed, which may name an endpoint twice.
    fn follow(&self, mut endpoints: Vec<Endpoint>) -> Result<(), SettingError> {
        let mut seen = HashSet::new();
        endpoints.retain(|endpoint| seen.insert(endpoint.key().clone()));
        check(&endpoints)?;
        self.apply(endpoints, Source::Feed);
        Ok(())
    }

    /// The number of the endpoint that is shown by this name, or else has this URI, however it is
    /// written.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<EndpointId> {
        let members = self.members();
        let named = members.iter().find(|member| member.endpoint.shown_as() == name);
        let placed = || {
            let place = Endpoint::new(name).ok()?;
            members.iter().find(|member| member.endpoint.key().is_at(place.key()))
        };
        named.or_else(placed).map(|member| member.node.id)
    }

    /// How many endpoints there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members().is_empty()
    }

    /// The time by tokio's clock, as this set counts it. Needs no runtime.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.0.clock.now()
    }

    /// All endpoints as they are offered for a choice, fit or not: for policies and their tests.
    #[must_use]
    pub fn candidates(&self) -> Vec<Candidate> {
        self.members().iter().map(Member::candidate).collect()
    }

    /// What each endpoint is like now, for people.
    #[must_use]
    pub fn snapshot(&self) -> Vec<EndpointStatus> {
        let now = self.now();
        let of = |member: &Member| {
            EndpointStatus::of(&member.endpoint, &member.node, member.draining, now)
        };
        self.members().iter().map(of).collect()
    }

    /// Tells what happens to the endpoints from now on. A subscriber that is slow loses the oldest
    /// events; calls never wait for it.
    #[must_use]
    pub fn subscribe(&self) -> Events {
        Events::new(self.0.pulse.subscribe())
    }

    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.0.pulse
    }

    pub(crate) fn instant(&self, moment: Moment) -> tokio::time::Instant {
        self.0.clock.instant(moment)
    }

    pub(crate) fn moment(&self, instant: std::time::Instant) -> Moment {
        self.0.clock.moment(instant.into())
    }

    #[cfg(feature = "check")]
    pub(crate) fn downgrade(&self) -> std::sync::Weak<Shared> {
        Arc::downgrade(&self.0)
    }

    #[cfg(feature = "check")]
    pub(crate) fn upgrade(weak: &std::sync::Weak<Shared>) -> Option<Self> {
        weak.upgrade().map(Self)
    }

    /// Puts `endpoints`, which are checked, in the place of the members.
    fn apply(&self, endpoints: Vec<Endpoint>, source: Source) {
        let mut members = self.members();
        // The first endpoints have nobody to leave calls to.
        let slowly = !members.is_empty();
        let keys: HashSet<_> = endpoints.iter().map(|endpoint| endpoint.key().clone()).collect();
        let mut gone = Vec::new();
        members.retain(|member| {
            let stays = keys.contains(member.endpoint.key());
            if !stays {
                gone.push(member.node.id);
            }
            stays
        });
        for endpoint in endpoints {
            self.put(&mut members, endpoint, source, slowly);
        }
        drop(members);
        self.0.pulse.changed();
        for id in gone {
            self.0.pulse.tell(|| Event::Removed { id });
        }
    }

    fn put(
        &self,
        members: &mut Vec<Member>,
        endpoint: Endpoint,
        source: Source,
        slowly: bool,
    ) -> EndpointId {
        let there = members.iter_mut().find(|m| m.endpoint.key() == endpoint.key());
        if let Some(member) = there {
            member.tell(endpoint, source);
            return member.node.id;
        }
        let id = EndpointId::new(NEXT_ID.fetch_add(1, Ordering::Relaxed));
        let now = self.now();
        let node = Node::new(id, endpoint.clone(), Arc::clone(&self.0.pulse), now);
        if slowly {
            node.start_slowly(now);
        }
        self.0.pulse.tell(|| Event::Added { id, name: endpoint.shown_as().into() });
        let told_weight = endpoint.weight;
        members.push(Member { endpoint, told_weight, node: Arc::new(node), draining: false });
        id
    }

    fn edit(&self, id: EndpointId, change: impl FnOnce(&mut Member)) -> bool {
        let mut members = self.members();
        let Some(member) = members.iter_mut().find(|member| member.node.id == id) else {
            return false;
        };
        change(member);
        drop(members);
        self.0.pulse.changed();
        true
    }

    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        // Every edit leaves the list whole.
        self.0.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(endpoints: &[Endpoint]) -> Result<(), SettingError> {
    let refused = |reason: String| Err(SettingError::new("balance.endpoints", reason));
    if endpoints.is_empty() {
        return refused("empty; at least one endpoint belongs in it".to_owned());
    }
    let mut seen = HashSet::new();
    if let Some(twice) = endpoints.iter().find(|endpoint| !seen.insert(endpoint.key())) {
        return refused(format!("with `{twice}` twice"));
    }
    if endpoints.iter().all(|endpoint| endpoint.weight == 0) {
        return refused("without a weight above 0".to_owned());
    }
    Ok(())
}
