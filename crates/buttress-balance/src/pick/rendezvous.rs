//! The same endpoint for the same key, by the highest score.

use buttress_core::SettingError;

use super::{
    Candidate, HashKey, LeastRequest, Pick, PickContext, bounded,
    bounded::Bound,
    key,
    ring::identity,
    roster::{Roster, is_open},
};

/// Sends requests with the same key to the same endpoint: that with the highest score for it
/// (Thaler, Ravishankar, "A name-based mapping scheme for rendezvous", 1996; with weights as
/// Schindelhauer and Schomaker have it, "Weighted distributed hash tables", 2005).
///
/// An endpoint that goes or comes moves its own keys and no others, and the keys of one that goes
/// spread over all the others. Shares are as even as chance makes them. A choice looks at each
/// endpoint: above some hundred of them [`RingHash`](super::RingHash) is quicker.
///
/// What keys and endpoints hash to is the same in every process (see [`key`](mod@key)), so that
/// several clients agree. A request without a key goes where the fewest calls are in flight.
///
/// An endpoint that cannot take the call leaves it to the one with the next score, which is the same
/// one each time. One that is still coming to its full share has a growing part of its keys.
#[derive(Clone, Copy, Debug)]
pub struct Rendezvous<K> {
    key: K,
    seed: u64,
    bound: Bound,
}

impl<K> Rendezvous<K> {
    /// Keys as `key` says, for example [`key::header`].
    #[must_use]
    pub fn new(key: K) -> Self {
        Self { key, seed: 0, bound: Bound::default() }
    }

    /// Lets no endpoint have more calls in flight than its share of all times `factor`, rounded up:
    /// a key that is asked for all the time spreads over the endpoints with the next scores. 1.25 is
    /// a good value. Calls that are chosen for at the very same time may each take the last place.
    /// Default: no bound.
    ///
    /// # Errors
    ///
    /// If it is below 1 or no number.
    pub fn bounded_load(self, factor: f64) -> Result<Self, SettingError> {
        Ok(Self { bound: Bound::of(factor)?, ..self })
    }

    /// Another arrangement; those who are to agree have the same. Default: 0.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

/// Who has scores.
#[expect(unnameable_types, reason = "what a policy prepares is its own business")]
#[derive(Debug)]
pub struct Scores {
    identities: Box<[u64]>,
    weights: u64,
    roster: Roster,
}

impl<K: Send + Sync + 'static> Pick for Rendezvous<K> {
    type Table = Scores;

    fn table(&self, candidates: &[Candidate]) -> Scores {
        Scores {
            identities: candidates.iter().map(|one| identity(one, self.seed)).collect(),
            weights: bounded::total(candidates),
            roster: Roster::of(candidates),
        }
    }

    fn pick(&self, scores: &Scores, cx: &PickContext<'_>) -> Option<usize> {
        let Some(key) = cx.key() else { return LeastRequest::new().pick(&scores.roster, cx) };
        let key = key::mixed(key, self.seed);
        let ceiling = self.bound.ceiling(scores.weights);
        let open = is_open(cx);
        let admits = |position: &usize| {
            let candidate = cx.candidates().get(*position);
            (open || cx.allowed(*position))
                && candidate.is_some_and(|candidate| ceiling.admits(cx, candidate))
        };
        let places = (0..scores.identities.len()).filter(admits);
        let hash = |position: usize| key::mixed(key, scores.identities[position]);
        let best = if scores.roster.is_even() && !cx.warming() {
            places.max_by_key(|position| hash(*position))
        } else {
            let score = |position| score(hash(position), cx.share(position));
            places
                .map(|position| (score(position), position))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map(|(_, position)| position)
        };
        best.or_else(|| LeastRequest::new().pick(&scores.roster, cx))
    }
}

/// The larger `share` is, the more often this is the largest of several: as often as its part of
/// all shares.
fn score(hash: u64, share: f32) -> f64 {
    // Above 0 and below 1, so that the logarithm is finite and below 0.
    let unit = ((hash >> 12) as f64 + 0.5) / 4_503_599_627_370_496.0;
    f64::from(share) / -unit.ln()
}

impl<Req, K: HashKey<Req>> HashKey<Req> for Rendezvous<K> {
    fn hash_key(&self, request: &Req) -> Option<u64> {
        self.key.hash_key(request)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_score_is_finite_and_grows_with_its_share(hash: u64, share in 0.01_f32..70_000.0) {
            let low = score(hash, share);
            prop_assert!(low.is_finite() && low > 0.0);
            prop_assert!(low < score(hash, share * 1.5));
        }
    }

    #[test]
    fn the_ends_of_the_range_have_scores() {
        assert!(score(0, 1.0) > 0.0);
        assert!(score(u64::MAX, 1.0).is_finite());
    }
}
