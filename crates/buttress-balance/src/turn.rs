//! The turn of a call that only a retry outside can send again.
//!
//! A body that is a stream is gone once it was sent, and the balancer cannot go on by itself. It keeps the
//! call's turn with the attempts that travel outwards with the failure, and takes it up where they come
//! back with another request.

use buttress_core::Turn;

use crate::{Moment, Pick, ask::Back, call::Call};

impl<L, P: Pick, O, M, B> Call<L, P, O, M, B> {
    /// Keeps the turn of this call, which may go to any endpoint from `from` on, if there is room in the
    /// line.
    pub(crate) fn keep_turn(&self, from: Moment) {
        let set = self.core.set();
        if set.pulse().line.len() < self.settings.rules.queue.most
            && let Some(attempts) = &self.attempts
        {
            let instant = |moment| set.instant(moment).into_std();
            attempts.keep_turn(Turn::new(instant(self.started), instant(from)));
        }
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
        let back = Back { from: set.moment(turn.from()), last: attempts.left() == 0 };
        self.back = rules.next.revisits().then_some(back);
    }
}
