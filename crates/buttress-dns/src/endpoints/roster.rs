//! Which addresses a name has, over several answers. Pure.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
};

/// An address at which something is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    address: SocketAddr,
    priority: u16,
    weight: u16,
}

impl Place {
    pub(super) const fn new(address: SocketAddr, priority: u16, weight: u16) -> Self {
        Self { address, priority, weight }
    }

    /// The address, with its port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Those with the least priority come first; the others are for when those are out. 0 unless it
    /// comes from an SRV record.
    #[must_use]
    pub const fn priority(&self) -> u16 {
        self.priority
    }

    /// The share among those with the same priority; 0 if all are alike.
    #[must_use]
    pub const fn weight(&self) -> u16 {
        self.weight
    }
}

/// The places that were seen lately. A name server may give a part of them at a time, another part
/// the next time; a place goes only after it was missing from several answers, and from more of
/// them once places have been seen to come back.
#[derive(Debug)]
pub(super) struct Roster {
    members: HashMap<SocketAddr, Member>,
    /// Those that went, oldest first, to see whether they come back.
    gone: VecDeque<(SocketAddr, u64)>,
    /// How many answers in a row a place may be missing from.
    linger: u64,
    answers: u64,
    changed: bool,
}

#[derive(Debug)]
struct Member {
    place: Place,
    /// Which answers speak of it; those of another family say nothing.
    part: usize,
    missed: u64,
}

const MOST_LINGER: u64 = 64;
/// So many places, and so many that went, are kept at the most.
const MOST: usize = 1_024;

impl Roster {
    pub(super) fn new(linger: u32) -> Self {
        let linger = u64::from(linger);
        let (members, gone) = (HashMap::new(), VecDeque::new());
        Self { members, gone, linger, answers: 0, changed: false }
    }

    /// Takes in an answer that had something. `part` tells which members it would have named.
    pub(super) fn answer(&mut self, part: usize, places: impl IntoIterator<Item = Place>) {
        self.answers += 1;
        let members = self.members.values_mut().filter(|member| member.part == part);
        members.for_each(|member| member.missed += 1);
        self.add(part, places);
        let linger = self.linger;
        let went = |member: &Member| member.part == part && member.missed > linger;
        let gone: Vec<SocketAddr> =
            self.members.iter().filter(|(_, member)| went(member)).map(|(at, _)| *at).collect();
        for address in gone {
            self.members.remove(&address);
            self.gone.push_back((address, self.answers));
            self.changed = true;
        }
        while self.gone.len() > MOST {
            self.gone.pop_front();
        }
    }

    /// Takes in a part of an answer, which says nothing of what is missing from it.
    pub(super) fn add(&mut self, part: usize, places: impl IntoIterator<Item = Place>) {
        for place in places.into_iter().take(MOST) {
            self.see(part, place);
        }
    }

    fn see(&mut self, part: usize, place: Place) {
        let address = place.address();
        if let Some(member) = self.members.get_mut(&address) {
            let missed = member.missed.saturating_sub(1);
            self.changed |= member.place != place;
            (member.place, member.part, member.missed) = (place, part, 0);
            self.linger = self.linger.max(longer(self.linger, missed));
            return;
        }
        let found = self.gone.iter().position(|(gone, _)| *gone == address);
        if let Some((_, when)) = found.and_then(|found| self.gone.remove(found)) {
            let missed = self.linger + self.answers.saturating_sub(when);
            self.linger = self.linger.max(longer(self.linger, missed));
        }
        if self.members.len() < MOST {
            self.members.insert(address, Member { place, part, missed: 0 });
            self.changed = true;
        }
    }

    /// Whether [`take`](Self::take) would give something new.
    pub(super) const fn has_changed(&self) -> bool {
        self.changed
    }

    /// The places as they are now, in a settled order.
    pub(super) fn take(&mut self) -> Vec<Place> {
        self.changed = false;
        let mut places: Vec<Place> = self.members.values().map(|member| member.place).collect();
        places.sort_by_key(|place| (place.priority, place.address));
        places
    }
}

/// A place that came back after it was missing from so many answers may be missing twice as long.
fn longer(linger: u64, missed: u64) -> u64 {
    if missed == 0 { linger } else { missed.saturating_mul(2).min(MOST_LINGER) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(number: u8) -> Place {
        Place::new(([192, 0, 2, number], 443).into(), 0, 0)
    }

    fn told(roster: &mut Roster, numbers: impl IntoIterator<Item = u8>) -> Option<usize> {
        roster.answer(0, numbers.into_iter().map(place));
        roster.has_changed().then(|| roster.take().len())
    }

    #[test]
    fn the_same_again_is_no_change() {
        let mut roster = Roster::new(3);
        assert_eq!(told(&mut roster, [1, 2]), Some(2));
        assert_eq!(told(&mut roster, [2, 1]), None);
        assert_eq!(told(&mut roster, [1, 2, 3]), Some(3));
    }

    #[test]
    fn what_is_missing_goes_after_several_answers() {
        let mut roster = Roster::new(3);
        told(&mut roster, [1, 2]);
        for _ in 0..3 {
            assert_eq!(told(&mut roster, [1]), None);
        }
        assert_eq!(told(&mut roster, [1]), Some(1));
    }

    #[test]
    fn a_rotating_part_of_all_is_all() {
        let mut roster = Roster::new(3);
        for turn in 0..100_u8 {
            let told = told(&mut roster, (0..8).map(|number| (turn % 4) * 8 + number));
            assert_eq!(told.is_some(), turn < 4, "{turn}");
        }
        assert_eq!(roster.take().len(), 32);
    }

    #[test]
    fn the_other_family_says_nothing_of_this_one() {
        let mut roster = Roster::new(0);
        told(&mut roster, [1]);
        let v6 = Place::new("[2001:db8::1]:443".parse().unwrap(), 0, 0);
        for _ in 0..10 {
            roster.answer(1, [v6]);
        }
        assert_eq!(roster.take().len(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn parts_at_random_settle_to_all(seed: u64) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut roster = Roster::new(3);
            let mut changes_late = 0;
            for turn in 0..400 {
                let part: Vec<u8> = (0..8).map(|_| random.u8(0..32)).collect();
                let told = told(&mut roster, part);
                changes_late += usize::from(turn > 200 && told.is_some());
            }
            prop_assert!(changes_late <= 10, "{changes_late}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut roster = Roster::new(0);
        for bits in 0..3_000 {
            let address = std::net::Ipv4Addr::from_bits(bits);
            roster.answer(0, [Place::new((address, 1).into(), 0, 0)]);
        }
        assert_eq!((roster.members.len(), roster.gone.len()), (1, MOST));
        let all = (0..3_000).map(|bits| (std::net::Ipv4Addr::from_bits(bits), 2).into());
        roster.answer(0, all.map(|address| Place::new(address, 0, 0)));
        assert!((MOST - 1..=MOST).contains(&roster.members.len()));
    }
}
