//! The care for endpoints that are out or held, and for the table that shows who is.

use std::sync::{Arc, PoisonError};

use crate::{
    Ask, Candidate, Event, Lease, Moment, Pick, balancer::Core, clock::millis, lease::Kind,
    table::Table,
};

/// After how many milliseconds it is looked again whether a backup is needed.
const LOOK: u64 = 1_000;

impl<P: Pick> Core<P> {
    /// Brings the table up to date and looks after what is due; maybe the call is to try an ejected
    /// endpoint.
    #[cold]
    pub(crate) fn catch_up(&self, ask: &Ask<'_>, now: Moment) -> Option<Lease> {
        self.refresh(now);
        if !self.set.pulse().is_due(now) {
            return None;
        }
        let probe = self.attend(&self.table.load(), ask, now);
        self.refresh(now);
        probe
    }

    fn refresh(&self, now: Moment) {
        if self.table.load().version != self.set.pulse().version() {
            self.rebuild(now);
        }
    }

    /// Brings the table up to date, unless another thread did in the meantime.
    fn rebuild(&self, now: Moment) {
        let _one = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.table.load();
        let version = self.set.pulse().version();
        if before.version == version {
            return;
        }
        let members = self.set.candidates();
        if let Some(learned) = &self.learned {
            members.iter().for_each(|member| learned.begin(member.node()));
        }
        let table = Table::build(version, members, &self.policy, &self.health, now);
        let (was, is) = (before.is_panic(), table.is_panic());
        if was != is {
            if is {
                tracing::warn!("every endpoint is out");
            } else {
                tracing::info!("not every endpoint is out any more");
            }
            self.set.pulse().tell(|| Event::Panic { on: is });
        }
        self.table.store(Arc::new(table));
    }

    /// Looks after holds and ejections whose time has come; maybe the call is to try one of them.
    fn attend(&self, table: &Table<P::Table>, ask: &Ask<'_>, now: Moment) -> Option<Lease> {
        let pulse = self.set.pulse();
        pulse.attend();
        let row = table.row();
        let (mut probe, mut changed) = (None, false);
        for candidate in table.members.iter().filter(|candidate| candidate.weight() > 0) {
            let node = candidate.node();
            changed |= node.hold_ended(now);
            if let Some(until) = node.next_end_of_hold(now) {
                pulse.due_at(until);
            }
            if node.is_down() {
                continue;
            }
            let Some(left) = self.due_in(candidate, now) else { continue };
            // A backup that nobody needs is not tried; whether somebody does is seen to again.
            if row.is_some_and(|row| candidate.priority > row) && table.has_room() {
                pulse.due_at(now.as_millis().saturating_add(left.max(LOOK)));
                continue;
            }
            if left > 0 {
                pulse.due_at(now.as_millis().saturating_add(left));
            } else if probe.is_none() {
                probe = self.probe(candidate, ask, now);
                if probe.is_none() {
                    // If this call may not try it, the one behind it in line may, at once.
                    let left = u64::from(pulse.line.len() == 0 || candidate.node().is_full());
                    pulse.due_at(now.as_millis().saturating_add(left));
                }
            } else {
                pulse.due_at(0);
            }
        }
        if changed {
            pulse.changed();
        }
        probe
    }

    /// In how many milliseconds a call may try it, if it is ejected.
    fn due_in(&self, candidate: &Candidate, now: Moment) -> Option<u64> {
        let health = candidate.node().health();
        if self.health.exact {
            health.exact_due_in(now.as_millis())
        } else {
            health.due_in(now.as_millis(), self.patience())
        }
    }

    /// How long a call may try an ejected endpoint before another one may, in milliseconds.
    pub(crate) fn patience(&self) -> u64 {
        millis(self.health.fail_timeout)
    }

    fn probe(&self, candidate: &Candidate, ask: &Ask<'_>, now: Moment) -> Option<Lease> {
        let node = candidate.node();
        let tried = ask.tried.is_some_and(|tried| tried.has_tried(candidate.id().number()));
        let health = node.health();
        let cautious = !ask.replayable
            && !self.health.exact
            && health.overdue(now.as_millis()) < self.patience() / 2;
        if tried || cautious || node.is_full() {
            return None;
        }
        let epoch = if self.health.exact {
            health.exact_probe(now.as_millis(), self.patience())
        } else {
            health.probe(now.as_millis(), self.patience())
        }?;
        match Lease::take(candidate, Kind::Probe, now) {
            Some(mut lease) => {
                lease.epoch = epoch;
                // If nothing comes of it.
                let next = self.due_in(candidate, now).unwrap_or(0);
                node.pulse().due_at(now.as_millis().saturating_add(next));
                Some(lease)
            }
            None => {
                health.give_back(epoch);
                None
            }
        }
    }
}
