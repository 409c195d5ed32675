//! Who can be chosen, sorted beforehand, so that a choice only looks at those who can.

use crate::{Candidate, Health, Moment, Pick};

/// The endpoints as one balancer sees them between two changes.
#[derive(Debug)]
pub(crate) struct Table<T> {
    pub(crate) version: u64,
    /// All of them.
    pub(crate) members: Vec<Candidate>,
    /// Those that are fit and of the first priority; here, so that a choice finds them at once.
    pub(crate) first: Option<Level<T>>,
    /// Those that are fit, one level for each further priority, the first to be used first; then those
    /// that are spared for some caller's sake.
    pub(crate) further: Vec<Level<T>>,
    /// Those that only their servers' wish keeps out, if there is no level.
    pub(crate) held: Option<Level<T>>,
    /// Those that are out, if nobody is fit or held.
    pub(crate) out: Option<Level<T>>,
}

#[derive(Debug)]
pub(crate) struct Level<T> {
    priority: u8,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) table: T,
    /// Whether anybody has an in-flight limit.
    pub(crate) limited: bool,
    /// Until when somebody is coming to its full share, in milliseconds.
    pub(crate) warm_until: u64,
}

impl<T> Table<T> {
    /// A table that no version fits.
    pub(crate) const fn outdated() -> Self {
        Self {
            version: u64::MAX,
            members: Vec::new(),
            first: None,
            further: Vec::new(),
            held: None,
            out: None,
        }
    }

    pub(crate) fn build<P: Pick<Table = T>>(
        version: u64,
        members: Vec<Candidate>,
        policy: &P,
        health: &Health,
        now: Moment,
    ) -> Self {
        let patience = crate::clock::millis(health.fail_timeout);
        let (mut fit, mut spared) = (Vec::new(), Vec::new());
        let (mut held, mut out) = (Vec::new(), Vec::new());
        for member in members.iter().filter(|member| member.weight() > 0) {
            let node = member.node();
            if let Some(left) = node.health().due_in(now.as_millis(), patience) {
                node.pulse().due_at(now.as_millis().saturating_add(left));
            }
            let list = if node.is_down() || !node.health().in_use() {
                &mut out
            } else if let Some(until) = node.next_end_of_hold(now) {
                node.pulse().due_at(until);
                if node.is_firmly_held(now) { &mut held } else { &mut spared }
            } else {
                &mut fit
            };
            list.push(member.clone());
        }
        fit.sort_by_key(|candidate| candidate.priority);
        let level = |candidates: &[Candidate]| Level::build(candidates, policy, health, now);
        let spared = (!spared.is_empty()).then(|| level(&first_row(spared)));
        let priorities = fit.chunk_by(|one, next| one.priority == next.priority);
        let mut levels = priorities.map(level).chain(spared);
        let first = levels.next();
        let further = levels.collect();
        let none_fit = first.is_none();
        let held = (none_fit && !held.is_empty()).then(|| level(&first_row(held)));
        let out = (none_fit && held.is_none() && !out.is_empty()).then(|| level(&first_row(out)));
        Self { version, members, first, further, held, out }
    }

    /// The levels, in the order of their use.
    pub(crate) fn levels(&self) -> impl Iterator<Item = &Level<T>> {
        self.first.iter().chain(&self.further)
    }

    /// All that are fit or spared.
    pub(crate) fn fit(&self) -> impl Iterator<Item = &Candidate> {
        self.levels().flat_map(|level| &level.candidates)
    }

    /// The priority that is in use.
    pub(crate) fn row(&self) -> Option<u8> {
        self.first.as_ref().map(|level| level.priority)
    }

    /// Whether someone who is fit can take a call.
    pub(crate) fn has_room(&self) -> bool {
        self.fit().any(|candidate| !candidate.node().is_full())
    }

    pub(crate) const fn is_panic(&self) -> bool {
        self.out.is_some()
    }
}

/// Those of the first priority.
fn first_row(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    let first = candidates.iter().map(|candidate| candidate.priority).min();
    candidates.retain(|candidate| Some(candidate.priority) == first);
    candidates
}

impl<T> Level<T> {
    /// `candidates` has at least one.
    fn build<P: Pick<Table = T>>(
        candidates: &[Candidate],
        policy: &P,
        health: &Health,
        now: Moment,
    ) -> Self {
        let slow_start = crate::clock::millis(health.slow_start);
        let warming = candidates.iter().any(|c| c.node().warmth(now, slow_start) < 1.0);
        Self {
            priority: candidates.first().map_or(0, |candidate| candidate.priority),
            table: policy.table(candidates),
            limited: candidates.iter().any(|candidate| candidate.node().is_limited()),
            warm_until: if warming { now.as_millis().saturating_add(slow_start) } else { 0 },
            candidates: candidates.to_vec(),
        }
    }
}
