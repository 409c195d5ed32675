//! Points on a circle (Karger et al., "Consistent hashing and random trees", 1997; many points for
//! each endpoint, as ketama has them).

use super::{Candidate, key};

/// About as many points a ring has at most.
const MOST_POINTS: u64 = 65_536;

/// Each endpoint's points on the circle of 64-bit numbers.
#[derive(Debug)]
pub(super) struct Ring(Box<[(u64, u32)]>);

impl Ring {
    /// A ring of members, each with its identity and its weight, and with `points` for each weight.
    ///
    /// Points depend on nothing but their own member as long as there are at most `MOST_POINTS`
    /// together; beyond that each member has proportionally fewer.
    pub(super) fn of(members: &[(u64, u32)], points: u32) -> Self {
        let wanted = |weight: u32| u64::from(weight) * u64::from(points);
        let total: u64 = members.iter().map(|(_, weight)| wanted(*weight)).sum();
        let mut ring: Vec<_> = (0_u32..)
            .zip(members)
            .flat_map(|(member, (identity, weight))| {
                let count = wanted(*weight);
                let count = if total > MOST_POINTS { count * MOST_POINTS / total } else { count };
                (0..count.max(1)).map(move |nth| (key::point(*identity, nth), member))
            })
            .collect();
        ring.sort_unstable();
        Self(ring.into())
    }

    /// Whose points follow `key`, around the whole circle.
    pub(super) fn after(&self, key: u64) -> impl Iterator<Item = usize> {
        let first = self.0.partition_point(|(point, _)| *point < key);
        let (before, after) = self.0.split_at(first);
        after.iter().chain(before).filter_map(|(_, member)| usize::try_from(*member).ok())
    }
}

/// What an endpoint hashes to: the same in every process.
pub(super) fn identity(candidate: &Candidate, seed: u64) -> u64 {
    let endpoint = candidate.endpoint();
    let address = endpoint.connects_to().map(|address| address.to_string()).unwrap_or_default();
    let text = format!("{}\0{}\0{address}", endpoint.shown_as(), endpoint.uri());
    key::mixed(key::of(text.as_bytes()), seed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(count: u64) -> Vec<(u64, u32)> {
        (0..count).map(|nth| (key::of(&nth.to_le_bytes()), 1)).collect()
    }

    fn homes(members: &[(u64, u32)], keys: u64) -> Vec<u64> {
        let ring = Ring::of(members, 160);
        (0..keys).map(|nth| members[ring.after(key::mixed(nth, 1)).next().unwrap()].0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn removing_one_moves_its_own_keys_and_no_others(
            count in 2_u64..40, gone in any::<prop::sample::Index>(),
        ) {
            let all = members(count);
            let gone = gone.index(all.len());
            let mut left = all.clone();
            let (lost, _) = left.remove(gone);
            let (before, after) = (homes(&all, 4_000), homes(&left, 4_000));
            let mut moved = 0_u32;
            for (before, after) in before.iter().zip(&after) {
                if before == after { continue }
                prop_assert_eq!(*before, lost);
                moved += 1;
            }
            prop_assert!(f64::from(moved) <= 1.4 * 4_000.0 / count as f64, "{moved} of {count}");
        }
    }

    #[test]
    fn a_share_follows_its_weight() {
        let members = [(key::of(b"a"), 3), (key::of(b"b"), 1)];
        let homes = homes(&members, 20_000);
        let first = homes.iter().filter(|home| **home == members[0].0).count();
        assert!((13_500..16_500).contains(&first), "{first}");
    }

    #[test]
    fn huge_weights_make_no_huge_ring() {
        let members: Vec<_> =
            members(500).into_iter().map(|(identity, _)| (identity, 65_535)).collect();
        let ring = Ring::of(&members, 1_024);
        assert!(ring.0.len() <= 65_536);
        let lopsided = [(1, 65_535), (2, 1)];
        assert!(Ring::of(&lopsided, 1_024).0.iter().any(|(_, member)| *member == 1));
    }
}
