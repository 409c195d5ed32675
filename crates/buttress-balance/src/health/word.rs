//! The 64 bits that hold an endpoint's health, and every step they can take. Pure.
//!
//! From the top: 2 bits of state, 5 bits that count ejections, 11 bits of epoch, 10 bits that count
//! failures in a row, 36 bits of milliseconds. The time is when an ejection ends, or since when the
//! endpoint is in use. It wraps after two years and is compared the short way round.
//!
//! The epoch changes with the state, and a call remembers the one it began in: what it comes to
//! speaks of that time only. So late failures do not extend an ejection and a late success does
//! not lift one.

const TIME_BITS: u32 = 36;
const RUN_BITS: u32 = 10;
const EPOCH_BITS: u32 = 11;
const COUNT_BITS: u32 = 5;

const TIME: u64 = (1 << TIME_BITS) - 1;
/// The longest run of failures that can be counted.
pub(super) const MAX_RUN: u64 = (1 << RUN_BITS) - 1;
const EPOCH: u64 = (1 << EPOCH_BITS) - 1;
const MAX_COUNT: u64 = (1 << COUNT_BITS) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It takes calls.
    InUse,
    /// It takes none until its time has come.
    Ejected,
    /// Its time has come, and one call is trying it.
    Probed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) state: State,
    /// Ejections, less those that good behaviour has made good.
    pub(super) count: u64,
    pub(super) epoch: u64,
    pub(super) run: u64,
    /// Milliseconds, without the bits that do not fit.
    pub(super) time: u64,
}

impl Word {
    pub(super) const fn new(now: u64) -> Self {
        Self { state: State::InUse, count: 0, epoch: 0, run: 0, time: now & TIME }
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        let state = match bits >> 62 {
            0 => State::InUse,
            1 => State::Ejected,
            _ => State::Probed,
        };
        Self {
            state,
            count: (bits >> (TIME_BITS + RUN_BITS + EPOCH_BITS)) & MAX_COUNT,
            epoch: (bits >> (TIME_BITS + RUN_BITS)) & EPOCH,
            run: (bits >> TIME_BITS) & MAX_RUN,
            time: bits & TIME,
        }
    }

    pub(super) const fn bits(self) -> u64 {
        let state = match self.state {
            State::InUse => 0,
            State::Ejected => 1,
            State::Probed => 2,
        };
        (state << 62)
            | ((self.count & MAX_COUNT) << (TIME_BITS + RUN_BITS + EPOCH_BITS))
            | ((self.epoch & EPOCH) << (TIME_BITS + RUN_BITS))
            | ((self.run & MAX_RUN) << TIME_BITS)
            | (self.time & TIME)
    }

    /// How long ago its time was, in milliseconds; 0 if it is still to come.
    pub(super) const fn since(self, now: u64) -> u64 {
        let gone = now.wrapping_sub(self.time) & TIME;
        if gone > TIME / 2 { 0 } else { gone }
    }

    /// How long until its time comes, in milliseconds; 0 if it has.
    pub(super) const fn left(self, now: u64) -> u64 {
        let left = self.time.wrapping_sub(now) & TIME;
        if left > TIME / 2 { 0 } else { left }
    }

    const fn enter(self, state: State, time: u64) -> Self {
        let epoch = (self.epoch + 1) & EPOCH;
        Self { state, epoch, run: 0, time: time & TIME, ..self }
    }

    /// One more failure in a row.
    pub(super) const fn failed(self) -> Self {
        let run = if self.run < MAX_RUN { self.run + 1 } else { MAX_RUN };
        Self { run, ..self }
    }

    /// Out of use for as long as `length` says of the number of ejections. Each `base` in use made
    /// one earlier ejection good.
    pub(super) fn ejected(self, now: u64, base: u64, length: impl Fn(u64) -> u64) -> Self {
        let made_good = match self.state {
            State::InUse => self.since(now) / base.max(1),
            State::Ejected | State::Probed => 0,
        };
        let count = (self.count.saturating_sub(made_good) + 1).min(MAX_COUNT);
        // No further than can be told from the past.
        let length = length(count).min(TIME / 4);
        Self { count, ..self.enter(State::Ejected, now.wrapping_add(length)) }
    }

    /// In how many milliseconds a call may try it, if it is out; while one does, that is after
    /// `patience`.
    pub(super) const fn due_in(self, now: u64, patience: u64) -> Option<u64> {
        match self.state {
            State::InUse => None,
            State::Ejected => Some(self.left(now)),
            State::Probed => Some(patience.saturating_sub(self.since(now))),
        }
    }

    /// Tried by one call from now on, if its time has come.
    pub(super) const fn probed(self, now: u64, patience: u64) -> Option<Self> {
        match self.due_in(now, patience) {
            Some(0) => Some(self.enter(State::Probed, now)),
            _ => None,
        }
    }

    /// The call that tried it came to nothing: another one may.
    pub(super) const fn given_back(self) -> Self {
        self.enter(State::Ejected, self.time)
    }

    /// In use again.
    pub(super) const fn readmitted(self, now: u64) -> Self {
        self.enter(State::InUse, now)
    }

    /// The same state with another time.
    pub(super) const fn at(self, time: u64) -> Self {
        Self { time: time & TIME, ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word() -> impl Strategy<Value = Word> {
        let state = prop_oneof![Just(State::InUse), Just(State::Ejected), Just(State::Probed)];
        (state, 0..=MAX_COUNT, 0..=EPOCH, 0..=MAX_RUN, 0..=TIME)
            .prop_map(|(state, count, epoch, run, time)| Word { state, count, epoch, run, time })
    }

    #[test]
    fn an_ejection_outlives_the_wrap_of_its_clock() {
        let now = TIME - 10;
        let ejected = Word::new(now).ejected(now, 30_000, |_| 30_000);
        assert_eq!((ejected.left(now), ejected.left(now + 29_999)), (30_000, 1));
        let patience = 30_000;
        assert_eq!(ejected.probed(now + 29_999, patience), None);
        assert!(ejected.probed(now + 30_000, patience).is_some());
        assert!(ejected.probed(now + 30_000_000, patience).is_some());
    }

    #[test]
    fn a_call_that_tries_for_too_long_gets_a_successor() {
        let ejected = Word::new(0).ejected(0, 1_000, |_| 1_000);
        let probed = ejected.probed(1_500, 500).unwrap();
        assert_eq!(probed.probed(1_999, 500), None);
        let next = probed.probed(2_000, 500).unwrap();
        assert_ne!(next.epoch, probed.epoch);
        assert_eq!(next.due_in(2_100, 500), Some(400));
    }

    #[test]
    fn ejections_grow_while_they_follow_each_other_and_are_made_good_by_use() {
        let lengths = |count| count * 1_000;
        let mut word = Word::new(0).ejected(0, 1_000, lengths);
        assert_eq!(word.left(0), 1_000);
        word = word.probed(1_000, 1_000).unwrap().ejected(1_000, 1_000, lengths);
        assert_eq!(word.left(1_000), 2_000);
        word = word.probed(3_000, 1_000).unwrap().readmitted(3_000).ejected(3_500, 1_000, lengths);
        assert_eq!(word.left(3_500), 3_000);
        word = word.probed(6_500, 1_000).unwrap().readmitted(6_500).ejected(9_500, 1_000, lengths);
        assert_eq!((word.count, word.left(9_500)), (1, 1_000), "three good seconds");
    }

    proptest! {
        #[test]
        fn packing_loses_nothing(word in word()) {
            prop_assert_eq!(Word::from_bits(word.bits()), word);
        }

        #[test]
        fn every_change_of_state_begins_another_epoch(word in word(), now in any::<u64>()) {
            let next = [
                word.ejected(now, 1, |_| 5),
                word.given_back(),
                word.readmitted(now),
            ];
            for next in next {
                prop_assert_ne!(next.epoch, word.epoch);
                prop_assert_eq!(Word::from_bits(next.bits()), next);
            }
        }

        #[test]
        fn a_time_is_either_gone_or_to_come(word in word(), now in any::<u64>()) {
            prop_assert!(word.since(now) == 0 || word.left(now) == 0);
        }
    }
}
