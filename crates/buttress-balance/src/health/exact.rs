//! nginx's own rule, step by step, on the same word.
//!
//! There the failures are neither a window nor a run: they are forgotten only by a success after the
//! peer was left alone for longer than `fail_timeout`. Times are whole seconds, and an endpoint is
//! out *while* the difference is at most `fail_timeout`, so up to a second longer than it says.
//! `count` is 1 where nginx has `accessed < checked`: a success may then forget the failures.

use super::{
    cell::{Cell, Succeeded},
    word::{State, Word},
};

const SECOND: u64 = 1_000;

/// The first millisecond at which `fail_timeout`, counted from `now`, is over.
const fn over(now: u64, fail_timeout: u64) -> u64 {
    (now / SECOND + fail_timeout / SECOND + 1) * SECOND
}

impl Cell {
    /// A call is going there.
    pub(crate) fn exact_picked(&self, now: u64, fail_timeout: u64) {
        let _ = self.change(|word| {
            let idle = word.state == State::InUse && word.left(now) == 0;
            let gap = now / SECOND - (now - word.since(now).min(now)) / SECOND;
            let long = gap > fail_timeout / SECOND;
            (idle && long).then(|| Word { count: 1, ..word.at(now) })
        });
    }

    /// Counts a failure, whenever its call began; says when the endpoint may be tried again, if it
    /// is ejected now.
    pub(crate) fn exact_fail(&self, now: u64, max_fails: u64, fail_timeout: u64) -> Option<u64> {
        let changed = self.change(|word| {
            let next = Word { count: 0, ..word.failed() };
            let out = next.run >= max_fails || word.state != State::InUse;
            Some(if out {
                let run = next.run;
                let ejected = next.ejected(now, 1, |_| over(now, fail_timeout).saturating_sub(now));
                Word { run, count: 0, ..ejected }
            } else {
                next.at(now)
            })
        });
        let (_, next) = changed.ok()?;
        (next.state == State::Ejected).then(|| next.left(now))
    }

    pub(crate) fn exact_succeed(&self, epoch: u64, now: u64) -> Succeeded {
        let changed = self.change(|word| match word.state {
            State::InUse => (word.count == 1 && word.run > 0).then_some(Word { run: 0, ..word }),
            State::Probed if word.epoch == epoch => Some(Word { count: 1, ..word.readmitted(now) }),
            State::Probed | State::Ejected => None,
        });
        match changed {
            Ok((before, _)) if before.state == State::Probed => Succeeded::Readmitted,
            _ => Succeeded::Unchanged,
        }
    }

    /// When it may be tried again, in milliseconds from now; `None` if it is in use.
    pub(crate) fn exact_due_in(&self, now: u64) -> Option<u64> {
        let word = self.word();
        (word.state != State::InUse).then(|| word.left(now))
    }

    /// Makes the caller the one that tries the endpoint. It is skipped for another `fail_timeout`
    /// then, whatever becomes of the call; but a call that hangs for longer gets a successor.
    pub(crate) fn exact_probe(&self, now: u64, fail_timeout: u64) -> Option<u64> {
        let changed = self.change(|word| {
            let due = word.state != State::InUse && word.left(now) == 0;
            let run = word.run;
            let again = || Word { state: State::Ejected, ..word };
            due.then(|| again().probed(now, 0))
                .flatten()
                .map(|next| Word { run, ..next.at(over(now, fail_timeout)) })
        });
        changed.ok().map(|(_, next)| next.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: u64 = 10_000;

    #[test]
    fn failures_seven_seconds_apart_eject_at_the_third_whatever_succeeds_between() {
        let cell = Cell::new(0);
        cell.exact_picked(0, TIMEOUT);
        for (failure, ejected) in [(1_000, false), (8_000, false), (15_000, true)] {
            let epoch = cell.epoch();
            for now in (failure - 900..failure).step_by(100) {
                cell.exact_picked(now, TIMEOUT);
                cell.exact_succeed(epoch, now);
            }
            let out = cell.exact_fail(failure, 3, TIMEOUT);
            assert_eq!(out.is_some(), ejected, "at {failure}");
        }
    }

    #[test]
    fn a_success_after_a_long_pause_forgets_the_failures() {
        let cell = Cell::new(0);
        assert_eq!(cell.exact_fail(1_000, 3, TIMEOUT), None);
        assert_eq!(cell.exact_fail(2_000, 3, TIMEOUT), None);
        cell.exact_picked(13_000, TIMEOUT);
        cell.exact_succeed(cell.epoch(), 13_001);
        assert_eq!(cell.exact_fail(14_000, 3, TIMEOUT), None);
    }

    #[test]
    fn one_call_tries_it_each_time_its_seconds_are_over() {
        let cell = Cell::new(0);
        let left = cell.exact_fail(500, 1, TIMEOUT);
        assert_eq!(left, Some(10_500), "whole seconds, and one more");
        assert_eq!(cell.exact_probe(10_999, TIMEOUT), None);
        let epoch = cell.exact_probe(11_000, TIMEOUT).unwrap();
        assert_eq!(cell.exact_probe(11_000, TIMEOUT), None);
        assert_eq!(cell.exact_probe(21_999, TIMEOUT), None);
        assert!(cell.exact_probe(22_000, TIMEOUT).is_some(), "the first one hangs");
        assert_eq!(cell.exact_succeed(epoch, 22_001), Succeeded::Unchanged);
    }
}
