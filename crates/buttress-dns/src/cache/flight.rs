//! One question to the resolver, asked for all who wait and for the cache.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::{
    entry::{Entry, Lesson},
    half::Word,
    sides::Sides,
};
use crate::{
    DnsError, DnsErrorKind, Family, Fetched, Learned, Observer, Records, clock::Moment, core::Core,
};

/// The families that are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

impl Want {
    pub(crate) const BOTH: Self = Self { v4: true, v6: true };

    pub(crate) const fn is_nothing(self) -> bool {
        !self.v4 && !self.v6
    }

    pub(super) fn families(self) -> impl Iterator<Item = Family> {
        let v4 = self.v4.then_some(Family::V4);
        v4.into_iter().chain(self.v6.then_some(Family::V6))
    }

    const fn has(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    const fn without(self, family: Family) -> Self {
        match family {
            Family::V4 => Self { v4: false, ..self },
            Family::V6 => Self { v6: false, ..self },
        }
    }
}

/// A question under way. However it ends, it is no longer under way then: a runtime that is shut
/// down drops it.
#[derive(Debug)]
pub(crate) struct Flight<O: Observer> {
    core: Arc<Core<O>>,
    entry: Arc<Entry>,
    /// What has not come yet.
    want: Want,
    id: u64,
    ahead: bool,
    begun: Moment,
    _place: OwnedSemaphorePermit,
}

impl<O: Observer> Flight<O> {
    /// Takes on those of the wanted families that are due; none if there are none.
    pub(crate) fn begin(
        core: &Arc<Core<O>>,
        entry: &Arc<Entry>,
        want: Want,
        ahead: bool,
        place: OwnedSemaphorePermit,
    ) -> Option<Self> {
        let (id, begun) = (core.next_id(), core.now());
        let want = entry.depart(want, id, begun, core.lost());
        if want.is_nothing() {
            return None;
        }
        let (core, entry) = (Arc::clone(core), Arc::clone(entry));
        Some(Self { core, entry, want, id, ahead, begun, _place: place })
    }

    /// Asks, and puts what comes where callers find it.
    pub(crate) async fn run(mut self) {
        let end = Instant::now() + self.core.lookup_timeout;
        let question = self.entry.name().clone();
        let answer = match timeout_at(end, self.core.ask(&question)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return self.fail(&error),
            Err(_) => return self.fail(&self.late()),
        };
        let (want, entry) = (self.want, &self.entry);
        // What is there anyway and nobody asks for is taken along.
        let wanted = |family, side: &crate::Side| {
            want.has(family) || (side.is_here() && entry.is_idle(family))
        };
        let mut sides = Sides::new(answer, wanted);
        let mut held = Vec::new();
        let mut until = end;
        loop {
            match timeout_at(until, sides.next()).await {
                Ok(Some((family, learned))) => {
                    let first = held.is_empty();
                    let waits = settles(&learned) || sides.has_more();
                    held.push((family, learned));
                    if first && waits && sides.missing().next().is_some() {
                        until = end.min(Instant::now() + self.core.resolution_delay);
                        continue;
                    }
                }
                Ok(None) => break,
                Err(_) if held.is_empty() => {
                    held.extend(sides.missing().map(|family| (family, Err(self.late()))));
                    self.publish(held);
                    break;
                }
                Err(_) => {}
            }
            until = end;
            self.publish(std::mem::take(&mut held));
        }
    }

    fn late(&self) -> DnsError {
        let limit = self.core.lookup_timeout;
        DnsError::new(DnsErrorKind::Timeout).because(format!("the resolver had {limit:?}"))
    }

    fn fail(&mut self, error: &DnsError) {
        let failed = |family| (family, Err(error.clone()));
        self.publish(self.want.families().map(failed).collect());
    }

    /// Writes down what came, and wakes whoever waits for it.
    fn publish(&mut self, came: Vec<(Family, Learned)>) {
        let (core, begun) = (&self.core, self.begun);
        let now = core.now();
        for (family, learned) in &came {
            core.observer.learned(&Fetched {
                name: self.entry.name().as_str(),
                family: *family,
                duration: now.since(begun),
                addresses: learned.as_ref().map_or(0, |records| records.addresses().len()),
                error: learned.as_ref().err(),
                ahead: self.ahead,
            });
        }
        let families: Vec<Family> = came.iter().map(|(family, _)| *family).collect();
        let beside = came.iter().find_map(|(_, learned)| addresses_ttl(core, learned));
        let lessons =
            came.into_iter().map(|(family, learned)| self.lesson(family, learned, beside));
        self.entry.learn(lessons.collect(), now, fastrand::f64(), &core.rules);
        for family in families {
            self.entry.land(Want { v4: family == Family::V4, v6: family == Family::V6 }, self.id);
            self.want = self.want.without(family);
        }
    }

    fn lesson(&self, family: Family, learned: Learned, beside: Option<Duration>) -> Lesson {
        let (core, name) = (&self.core, self.entry.name());
        let (word, ttl) = match learned.and_then(|records| core.allowed(name, records)) {
            // A resolver that says nothing of this family says nothing of its TTL either.
            Ok(records) if records.is_empty() => (Word::Nothing, records.ttl().or(beside)),
            Ok(records) => {
                let most = records.addresses().len().min(MOST);
                let ranked = core.arrange.rank(&records.addresses()[..most]);
                (Word::Addresses(ranked.into()), records.ttl())
            }
            Err(error) if error.kind() == DnsErrorKind::NoData => (Word::Nothing, error.ttl()),
            Err(error) => {
                let ttl = error.ttl();
                (Word::Error(error.of_name(name.as_str())), ttl)
            }
        };
        Lesson { family, word, ttl, version: core.next_id() }
    }
}

/// No more addresses of a family than this are kept.
const MOST: usize = 256;

impl<O: Observer> Drop for Flight<O> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Asking again at once would only panic again.
            self.fail(&DnsError::new(DnsErrorKind::Cancelled).because("the resolver panicked"));
        }
        self.entry.land(self.want, self.id);
    }
}

/// Whether a caller could do with this alone.
fn settles(learned: &Learned) -> bool {
    match learned {
        Ok(records) => !records.is_empty(),
        Err(error) => error.kind() == DnsErrorKind::NxDomain,
    }
}

fn addresses_ttl<O: Observer>(core: &Core<O>, learned: &Learned) -> Option<Duration> {
    let found: Option<&Records> = learned.as_ref().ok();
    found.filter(|records| !records.is_empty()).map(|records| core.rules.positive(records.ttl()))
}
