//! The same endpoint for the same key, by points on a circle.

use buttress_core::SettingError;

use super::{
    Candidate, HashKey, LeastRequest, Pick, PickContext, bounded,
    bounded::Bound,
    key,
    ring::{Ring, identity},
    roster::{Roster, is_open, is_warm},
};

/// Sends requests with the same key to the same endpoint, by points on a circle.
///
/// An endpoint that goes or comes moves its own keys and no others. A choice costs a binary search,
/// however many endpoints there are; [`Rendezvous`](super::Rendezvous) spreads more evenly and looks
/// at each of them.
///
/// ```
/// use buttress_balance::{Balancer, Endpoint, EndpointSet, Health, RingHash, key};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let policy = RingHash::new(key::header("x-session")?).bounded_load(1.25)?;
/// # let set = EndpointSet::new([Endpoint::new("http://a.example")?])?;
/// let balancer = Balancer::new(set, policy, Health::new());
/// # drop(balancer);
/// # Ok(())
/// # }
/// ```
///
/// What keys and endpoints hash to is the same in every process (see [`key`](mod@key)), so that
/// several clients agree. A request without a key goes where the fewest calls are in flight.
///
/// An endpoint that cannot take the call (it was tried, it is full, it has more than its bound)
/// leaves it to the next one on the circle, which is the same one each time. One that is still
/// coming to its full share takes a growing part of its keys.
#[derive(Clone, Copy, Debug)]
pub struct RingHash<K> {
    key: K,
    seed: u64,
    points: u32,
    bound: Bound,
}

/// Steps on the circle before all endpoints are looked at.
const STEPS: usize = 512;
/// The most points for one weight.
const MOST_POINTS: u32 = 1_024;

impl<K> RingHash<K> {
    /// Keys as `key` says, for example [`key::header`].
    #[must_use]
    pub fn new(key: K) -> Self {
        Self { key, seed: 0, points: 160, bound: Bound::default() }
    }

    /// Lets no endpoint have more calls in flight than its share of all times `factor`, rounded up:
    /// a key that is asked for all the time spreads over the next endpoints on the circle. 1.25 is a
    /// good value. Calls that are chosen for at the very same time may each take the last place.
    /// Default: no bound.
    ///
    /// # Errors
    ///
    /// If it is below 1 or no number.
    pub fn bounded_load(self, factor: f64) -> Result<Self, SettingError> {
        Ok(Self { bound: Bound::of(factor)?, ..self })
    }

    /// Points on the circle for each weight. More of them spread more evenly: with 160, shares are
    /// some 8 % apart. A circle has about 65,536 at most; with more endpoints than that allows, each
    /// has fewer, and one that goes moves up to twice its keys. Default: 160.
    ///
    /// # Errors
    ///
    /// If it is 0 or above 1,024.
    pub fn points(self, points: u32) -> Result<Self, SettingError> {
        if !(1..=MOST_POINTS).contains(&points) {
            let reason = format!("{points}, but each has at least 1 and at most {MOST_POINTS}");
            return Err(SettingError::new("pick.points", reason));
        }
        Ok(Self { points, ..self })
    }

    /// Another arrangement; those who are to agree have the same. Default: 0.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

/// The circle.
#[expect(unnameable_types, reason = "what a policy prepares is its own business")]
#[derive(Debug)]
pub struct Circle {
    ring: Ring,
    identities: Box<[u64]>,
    weights: u64,
    roster: Roster,
}

impl<K: Send + Sync + 'static> Pick for RingHash<K> {
    type Table = Circle;

    fn table(&self, candidates: &[Candidate]) -> Circle {
        let members: Vec<_> =
            candidates.iter().map(|one| (identity(one, self.seed), one.weight())).collect();
        Circle {
            ring: Ring::of(&members, self.points),
            identities: members.iter().map(|(identity, _)| *identity).collect(),
            weights: bounded::total(candidates),
            roster: Roster::of(candidates),
        }
    }

    fn pick(&self, circle: &Circle, cx: &PickContext<'_>) -> Option<usize> {
        let Some(key) = cx.key() else { return LeastRequest::new().pick(&circle.roster, cx) };
        let key = key::mixed(key, self.seed);
        let ceiling = self.bound.ceiling(circle.weights);
        let open = is_open(cx);
        let admits = |position: &usize| {
            let Some(candidate) = cx.candidates().get(*position) else { return false };
            let warmth = || key::mixed(key, circle.identities[*position]);
            (open || cx.allowed(*position) && is_warm(cx, *position, warmth))
                && ceiling.admits(cx, candidate)
        };
        let near = circle.ring.after(key).take(STEPS).find(admits);
        // In the order of the list, but from the key's own endpoint on.
        near.or_else(|| {
            let home = circle.ring.after(key).next().unwrap_or(0);
            (home..circle.identities.len()).chain(0..home).find(admits)
        })
        .or_else(|| LeastRequest::new().pick(&circle.roster, cx))
    }
}

impl<Req, K: HashKey<Req>> HashKey<Req> for RingHash<K> {
    fn hash_key(&self, request: &Req) -> Option<u64> {
        self.key.hash_key(request)
    }
}
