//! The turn of a call that only a retry outside can send again.
//!
//! A body that is a stream is gone once it was sent, and the balancer cannot go on by itself. It keeps the
//! call's turn with the attempts that travel outwards with the failure, and takes it up where they come
//! back with another request.

use buttress_core::Turn;

use crate::{Moment, Pick, ask::Back, call::Call};

impl<L, P: Pick, O, M, B> Call<L, P, O, M, B> {
    /// Keeps the turn of this call, if there is room in the line: for endpoints that it has not tried,
    /// and from `from` on for any.
    pub(crate) fn keep_turn(&self, from: Option<Moment>) {
        let Some(attempts) = &self.attempts else { return };
        let table = self.core.table.load();
        let has_others = || table.fit().any(|other| !attempts.has_tried(other.id().number()));
        let has_room = self.core.set().pulse().line.len() < self.settings.rules.queue.most;
        if !has_room || (from.is_none() && !has_others()) {
            return;
        }
        let instant = |moment| self.core.set().instant(moment).into_std();
        let turn = Turn::since(instant(self.started));
        attempts.keep_turn(match from {
            Some(from) => turn.back_from(instant(from)),
            None => turn,
        });
    }

    /// Goes on in the turn that an earlier attempt has kept, unless it has waited for as long as a call
    /// may.
    pub(crate) fn take_turn(&mut self, now: Moment) {
        let Some(attempts) = &self.attempts else { return };
        let Some(turn) = attempts.take_turn() else { return };
        let (set, rules) = (self.core.set(), &self.settings.rules);
        let began = set.moment(turn.began());
        if now >= began.after(rules.line().timeout) {
            return;
        }
        (self.started, self.resumed) = (began, true);
        let back = turn.back().filter(|_| rules.next.revisits());
        self.back = back.map(|from| Back { from: set.moment(from), last: attempts.left() == 0 });
    }
}
